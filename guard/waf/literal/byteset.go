package literal

// ByteSet is a set of byte values. The zero ByteSet is empty.
type ByteSet [4]uint64

// Of is the set of the bytes that the text holds.
func Of(text string) ByteSet {
	var s ByteSet
	for i := 0; i < len(text); i++ {
		s.Add(text[i])
	}
	return s
}

// Has says whether the byte is in the set.
func (s ByteSet) Has(b byte) bool { return s[b>>6]&(1<<(b&63)) != 0 }

// Add puts the byte into the set.
func (s *ByteSet) Add(b byte) { s[b>>6] |= 1 << (b & 63) }

// Intersects says whether the two sets have a byte in common.
func (s ByteSet) Intersects(o ByteSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

// meets is Intersects without copies, for the loops that every value goes through.
func (s *ByteSet) meets(o *ByteSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

// addRange puts the bytes from lo to hi, both included, into the set.
func (s *ByteSet) addRange(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s.Add(byte(b))
	}
}

// union is the set of the bytes in either.
func (s ByteSet) union(o ByteSet) ByteSet {
	return ByteSet{s[0] | o[0], s[1] | o[1], s[2] | o[2], s[3] | o[3]}
}

// within says whether each byte of s is in o.
func (s ByteSet) within(o ByteSet) bool { return s.union(o) == o }
