package confine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// texts is a set of texts, as a list or as what they are made of: which bytes may follow which, which may stand first and
// last, how long a text may be. Every operation here gives a set that holds at least what the real one would hold. The
// empty text is in every set that is not a list.
type texts struct {
	any   bool     // every text
	list  []string // sorted; when parts is nil
	parts *parts
	shape string // the name of a grammar all of them keep, "" when none is known; see quiet
}

// parts say what texts are made of.
type parts struct {
	bytes, first, last literal.ByteSet
	pairs              [256]literal.ByteSet // by the byte before
	most               int                  // bytes; unbounded for no bound
	way                *way                 // a closer description that holds besides, or nil
}

const (
	unbounded = 1 << 30
	mostList  = 400 // texts that are kept one by one
)

// anyText is every text; none is no text.
func anyText() texts { return texts{any: true} }
func none() texts    { return texts{} }

func listed(words ...string) texts {
	words = slices.Clone(words)
	slices.Sort(words)
	words = slices.Compact(words)
	if len(words) > mostList {
		return texts{parts: partsOf(words)}
	}
	return texts{list: words}
}

// isNone tells that there is no text.
func (t texts) isNone() bool { return !t.any && t.parts == nil && len(t.list) == 0 }

// isList tells that the texts are known one by one.
func (t texts) isList() bool { return !t.any && t.parts == nil }

// made gives what the texts are made of; nil for every text.
func (t texts) made() *parts {
	switch {
	case t.any:
		return nil
	case t.parts != nil:
		return t.parts
	}
	return partsOf(t.list)
}

func partsOf(words []string) *parts {
	p := &parts{}
	for _, w := range words {
		for i := range len(w) {
			p.bytes.Add(w[i])
			if i > 0 {
				p.pairs[w[i-1]].Add(w[i])
			}
		}
		if w != "" {
			p.first.Add(w[0])
			p.last.Add(w[len(w)-1])
		}
		p.most = max(p.most, len(w))
	}
	return p
}

// holds tells whether a text is in the set.
func (p *parts) holds(text string) bool {
	if len(text) > p.most {
		return false
	}
	for i := range len(text) {
		if !p.bytes.Has(text[i]) || i > 0 && !p.pairs[text[i-1]].Has(text[i]) {
			return false
		}
	}
	return text == "" || p.first.Has(text[0]) && p.last.Has(text[len(text)-1])
}

func (t texts) holds(text string) bool {
	switch {
	case t.any:
		return true
	case t.parts != nil:
		return t.parts.holds(text)
	}
	_, found := slices.BinarySearch(t.list, text)
	return found
}

// meet is what is in both.
func meet(a, b texts) texts {
	switch {
	case a.any:
		return b
	case b.any:
		return a
	case a.isList():
		return texts{list: keep(a.list, b.holds)}
	case b.isList():
		return texts{list: keep(b.list, a.holds)}
	}
	p := *a.parts
	p.bytes, p.first, p.last = both(p.bytes, b.parts.bytes), both(p.first, b.parts.first), both(p.last, b.parts.last)
	for i := range p.pairs {
		p.pairs[i] = both(p.pairs[i], b.parts.pairs[i])
	}
	p.most, p.way = min(p.most, b.parts.most), closer(a.parts.way, b.parts.way)
	return texts{parts: &p, shape: cmp.Or(a.shape, b.shape)}
}

