package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bundle is one generation of a document and of the files that it names.
type Bundle struct {
	File string // how mistakes name the document; contracts are relative to its folder
	Data []byte // the document

	source     *Source
	ctx        context.Context
	generation generation
	note       *Note // nil without pinned keys

	mu      sync.Mutex
	read    map[string]string // SHA-256 of what was read, in hex, by name
	outside marks
}

// Given is the bundle of a document that somebody holds in memory, such as one that is made of flags. What it names is read
// from files.
func Given(file string, data []byte) *Bundle {
	b := &Bundle{
		File: file, Data: data, ctx: context.Background(), read: map[string]string{}, outside: marks{},
		source:     &Source{place: place{file: file}, origin: fileOrigin{file}, opt: Options{Now: time.Now}},
		generation: &files{path: file, links: &links{targets: map[string]string{}}, stamps: marks{}, mounted: map[string][]byte{}},
	}
	_ = b.judge(file, data) // without a note nothing is refused
	return b
}

func (b *Bundle) open(ctx context.Context) error {
	g, err := b.source.origin.open(ctx)
	if err != nil {
		return err
	}
	err = b.from(ctx, g)
	if !errors.Is(err, errAway) || b.source.accepted.Load() {
		return err
	}
	k, keptErr := b.source.lastKept() // a node starts while the server is away
	if keptErr != nil {
		return fmt.Errorf("%w; %w", err, keptErr)
	}
	if k == nil {
		return err
	}
	b.source.report(err)
	clear(b.read)
	return b.from(ctx, k)
}

// from reads note and document of a generation.
func (b *Bundle) from(ctx context.Context, g generation) (err error) {
	b.source.mu.Lock()
	b.generation = g
	b.source.mu.Unlock()
	b.File = g.file()
	if b.source.Signed() {
		if err := b.openNote(ctx); err != nil {
			return err
		}
	}
	if b.Data, err = g.read(ctx, b.File, b.File); err != nil {
		return err
	}
	return b.judge(b.File, b.Data)
}

// openNote reads the note beside the document and refuses one that may not be put in force.
func (b *Bundle) openNote(ctx context.Context) error {
	place := b.File + NoteSuffix
	text, err := b.generation.read(ctx, place, place)
	if err != nil {
		return fmt.Errorf("%w: %w; sign it with: gatehouse document sign, or start without --signed-by", ErrUnsigned, err)
	}
	n, err := openNote(text, b.source.verifiers)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	if n.expired(b.source.opt.Now()) {
		return fmt.Errorf("%s: %w: on %s; sign the document anew", place, ErrExpired, n.Expires.Format(time.RFC3339))
	}
	if err := b.source.floors.check(ctx, n.mark()); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	if name, err := b.generation.name(b.File); err != nil || name != n.Document {
		return fmt.Errorf("%s: %w: the note is for %s", place, ErrDiffers, n.Document)
	}
	b.note = n
	return nil
}

// judge refuses what the note does not vouch for, and remembers what was read.
func (b *Bundle) judge(path string, data []byte) error {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	name, err := b.generation.name(path)
	if b.note != nil {
		if err != nil {
			return fmt.Errorf("%w: %w; a signed document names files below its own folder", ErrDiffers, err)
		}
		signed, ok := b.note.Files[name]
		if !ok {
			return fmt.Errorf("%s: %w: it stands in no note; sign the document again, with this file beside it", name, ErrDiffers)
		}
		if signed != digest {
			return fmt.Errorf("%s: %w; put the signed one back, or sign the document again with a higher version", name, ErrDiffers)
		}
	}
	if err != nil {
		name = path
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if before, twice := b.read[name]; twice && before != digest {
		return fmt.Errorf("%s: %w", name, ErrChanged)
	}
	b.read[name] = digest
	return nil
}

// ReadFile reads a contract (both arguments are its path), or a file that a contract refers to, which must be a plain file
// in the contract's folder (which "folder/." names, where there is no contract), also when a symbolic link leads there: a contract may come from somebody who is not meant to
// read this machine's files, or to keep it reading for ever (row I11). Paths are relative as those of the document are.
func (b *Bundle) ReadFile(contract, path string) ([]byte, error) {
	data, err := b.generation.read(b.ctx, contract, path)
	if err != nil {
		return nil, err
	}
	if err := b.judge(path, data); err != nil {
		return nil, err
	}
	return data, nil
}

// List gives the names of what lies in a folder, in order. Paths are relative as those of the document are. It says nothing of
// what is a file, or may be read: ReadFile does.
func (b *Bundle) List(folder string) ([]string, error) {
	names, err := b.generation.list(b.ctx, folder)
	slices.Sort(names)
	return names, err
}

// Watch makes Wait return also when a file changes that the document names but that is no part of it, such as an authority
// or a key set on this machine. A link is followed.
func (b *Bundle) Watch(path string) {
	stamp := stampOf(path)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outside[path] = stamp
}

// Files names what was read so far, the document among them, relative to its folder: what a note has to list.
func (b *Bundle) Files() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.read))
}

// Accept is called when everything was read and found good, and before it is put in force. It refuses what changed
// meanwhile (ErrChanged: read again), and remembers the version, so that none before it comes back.
func (b *Bundle) Accept(ctx context.Context) error {
	if b.note == nil {
		if err := b.generation.settled(ctx); err != nil {
			return fmt.Errorf("document %s: %w", b.source, err)
		}
	} else if err := b.source.floors.raise(ctx, b.note.mark()); err != nil {
		return fmt.Errorf("document %s: %w", b.source, err)
	}
	b.source.accepted.Store(true)
	if g, ok := b.generation.(*served); ok {
		if err := b.source.keep(g); err != nil { // what is in force does not hang on it
			b.source.report(fmt.Errorf("keep the document for a start without its server: %w", err))
		}
	}
	return nil
}

// State is what is known of a document in force.
type State struct {
	Place      string    `json:"place"`               // as it was given
	Generation string    `json:"generation"`          // the commit, or a digest over everything that was read
	Digest     string    `json:"digest"`              // SHA-256 of the document, in hex
	Version    int64     `json:"version,omitempty"`   // of the note
	Expires    time.Time `json:"expires,omitzero"`    // of the note
	SignedBy   []string  `json:"signed_by,omitempty"` // names of the pinned keys that signed
	Kept       bool      `json:"kept,omitempty"`      // the server was away at the start: this is what was accepted last
	Expired    bool      `json:"expired,omitempty"`   // the note's time is over; what is in force stays so (finding document.expired)
}

// ReasonExpired is the reason of the event, and the id of the finding, that a document in force has expired.
const ReasonExpired = "document.expired"

// State tells what is known of the bundle now. Generation is complete once everything was read.
func (b *Bundle) State() State {
	sum := sha256.Sum256(b.Data)
	st := State{Place: b.source.String(), Generation: b.generation.id(), Digest: hex.EncodeToString(sum[:])}
	if st.Generation == "" {
		h := sha256.New()
		b.mu.Lock()
		for _, name := range slices.Sorted(maps.Keys(b.read)) {
			fmt.Fprintf(h, "%q %s\n", name, b.read[name])
		}
		b.mu.Unlock()
		st.Generation = hex.EncodeToString(h.Sum(nil))
	}
	_, st.Kept = b.generation.(*kept)
	if n := b.note; n != nil {
		st.Version, st.Expires, st.SignedBy = n.Version, n.Expires, n.SignedBy
		st.Expired = n.expired(b.source.opt.Now())
	}
	return st
}
