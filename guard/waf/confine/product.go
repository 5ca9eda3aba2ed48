package confine

import (
	"regexp/syntax"
	"sync"
)

// machine is the program of a rule's expression, for texts of ASCII: the one that the engine runs.
type machine struct {
	inst  []syntax.Inst
	start int
	reads [][2]uint64 // for instructions that read a rune: which bytes of ASCII
}

// newMachine compiles an argument of @rx as the engine does. It is made when it is first asked for; nil for one that reads
// bytes instead of runes, which is not followed.
func newMachine(argument string) func() *machine {
	return sync.OnceValue(func() *machine {
		if namesBytes(argument) {
			return nil
		}
		tree, err := syntax.Parse("(?sm)"+argument, syntax.Perl)
		if err != nil {
			return nil
		}
		prog, err := syntax.Compile(tree.Simplify())
		if err != nil {
			return nil
		}
		m := &machine{inst: prog.Inst, start: prog.Start, reads: make([][2]uint64, len(prog.Inst))}
		for i := range prog.Inst {
			switch in := &prog.Inst[i]; in.Op {
			case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
				for c := range rune(128) {
					if in.Op == syntax.InstRuneAny || in.Op == syntax.InstRuneAnyNotNL && c != '\n' || in.MatchRune(c) {
						m.reads[i][c>>6] |= 1 << (c & 63)
					}
				}
			}
		}
		return m
	})
}

// namesBytes tells that an expression may name bytes that are no UTF-8, for which the engine takes another compiler.
func namesBytes(argument string) bool {
	for i := range len(argument) - 2 {
		if argument[i] == '\\' && argument[i+1] == 'x' && (argument[i+2] == '{' || argument[i+2] >= '8') {
			return true
		}
	}
	return false
}

// mostVisits bounds all searches about one set of texts; beyond it a rule counts as one that may match.
const mostVisits = 800_000

// What is demanded of the next byte.
const (
	anyNext = iota
	wordNext
	otherNext // or the end
)

// What the last byte was.
const (
	nothing = iota
	wordByte
	lineEnd
	otherByte
	lasts
)

// spot is where a search stands: an instruction, a place on the way (-1: at the beginning), what the last byte was, what the
// next must be, and whether the text has ended.
type spot struct {
	pc, at     int32
	last, next uint8
	ended      bool
}

// search looks for a text on a way in which a machine finds a match.
type search struct {
	m      *machine
	w      *way
	seen   []uint64
	layers [2][]spot // of this length and of the next
	lines  bool      // an end of line may stand in the texts
}

// finds tells that a machine may find a match in one of the texts that go a way and have at most so many bytes. It looks for
// the shortest, a match that begins behind any byte counted in.
func (m *machine) finds(w *way, most int, left *int) bool {
	size := len(m.inst) * (len(w.reads) + 1) * lasts * 6
	if *left -= size / 64; *left <= 0 {
		return true
	}
	s := &search{m: m, w: w, seen: make([]uint64, (size+63)/64)}
	for _, r := range w.reads {
		s.lines = s.lines || r[0]&(1<<'\n') != 0
	}
	s.put(0, spot{pc: int32(m.start), at: -1})
	begins := w.first
	reached := make([]bool, len(w.reads))
	for length := 0; length <= most; length++ {
		if s.layer(left) || *left <= 0 {
			return true
		}
		s.layers[0], s.layers[1] = s.layers[1], s.layers[0][:0]
		var further []int
		for _, at := range begins {
			if !reached[at] {
				reached[at] = true
				for _, c := range asciiOf(w.reads[at]) {
					s.put(0, spot{pc: int32(m.start), at: int32(at), last: kindOf(c)})
				}
				further = append(further, w.follow[at]...)
			}
		}
		begins = further
		if len(s.layers[0]) == 0 && len(begins) == 0 {
			return false
		}
	}
	return false
}

func kindOf(c byte) uint8 {
	switch {
	case isWord(c):
		return wordByte
	case c == '\n':
		return lineEnd
	}
	return otherByte
}

func (s *search) put(layer int, at spot) {
	i := (((int(at.pc)*(len(s.w.reads)+1)+int(at.at)+1)*lasts+int(at.last))*3 + int(at.next)) * 2
	if at.ended {
		i++
	}
	if s.seen[i/64]&(1<<(i%64)) == 0 {
		s.seen[i/64] |= 1 << (i % 64)
		s.layers[layer] = append(s.layers[layer], at)
	}
}

// layer goes on from all spots of one length. True is a match.
func (s *search) layer(left *int) bool {
	for i := 0; i < len(s.layers[0]); i++ {
		at := s.layers[0][i]
		*left--
		in := &s.m.inst[at.pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			s.to(at, in.Out)
			s.to(at, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			s.to(at, in.Out)
		case syntax.InstEmptyWidth:
			if s.holds(&at, syntax.EmptyOp(in.Arg)) {
				s.to(at, in.Out)
			}
		case syntax.InstMatch:
			return true
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			s.read(at, in.Out)
		}
	}
	return false
}

func (s *search) to(at spot, pc uint32) {
	at.pc = int32(pc)
	s.put(0, at)
}

// read goes on behind each byte that may come next.
func (s *search) read(at spot, pc uint32) {
	if at.ended {
		return
	}
	next := s.w.first
	if at.at >= 0 {
		next = s.w.follow[at.at]
	}
	reads := s.m.reads[at.pc]
	for _, n := range next {
		may := s.w.reads[n]
		may = [2]uint64{may[0] & reads[0], may[1] & reads[1]}
		for _, c := range asciiOf(may) {
			if at.next == anyNext || isWord(c) == (at.next == wordNext) {
				s.put(1, spot{pc: int32(pc), at: int32(n), last: kindOf(c)})
			}
		}
	}
}

// holds tells whether conditions may hold here, and notes what they demand of what follows.
func (s *search) holds(at *spot, is syntax.EmptyOp) bool {
	begin := at.last == nothing
	if is&syntax.EmptyBeginText != 0 && !begin || is&syntax.EmptyBeginLine != 0 && !begin && at.last != lineEnd {
		return false
	}
	if is&syntax.EmptyEndText != 0 || is&syntax.EmptyEndLine != 0 && !s.lines {
		if !begin && !s.w.ends[at.at] || at.next == wordNext {
			return false
		}
		at.ended = true
	}
	if is&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) == 0 {
		return true
	}
	want := uint8(otherNext)
	if (is&syntax.EmptyWordBoundary != 0) != (at.last == wordByte) {
		want = wordNext
	}
	if at.next != anyNext && at.next != want || at.ended && want == wordNext {
		return false
	}
	at.next = want
	return true
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
