package pipeline

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An answer that is looked into may be compressed: it is decoded as it passes, within bounds, and leaves as it came, so that
// its length, its validators and its ranges stay the server's.

// readable are the content codings that can be taken off (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
var readable = []string{"gzip", "x-gzip", "deflate", "br", "zstd"}

// asked are those that servers are asked for. What comes in br can't be read to the last byte that has come (see delayed), so
// that a slow answer would stay behind by a piece.
var asked = []string{"gzip", "x-gzip", "deflate", "zstd", "identity"}

// swollen is how many bytes one byte of an answer may become once it has become more than loose. Text becomes ten or twenty.
const (
	swollen = 200
	loose   = 1 << 20
)

// errSwollen tells that an answer becomes too large.
var errSwollen = errors.New("one byte becomes more than 200")

// readableOnly leaves of the codings that a client takes those that can be taken off as they come. A part of an answer is asked for as it
// is: nothing can be read from the middle of a compressed one.
func readableOnly(fields http.Header) {
	lists := fields["Accept-Encoding"]
	if len(lists) == 0 {
		return
	}
	if fields["Range"] != nil {
		fields["Accept-Encoding"] = []string{"identity"}
		return
	}
	var kept []string
	for _, one := range strings.Split(strings.Join(lists, ","), ",") {
		one = strings.TrimSpace(one)
		name, _, _ := strings.Cut(one, ";")
		if contains(asked, strings.ToLower(strings.TrimSpace(name))) {
			kept = append(kept, one)
		}
	}
	if len(kept) == 0 {
		kept = []string{"identity"}
	}
	fields["Accept-Encoding"] = []string{strings.Join(kept, ", ")}
}

// codingOf is the one content coding of an answer, "" for none.
func codingOf(fields http.Header) (string, error) {
	coding := strings.ToLower(strings.Trim(strings.Join(fields["Content-Encoding"], ","), " \t"))
	switch {
	case coding == "identity":
		return "", nil
	case coding == "" || contains(readable, coding):
		return coding, nil
	}
	return coding, fmt.Errorf("its content coding is %.40q", coding)
}

// unpacked reads a body without its coding.
type unpacked struct {
	coding string
	raw    *kept
	in     *bufio.Reader // over raw
	plain  io.Reader     // nil until something is read: some decoders wait for the first bytes when they are made
	ahead  func() int    // how much was read of raw and perhaps not decoded
	close  func()
	count  int64 // of what came out
	window int64 // how much more may be decoded than came out, when as much came out as there was room for
}

// How much a decoder may have decoded that it did not give yet.
const (
	usualWindow = 128 << 10
	brWindow    = 16 << 20
)

// gunzips are readers of gzip, whose tables are large.
var gunzips = sync.Pool{New: func() any { return new(gzip.Reader) }}

// decode takes a coding off. What is read of the body is kept in raw until it is taken; so much of it may be held besides.
func decode(coding string, raw *kept, held int) *unpacked {
	in := bufio.NewReaderSize(raw, 4<<10)
	d := &unpacked{coding: coding, raw: raw, in: in, ahead: in.Buffered, close: func() {}, window: usualWindow}
	if coding == "br" {
		d.window = brWindow
	}
	raw.most = held + loose + int(d.window)
	return d
}

func (d *unpacked) begin() (err error) {
	switch d.coding {
	case "gzip", "x-gzip":
		z := gunzips.Get().(*gzip.Reader)
		d.plain, d.close = z, func() { gunzips.Put(z) }
		err = z.Reset(d.in)
	case "deflate":
		d.plain, err = zlib.NewReader(d.in)
	case "br":
		late := &delayed{from: d.in}
		d.plain = brotli.NewReader(late)
		d.ahead = func() int { return d.in.Buffered() + len(late.held) + late.gave }
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(d.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20)); err == nil {
			d.plain, d.close = z, z.Close
		}
	}
	return err
}

