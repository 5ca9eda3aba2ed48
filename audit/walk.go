package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// entry is one line of a log on the way through a verifier.
type entry struct {
	file string
	line int
	seq  uint64
	prev string
	hash string
	err  error // it is no event
}

// verifier holds one chain against its checkpoints.
type verifier struct {
	ctx     context.Context
	options Options
	files   *files
	told    func(done int64, what string)

	signed []Checkpoint // in the order of their entries
	latest Checkpoint   // the one with the highest number
	beside Checkpoint   // the same, of those beside the log
	found  Chain
	bytes  int64
	paced  int64 // of bytes

	ahead  []entry // read, not yet judged
	reader *bufio.Reader
	next   int // file to open when reader ends
	line   int
	left   int64 // bytes of that file
}

// verify gives the first bad entry, or an error when the log cannot be read.
func (v *verifier) verify() (*Bad, error) {
	v.found = Chain{Name: v.files.stem, Files: len(v.files.files)}
	bad := v.checkpoints()
	if bad != nil {
		return bad, nil
	}
	at, bad, err := v.walk()
	if err != nil || bad != nil {
		return bad, err
	}
	return v.end(at), nil
}

// walk follows the chain to its end.
func (v *verifier) walk() (at entry, bad *Bad, err error) {
	signed := v.signed
	for n := 0; ; n++ {
		if n%64 == 0 {
			if err := v.options.Pace(v.ctx, int(v.bytes-v.paced)); err != nil {
				return at, nil, err
			}
			v.paced = v.bytes
		}
		e, ok, err := v.read()
		if err != nil {
			return at, nil, err
		}
		if !ok {
			return at, nil, nil
		}
		if e.err != nil {
			return at, v.bad(Changed, e, max(at.seq+1, 1), "not an event: %v", e.err), nil
		}
		if at.seq == 0 {
			v.found.First = e.seq
			if bad := v.begins(e); bad != nil {
				return at, bad, nil
			}
		} else if bad, err := v.follows(at, e); err != nil || bad != nil {
			return at, bad, err
		}
		for len(signed) > 0 && signed[0].Seq <= e.seq {
			if bad := v.agrees(e, signed[0]); bad != nil {
				return at, bad, nil
			}
			signed = signed[1:]
		}
		at = e
		v.found.Entries++
		v.found.Last = e.seq
	}
}

func (v *verifier) bad(kind Kind, e entry, seq uint64, what string, args ...any) *Bad {
	return (&Bad{Kind: kind, File: e.file, Line: e.line, Seq: seq}).say(what, args...)
}

// begins judges the oldest entry that is kept. Those before it may have been rotated away, if a checkpoint says so or if as
// many files are there as are kept.
func (v *verifier) begins(e entry) *Bad {
	switch {
	case e.seq == 0:
		return v.bad(Changed, e, 1, "an entry is numbered 0; the first one is 1")
	case e.seq == 1 && e.prev != "":
		return v.bad(Changed, e, 1, "the first entry carries the hash of one before it")
	case e.seq > 1 && len(e.prev) != 64:
		return v.bad(Changed, e, e.seq, "entry %d does not carry the hash of entry %d", e.seq, e.seq-1)
	}
	first := max(v.latest.First, 1)
	if e.seq > first && v.files.closed < v.options.Keep {
		return v.bad(Missing, e, first, "entries %d to %d are missing, and no rotation took them: %d closed files are left of %d that are kept",
			first, e.seq-1, v.files.closed, v.options.Keep)
	}
	v.found.RotatedAway = e.seq - 1
	return nil
}

// follows judges an entry by the one before it. When the two do not go together, those that come next tell which of them
// is the bad one.
func (v *verifier) follows(at, e entry) (*Bad, error) {
	want := at.seq + 1
	if e.seq == want && e.prev == at.hash {
		return nil, nil
	}
	next, err := v.peek(0)
	if err != nil {
		return nil, err
	}
	borne := next.seq == e.seq+1 && next.prev == e.hash // what follows bears e out
	for _, c := range v.signed {
		borne = borne || c.Seq == e.seq && c.Hash == e.hash
	}
	switch {
	case e.seq == want && borne:
		return v.bad(Changed, at, at.seq, "entry %d is not what entry %d followed: it was changed", at.seq, e.seq), nil
	case e.seq == want:
		return v.bad(Changed, e, e.seq, "entry %d does not carry the hash of entry %d: it was changed", e.seq, at.seq), nil
	case !borne && next.seq == want+1:
		return v.bad(Changed, e, want, "it is numbered %d in the place of entry %d", e.seq, want), nil
	case next.seq == want, e.seq < want:
		return v.bad(Reordered, e, e.seq, "entry %d follows entry %d", e.seq, at.seq), nil
	case e.file != at.file && e.file != fmt.Sprintf("%s-%012d.jsonl", v.files.stem, want):
		return v.bad(Missing, e, want, "entries %d to %d are missing: a file between %s and %s, or the end of the former", want, e.seq-1, at.file, e.file), nil
	}
	return v.bad(Deleted, e, want, "entries %d to %d are missing", want, e.seq-1), nil
}

