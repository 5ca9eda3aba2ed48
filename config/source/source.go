package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// What Read and Accept answer; compare with errors.Is.
var (
	// ErrChanged tells that what was read is not of one generation, or is gone by now. Reading again is the remedy.
	ErrChanged = errors.New("the document changed while it was read")
	// ErrUnsigned tells that the note is missing, malformed, or not signed with a pinned key.
	ErrUnsigned = errors.New("the document is not signed with a pinned key")
	// ErrDiffers tells that a file is not the one that was signed.
	ErrDiffers = errors.New("the file is not the one that was signed")
	// ErrReplayed tells that a newer version was accepted before, or the same one with other content.
	ErrReplayed = errors.New("a newer document was accepted before")
	// ErrExpired tells that the note's time is over.
	ErrExpired = errors.New("the document's note has expired")
)

// rest is how long a change has to rest before it counts, unless the place is looked at more often.
const rest = 500 * time.Millisecond

// Options is what a Source needs from outside. The zero value is good for an unsigned file.
type Options struct {
	SignedBy []string            // pinned verifier keys, "name+hash+key"; one of them must have signed. None: no note is asked for
	Floor    Floor               // what this node accepted before, such as FloorFile; required with SignedBy. See Source.Share
	HTTP     HTTP                // how a server is spoken to
	Keep     string              // folder, 0700, for the last document from a server that was accepted; "" keeps none
	Poll     time.Duration       // how often to look; 0: 250ms for a file, 1s for git, 30s for a server
	Now      func() time.Time    // nil is time.Now
	Jitter   func() float64      // from 0 to 1, so that nodes don't ask a server all at once; nil is math/rand/v2
	Report   func(problem error) // told when looking fails, and with nil when it works again; nil is silence
}

// HTTP is how a server that holds documents is spoken to.
type HTTP struct {
	CA          string                                                               // file of authorities in PEM form, read for each look; "": the system's
	Token       func() ([]byte, error)                                               // a bearer token, asked for each look; nil is none
	Certificate func() (*tls.Certificate, error)                                     // the client's certificate; nil is none
	Dial        func(ctx context.Context, network, address string) (net.Conn, error) // nil is net.Dialer
}

// Mark is a version and what it was, so that the same version with other content is known.
type Mark struct {
	Version int64
	Digest  string // SHA-256 of the note's text, in hex
}

// Floor remembers the highest mark that was accepted, over restarts and for all nodes. The zero Mark stands for none.
type Floor interface {
	Highest(ctx context.Context) (Mark, error)
	// Raise remembers a mark. It must not lower: when a higher version is there by now, or the same with another digest, it
	// is an error that wraps ErrReplayed.
	Raise(ctx context.Context, m Mark) error
}

// marks are what a place looked like: a word for each file, which changes when the file does.
type marks map[string]string

// origin is a kind of place.
type origin interface {
	open(ctx context.Context) (generation, error)
	every() time.Duration
}

// generation is an origin at one moment.
type generation interface {
	file() string                                                    // the document, as mistakes name it; contracts are relative to its folder
	name(path string) (string, error)                                // a path relative to the document's folder, as a note names it
	read(ctx context.Context, contract, path string) ([]byte, error) // a file; contract is the one that refers to it, or itself
	list(ctx context.Context, folder string) ([]string, error)       // names of what lies in a folder
	seen() marks                                                     // what was read, as it was then
	look(ctx context.Context) (marks, error)                         // the same, as it is now
	settled(ctx context.Context) error                               // nil when everything read was of this generation
	id() string                                                      // names the generation; "" when its content must
}

// Source is a place to read documents from. It is safe for use by several goroutines.
type Source struct {
	place     place
	origin    origin
	opt       Options
	verifiers note.Verifiers // nil: no note is asked for
	floors    floors

	accepted atomic.Bool // something, since Open

	mu      sync.Mutex
	last    *Bundle // what Read read last, or tried to
	problem string  // that was reported last
}

// Open understands a place and the pinned keys. It reads nothing yet.
func Open(text string, opt Options) (*Source, error) {
	p, err := parsePlace(text)
	if err != nil {
		return nil, err
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Jitter == nil {
		opt.Jitter = rand.Float64
	}
	if opt.Report == nil {
		opt.Report = func(error) {}
	}
	s := &Source{place: p, opt: opt}
	if opt.Floor != nil {
		s.floors.all = []Floor{opt.Floor}
	}
	if len(opt.SignedBy) > 0 {
		if s.verifiers, err = verifiersOf(opt.SignedBy); err != nil {
			return nil, err
		}
		if opt.Floor == nil {
			return nil, errors.New("signed documents need a place that remembers the highest version; without one old documents could be put back")
		}
	}
	switch p.kind {
	case kindGit:
		s.origin = gitOrigin{p}
	case kindHTTP:
		s.origin = httpOrigin{p, opt.HTTP}
	default:
		s.origin = fileOrigin{p.file}
	}
	return s, nil
}

// String is the place as it was given.
func (s *Source) String() string { return s.place.String() }

// Signed tells that a note is asked for.
func (s *Source) Signed() bool { return s.verifiers != nil }

// Read reads the newest generation. With pinned keys it refuses a note that is missing, wrong, expired or older than what
// was accepted, and a document that differs from it. The context also bounds what is read later through the Bundle.
func (s *Source) Read(ctx context.Context) (*Bundle, error) {
	b := &Bundle{source: s, ctx: ctx, read: map[string]string{}, outside: marks{}}
	s.mu.Lock()
	s.last = b
	s.mu.Unlock()
	if err := b.open(ctx); err != nil {
		return nil, fmt.Errorf("document %s: %w", s, err)
	}
	return b, nil
}

// Wait returns when Read would give something else than it gave last (also when that was an error), and the change has
// rested for one look. Otherwise it waits until ctx ends and gives its error.
func (s *Source) Wait(ctx context.Context) error {
	var before marks
	pause := s.pause()
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = s.pause()
		seen, now, err := s.look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.report(err)
		if err != nil {
			continue
		}
		if maps.Equal(now, seen) {
			before = now
			continue
		}
		if before != nil && maps.Equal(now, before) {
			return nil
		}
		before, pause = now, min(pause, rest)
	}
}

// Changed looks once and tells whether Read would give something else than it gave last.
func (s *Source) Changed(ctx context.Context) (bool, error) {
	seen, now, err := s.look(ctx)
	return err == nil && !maps.Equal(now, seen), err
}

// look gives what the last bundle was made of, as it was and as it is.
func (s *Source) look(ctx context.Context) (seen, now marks, err error) {
	s.mu.Lock()
	b := s.last
	s.mu.Unlock()
	if b == nil || b.generation == nil { // nothing was read yet
		if _, err = s.origin.open(ctx); err != nil {
			return nil, nil, err
		}
		return marks{}, marks{"": "is there"}, nil
	}
	if now, err = b.generation.look(ctx); err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	seen = b.generation.seen()
	for path, stamp := range b.outside {
		seen["outside "+path], now["outside "+path] = stamp, stampOf(path)
	}
	return seen, now, nil
}

func (s *Source) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	same := text == s.problem
	s.problem = text
	s.mu.Unlock()
	if !same {
		s.opt.Report(err)
	}
}

// pause is the time to the next look: a server is asked a fifth earlier or later each time.
func (s *Source) pause() time.Duration {
	every := s.opt.Poll
	if every <= 0 {
		every = s.origin.every()
	}
	if s.place.kind == kindHTTP {
		return time.Duration(float64(every) * (0.8 + 0.4*s.opt.Jitter()))
	}
	return every
}
