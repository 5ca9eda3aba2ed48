package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// NoteSuffix is put behind a document's name to name its note: gatehouse.yaml.sig.
const NoteSuffix = ".sig"

// noteSchema is a note's first line.
const noteSchema = "gatehouse.document/1"

// Bounds of a note.
const (
	maxNote  = 1 << 20
	maxFiles = 4096
)

// Note vouches for a document and the files that it refers to. Its text is
//
//	gatehouse.document/1
//	version 12
//	expires 2027-01-31T00:00:00Z
//	document gatehouse.yaml
//	sha256 HEX NAME            one line for each file, the document among them, in the order of names
//
// followed by signatures as golang.org/x/mod/sumdb/note has them (C2SP signed-note).
type Note struct {
	Version  int64             `json:"version"`   // each document of an installation has a higher one than the one before
	Expires  time.Time         `json:"expires"`   // from then on it is not accepted any more; whole seconds, UTC
	Document string            `json:"document"`  // the document's name
	Files    map[string]string `json:"files"`     // SHA-256 in hex by name, relative to the document's folder
	SignedBy []string          `json:"signed_by"` // names of the keys whose signature was verified

	digest string // SHA-256 of the text in hex
}

func (n *Note) expired(now time.Time) bool { return !now.Before(n.Expires) }

func (n *Note) mark() Mark { return Mark{n.Version, n.digest} }

// text writes a note in its one form.
func (n *Note) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nversion %d\nexpires %s\ndocument %s\n", noteSchema, n.Version, n.Expires.UTC().Format(time.RFC3339), n.Document)
	names := make([]string, 0, len(n.Files))
	for name := range n.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "sha256 %s %s\n", n.Files[name], name)
	}
	return b.String()
}

// parseNote reads a note's text. There is one way to write a note; anything else is refused.
func parseNote(text string) (*Note, error) {
	if len(text) > maxNote {
		return nil, fmt.Errorf("the note is larger than %d bytes", maxNote)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 5 || lines[0] != noteSchema {
		return nil, fmt.Errorf("the note does not begin with %q; it was not made by gatehouse document sign, or by a newer one", noteSchema)
	}
	if len(lines) > 4+maxFiles {
		return nil, fmt.Errorf("the note lists more than %d files", maxFiles)
	}
	version, ok1 := strings.CutPrefix(lines[1], "version ")
	expires, ok2 := strings.CutPrefix(lines[2], "expires ")
	document, ok3 := strings.CutPrefix(lines[3], "document ")
	if !ok1 || !ok2 || !ok3 {
		return nil, errors.New("the note lacks version, expires or document in its first lines")
	}
	n := &Note{Document: document, Files: make(map[string]string, len(lines)-4)}
	var err error
	if n.Version, err = strconv.ParseInt(version, 10, 64); err != nil || n.Version < 1 {
		return nil, fmt.Errorf("the note's version %q is not a whole number from 1 on", version)
	}
	if n.Expires, err = time.Parse(time.RFC3339, expires); err != nil {
		return nil, fmt.Errorf("the note's expiry %q is not a time such as 2027-01-31T00:00:00Z", expires)
	}
	for i, line := range lines[4:] {
		rest, ok := strings.CutPrefix(line, "sha256 ")
		digest, name, split := strings.Cut(rest, " ")
		if raw, err := hex.DecodeString(digest); !ok || !split || err != nil || len(raw) != sha256.Size || digest != strings.ToLower(digest) || !localName(name) {
			return nil, fmt.Errorf("line %d of the note is not: sha256 DIGEST NAME", i+5)
		}
		n.Files[name] = digest
	}
	if _, ok := n.Files[document]; !ok {
		return nil, fmt.Errorf("the note lists no digest of its document %q", document)
	}
	if n.text() != text {
		return nil, errors.New("the note is not written as gatehouse document sign writes it: order, repetition or form of a line")
	}
	sum := sha256.Sum256([]byte(text))
	n.digest = hex.EncodeToString(sum[:])
	return n, nil
}

// openNote verifies the signatures first and only then reads what was signed.
func openNote(message []byte, known note.Verifiers) (*Note, error) {
	if len(message) > maxNote {
		return nil, fmt.Errorf("%w: the note is larger than %d bytes", ErrUnsigned, maxNote)
	}
	opened, err := note.Open(message, known)
	if err != nil {
		return nil, fmt.Errorf("%w: %s; pin the key that signed it (--signed-by), or sign it with one that is pinned", ErrUnsigned, strings.TrimPrefix(err.Error(), "note: "))
	}
	n, err := parseNote(opened.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	for _, s := range opened.Sigs {
		n.SignedBy = append(n.SignedBy, s.Name)
	}
	return n, nil
}

// verifiersOf reads pinned keys.
func verifiersOf(keys []string) (note.Verifiers, error) {
	var list []note.Verifier
	for i, text := range keys {
		v, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil { // not repeated: it may be the signing key
			return nil, fmt.Errorf("--signed-by: key %d is not a verifier key; write what gatehouse document keygen printed for it: name+hash+key", i+1)
		}
		if slices.ContainsFunc(list, func(o note.Verifier) bool { return o.Name() == v.Name() && o.KeyHash() == v.KeyHash() }) {
			return nil, fmt.Errorf("--signed-by: key %s stands there twice; remove one", v.Name())
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}

// Verify reads a note that one of the keys signed. It looks at no file, no clock and no version that was accepted.
func Verify(message []byte, signedBy []string) (*Note, error) {
	known, err := verifiersOf(signedBy)
	if err != nil {
		return nil, err
	}
	return openNote(message, known)
}

// Differs lists the names whose content differs from what the note says, by reading each; a file that cannot be read
// differs.
func (n *Note) Differs(read func(name string) ([]byte, error)) []string {
	var wrong []string
	for name, digest := range n.Files {
		data, err := read(name)
		sum := sha256.Sum256(data)
		want, _ := hex.DecodeString(digest)
		if err != nil || !bytes.Equal(sum[:], want) {
			wrong = append(wrong, name)
		}
	}
	slices.Sort(wrong)
	return wrong
}