// agrees holds an entry against a checkpoint at or before it.
func (v *verifier) agrees(e entry, c Checkpoint) *Bad {
	if c.Seq < e.seq { // its entry was rotated away
		return nil
	}
	if c.Hash != e.hash {
		kind, since := Replaced, "no checkpoint before it bears this log out"
		if v.found.Sealed != nil {
			since = fmt.Sprintf("up to entry %d it is the log that was signed", v.found.Sealed.Seq)
		}
		if next, err := v.peek(0); err == nil && (next.seq == 0 || next.prev != e.hash) {
			kind = Changed
		}
		return v.bad(kind, e, e.seq, "entry %d is not the one that was signed at %s; %s", e.seq, c.Time.Format(time.RFC3339), since)
	}
	v.found.Sealed, v.found.Anchored = &c, true
	v.found.Checked++
	return nil
}

// end judges what the log lacks at its end.
func (v *verifier) end(at entry) *Bad {
	if v.found.Sealed != nil {
		v.found.Unsealed = at.seq - v.found.Sealed.Seq
	} else {
		v.found.Unsealed = v.found.Entries
	}
	where := entry{file: v.files.files[len(v.files.files)-1].name, line: v.line + 1}
	last, kind := at.seq, Truncated
	var when time.Time
	for _, c := range v.signed {
		if c.Seq > last {
			last, when = c.Seq, c.Time
		}
	}
	if v.latest.Number > v.beside.Number {
		kind = RolledBack
	}
	if last > at.seq {
		return v.bad(kind, where, at.seq+1, "the log ends with entry %d, but entry %d was signed at %s", at.seq, last, when.Format(time.RFC3339))
	}
	if kind == RolledBack {
		return v.bad(kind, entry{file: v.files.stem + ".checkpoints"}, v.latest.Seq, "checkpoint %d was kept elsewhere, but the last one here is number %d", v.latest.Number, v.beside.Number)
	}
	return nil
}

// peek gives the i-th entry that is still to be judged, or one numbered 0 at the end.
func (v *verifier) peek(i int) (entry, error) {
	for len(v.ahead) <= i {
		e, ok, err := v.scan()
		if err != nil || !ok {
			return entry{}, err
		}
		v.ahead = append(v.ahead, e)
	}
	return v.ahead[i], nil
}

func (v *verifier) read() (entry, bool, error) {
	if len(v.ahead) > 0 {
		e := v.ahead[0]
		v.ahead = v.ahead[1:]
		return e, true, nil
	}
	return v.scan()
}

// scan reads the next whole line of the chain.
func (v *verifier) scan() (entry, bool, error) {
	for {
		if v.reader == nil {
			if v.next == len(v.files.files) {
				return entry{}, false, nil
			}
			f := v.files.files[v.next]
			v.next++
			v.line, v.left = 0, f.size
			v.reader = bufio.NewReaderSize(io.NewSectionReader(f, 0, f.size), maxLine)
		}
		f := v.files.files[v.next-1]
		line, err := v.reader.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			v.reader = nil
			continue
		case err == io.EOF && v.next == len(v.files.files):
			v.reader, v.found.HalfLine = nil, true
			v.bytes += int64(len(line))
			continue
		case err == io.EOF:
			return v.entry(f, line, errors.New("the file ends within a line")), true, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return v.entry(f, line, fmt.Errorf("a line of more than %d bytes", maxLine)), true, nil
		case err != nil:
			return entry{}, false, fmt.Errorf("%s: %w", f.Name(), err)
		}
		return v.entry(f, line, nil), true, nil
	}
}

func (v *verifier) entry(f opened, line []byte, err error) entry {
	v.line++
	v.bytes += int64(len(line))
	v.left -= int64(len(line))
	if v.line%4096 == 1 {
		v.told(v.bytes, f.name)
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	e := entry{file: f.name, line: v.line, err: err, hash: hashOf(line)}
	if err != nil {
		return e
	}
	if v.left > maxLine { // another entry follows, whose hash tells whether the rest of this one is what was written
		if seq, prev, ok := linkOf(line); ok {
			e.seq, e.prev = seq, prev
			return e
		}
	}
	var link struct {
		Seq  uint64 `json:"seq"`
		Prev string `json:"prev"`
	}
	e.err = json.Unmarshal(line, &link)
	e.seq, e.prev = link.Seq, link.Prev
	return e
}

// linkOf reads number and hash where a line begins as every line of ours does. To read all of each line as JSON would be nine
// tenths of what verifying costs.
func linkOf(line []byte) (seq uint64, prev string, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"schema":"`+gate.EventSchema+`","seq":`))
	if !ok || !bytes.HasSuffix(rest, []byte("}")) {
		return 0, "", false
	}
	number, rest, ok := bytes.Cut(rest, []byte(`,"prev":"`))
	if !ok || len(number) == 0 || len(number) > 19 || number[0] == '0' {
		return 0, "", false
	}
	for _, c := range number {
		if c < '0' || c > '9' {
			return 0, "", false
		}
		seq = seq*10 + uint64(c-'0')
	}
	const hash = 64
	if len(rest) < hash+3 || string(rest[hash:hash+3]) != `","` {
		return 0, "", false
	}
	for _, c := range rest[:hash] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, "", false
		}
	}
	return seq, string(rest[:hash]), true
}