func keep(list []string, holds func(string) bool) []string {
	var kept []string
	for _, s := range list {
		if holds(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// join is what is in either.
func join(a, b texts) texts {
	switch {
	case a.any || b.any:
		return anyText()
	case a.isNone():
		return b
	case b.isNone():
		return a
	case a.isList() && b.isList():
		return listed(slices.Concat(a.list, b.list)...)
	}
	p, q := *a.made(), b.made()
	p.bytes, p.first, p.last = either(p.bytes, q.bytes), either(p.first, q.first), either(p.last, q.last)
	for i := range p.pairs {
		p.pairs[i] = either(p.pairs[i], q.pairs[i])
	}
	p.most, p.way = max(p.most, q.most), nil
	return texts{parts: &p, shape: shared(a, b)}
}

// shared is the grammar that both keep.
func shared(a, b texts) string {
	if a.shape == b.shape {
		return a.shape
	}
	return ""
}

// concat is each text of one set followed by each of the other.
func concat(a, b texts) texts {
	switch {
	case a.any || b.any:
		return anyText()
	case a.isList() && b.isList() && len(a.list)*len(b.list) <= mostList:
		var words []string
		for _, x := range a.list {
			for _, y := range b.list {
				words = append(words, x+y)
			}
		}
		return listed(words...)
	}
	p, q := *a.made(), b.made()
	for i := range p.pairs {
		p.pairs[i] = either(p.pairs[i], q.pairs[i])
		if p.last.Has(byte(i)) {
			p.pairs[i] = either(p.pairs[i], q.first)
		}
	}
	p.bytes, p.first, p.last = either(p.bytes, q.bytes), either(p.first, q.first), either(p.last, q.last)
	p.most, p.way = min(p.most+q.most, unbounded), nil
	return texts{parts: &p}
}

// repeated is any number of the texts, one after the other, with separators between, before and behind them.
func repeated(t texts, separators string) texts {
	if t.any {
		return t
	}
	p := *t.made()
	between := literal.Of(separators)
	p.bytes, p.first, p.last = either(p.bytes, between), either(p.first, between), either(p.last, between)
	for i := range p.pairs {
		if between.Has(byte(i)) || p.last.Has(byte(i)) {
			p.pairs[i] = either(p.pairs[i], p.first)
		}
	}
	p.most, p.way = unbounded, nil
	return texts{parts: &p}
}

// atMost is what has no more than that many characters.
func atMost(t texts, characters int) texts {
	switch {
	case t.isList():
		return texts{list: keep(t.list, func(s string) bool { return len(s) <= 4*characters })}
	case t.any:
		p := everything()
		p.most = 4 * min(characters, unbounded/4)
		return texts{parts: p}
	}
	p := *t.parts
	width := 4
	if p.ascii() {
		width = 1
	}
	p.most = min(p.most, width*min(characters, unbounded/4))
	return texts{parts: &p, shape: t.shape}
}

func everything() *parts {
	p := &parts{most: unbounded}
	p.bytes = literal.ByteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	p.free()
	return p
}

// free lets every byte follow every other, stand first and last.
func (p *parts) free() {
	p.first, p.last = p.bytes, p.bytes
	for i := range p.pairs {
		p.pairs[i] = literal.ByteSet{}
		if p.bytes.Has(byte(i)) {
			p.pairs[i] = p.bytes
		}
	}
}

// ascii tells that no byte is beyond ASCII.
func (p *parts) ascii() bool { return p.bytes[2]|p.bytes[3] == 0 }

// has tells that one of the bytes may stand somewhere.
func (p *parts) has(bytes string) bool { return p.bytes.Intersects(literal.Of(bytes)) }

// follows tells that one of the second bytes may follow one of the first.
func (p *parts) follows(before, after string) bool {
	set := literal.Of(after)
	for i := range len(before) {
		if p.pairs[before[i]].Intersects(set) {
			return true
		}
	}
	return false
}

// mapped is the texts with each byte replaced by another.
func (p *parts) mapped(to func(byte) byte) *parts {
	if !slices.ContainsFunc(members(p.bytes), func(c byte) bool { return to(c) != c }) {
		return p
	}
	q := &parts{bytes: image(p.bytes, to), first: image(p.first, to), last: image(p.last, to), most: p.most}
	for _, c := range members(p.bytes) {
		q.pairs[to(c)] = either(q.pairs[to(c)], image(p.pairs[c], to))
	}
	q.way = p.way.mapped(to)
	return q
}

// without is the texts with all bytes of a set taken out.
func (p *parts) without(gone literal.ByteSet) *parts {
	if !p.bytes.Intersects(gone) {
		return p
	}
	q := *p
	q.way = nil
	out := members(both(p.bytes, gone))
	for range out { // what follows or comes before a byte that is gone, comes together
		for _, c := range out {
			for i := range q.pairs {
				if q.pairs[i].Has(c) {
					q.pairs[i] = either(q.pairs[i], q.pairs[c])
				}
				if q.last.Has(c) && q.pairs[i].Has(c) {
					q.last.Add(byte(i))
				}
			}
			if q.first.Has(c) {
				q.first = either(q.first, q.pairs[c])
			}
		}
	}
	q.bytes, q.first, q.last = minus(q.bytes, gone), minus(q.first, gone), minus(q.last, gone)
	for i := range q.pairs {
		if q.pairs[i] = minus(q.pairs[i], gone); gone.Has(byte(i)) {
			q.pairs[i] = literal.ByteSet{}
		}
	}
	return &q
}

func both(a, b literal.ByteSet) literal.ByteSet {
	return literal.ByteSet{a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]}
}

func either(a, b literal.ByteSet) literal.ByteSet {
	return literal.ByteSet{a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]}
}

func minus(a, b literal.ByteSet) literal.ByteSet {
	return literal.ByteSet{a[0] &^ b[0], a[1] &^ b[1], a[2] &^ b[2], a[3] &^ b[3]}
}

func image(s literal.ByteSet, to func(byte) byte) (out literal.ByteSet) {
	for _, c := range members(s) {
		out.Add(to(c))
	}
	return out
}

func members(s literal.ByteSet) []byte {
	var list []byte
	for i := range 256 {
		if s.Has(byte(i)) {
			list = append(list, byte(i))
		}
	}
	return list
}

// span is the bytes from one to another.
func span(from, to byte) (s literal.ByteSet) {
	for i := int(from); i <= int(to); i++ {
		s.Add(byte(i))
	}
	return s
}

// words tells a set for a reader.
func (t texts) words() string {
	switch {
	case t.any:
		return "any text"
	case t.isList() && len(t.list) == 1:
		return "one text"
	case t.isList():
		return "one of a list of texts"
	}
	return "made of " + shown(t.parts.bytes)
}

// shown writes a set of bytes as ranges.
func shown(s literal.ByteSet) string {
	var b strings.Builder
	list := members(s)
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1] == list[end]+1 {
			end++
		}
		b.WriteString(one(list[i]))
		if end > i+1 {
			b.WriteByte('-')
		}
		if end > i {
			b.WriteString(one(list[end]))
		}
		i = end + 1
	}
	return b.String()
}

func one(c byte) string {
	if c > ' ' && c < 0x7f {
		return string(rune(c))
	}
	const hex = "0123456789abcdef"
	return `\x` + string(hex[c>>4]) + string(hex[c&15])
}