// Read gives what comes out. The end comes only where the body ends too: what stands behind the compressed data would pass
// unread.
func (d *unpacked) Read(p []byte) (n int, err error) {
	if d.plain == nil {
		err = d.begin()
	}
	if err == nil {
		n, err = d.plain.Read(p)
	}
	left := int64(0)
	if n == len(p) {
		left = d.window
	}
	d.raw.mark(d.count+int64(n)+left, d.ahead())
	if d.count += int64(n); d.count > loose && d.count > swollen*d.raw.passed() {
		return 0, errSwollen
	}
	if errors.Is(err, io.EOF) && (d.in.Buffered() > 0 || !d.raw.ended()) {
		return n, errors.New("something stands behind its compressed data")
	}
	return n, err
}

// delayed gives the last bytes of its source together, and only when they are known to be the last: the reader of br takes a
// good end for a bad one when it comes in fewer bytes than it looks ahead.
type delayed struct {
	from io.Reader
	held []byte
	end  error
	gave int // the last time
}

// lookahead is more than the reader of br looks ahead.
const lookahead = 16

// Read gives all but the last bytes of what has come.
func (d *delayed) Read(p []byte) (int, error) {
	for d.end == nil && len(d.held) <= lookahead {
		buffer := make([]byte, 4<<10)
		n, err := d.from.Read(buffer)
		d.held, d.end = append(d.held, buffer[:n]...), err
	}
	ready := len(d.held)
	if d.end == nil {
		ready -= lookahead
	}
	if ready == 0 {
		return 0, d.end
	}
	n := copy(p, d.held[:ready])
	d.held, d.gave = d.held[n:], n
	return n, nil
}

// kept is a body that remembers what was read of it until it is sent on.
type kept struct {
	from io.Reader
	most int // of bytes that are remembered; 0 is any number

	mu    sync.Mutex
	bytes []byte
	marks []mark
	total int64
	err   error // that the body ended in
}

// mark says how much of a body may leave once so much of what it holds was judged: no more can be decoded from it.
type mark struct{ judged, raw int64 }

// mark notes that, but for so much that nobody has looked at, all that was read is in what was decoded.
func (k *kept) mark(decoded int64, ahead int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.marks = append(k.marks, mark{decoded, k.total - int64(ahead)})
}

// errWaits tells that an answer would fill the memory: a decoder reads on without anything coming out.
var errWaits = errors.New("too much of it stands for nothing")

// Read reads on.
func (k *kept) Read(p []byte) (int, error) {
	if k.most > 0 && k.waiting() > k.most {
		return 0, errWaits
	}
	n, err := k.from.Read(p)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bytes = append(k.bytes, p[:n]...)
	k.total += int64(n)
	if err != nil {
		k.err = err
	}
	return n, err
}

// take gives what has been read and not been taken, as far as nothing else can be decoded from it than was judged.
func (k *kept) take(judged int64) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := k.total - int64(len(k.bytes))
	for i := len(k.marks) - 1; i >= 0; i-- {
		if m := k.marks[i]; m.judged <= judged {
			n := max(0, m.raw-taken)
			b := k.bytes[:n:n]
			k.bytes, k.marks = k.bytes[n:], k.marks[i+1:]
			return b
		}
	}
	return nil
}

// rest gives all that has been read and not been taken.
func (k *kept) rest() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.bytes
	k.bytes, k.marks = nil, nil
	return b
}

// waiting is how much that is.
func (k *kept) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.bytes)
}

func (k *kept) passed() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.total
}

// failed is why the body ended before its end; nil when it did not.
func (k *kept) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if errors.Is(k.err, io.EOF) {
		return nil
	}
	return k.err
}

// ended tells that nothing is left of the body, and reads on to know it.
func (k *kept) ended() bool {
	k.mu.Lock()
	err, before := k.err, k.total
	k.mu.Unlock()
	var one [1]byte
	for err == nil && k.passed() == before {
		_, err = k.Read(one[:])
	}
	return errors.Is(err, io.EOF) && k.passed() == before
}
