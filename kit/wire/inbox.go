package wire

// inbox holds bytes that have arrived and could not be handed on at once: an incomplete head, or more than the engine asked for. It
// has memory only while it holds some, so an idle connection costs nothing here. The parser bounds what can pile up.
type inbox struct {
	b     []byte
	begin int // handed on up to here
	ok    int // understood up to here
}

// ready returns how many understood bytes wait for the engine.
func (in *inbox) ready() int { return in.ok - in.begin }

// open returns how many bytes are not understood yet.
func (in *inbox) open() int { return len(in.b) - in.ok }

// take hands on understood bytes.
func (in *inbox) take(p []byte) int {
	n := copy(p, in.b[in.begin:in.ok])
	in.begin += n
	if in.begin == len(in.b) {
		in.drop()
	}
	return n
}

// keep stores what came behind the bytes handed on directly. The inbox is empty.
func (in *inbox) keep(b []byte) {
	in.b = append(make([]byte, 0, max(len(b), readSize)), b...)
}

// room returns free space of at least half of size behind the stored bytes. Nothing is ready: what was understood has been taken.
func (in *inbox) room(size int) []byte {
	if cap(in.b)-len(in.b) < size/2 {
		fresh := make([]byte, in.open(), max(2*in.open(), size))
		copy(fresh, in.b[in.begin:])
		in.b, in.begin, in.ok = fresh, 0, 0
	}
	return in.b[len(in.b):cap(in.b)]
}

// grow counts n bytes that were read into the room, and returns all that are not understood.
func (in *inbox) grow(n int) []byte {
	in.b = in.b[:len(in.b)+n]
	return in.b[in.ok:]
}

// clear marks n more bytes as understood.
func (in *inbox) clear(n int) { in.ok += n }

// cut forgets what is not understood.
func (in *inbox) cut() {
	in.b = in.b[:in.ok]
	if in.ready() == 0 {
		in.drop()
	}
}

// drop forgets everything and gives the memory back.
func (in *inbox) drop() { *in = inbox{} }
