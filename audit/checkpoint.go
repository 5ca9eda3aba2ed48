package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// checkpointKey is the name under which checkpoints are signed, and checkpointForm the first line of what is signed.
const (
	checkpointKey  = "gatehouse-audit"
	checkpointForm = "gatehouse.checkpoint/1"
)

// maxCheckpoint bounds one checkpoint on its line, in bytes.
const maxCheckpoint = 4 << 10

// Checkpoint says, signed, where a chain stood at a time. Whoever has one can tell whether the log that he is shown is a
// continuation of that one: nothing up to Seq was changed, and nothing cut off (row K4).
type Checkpoint struct {
	Node   string    `json:"node"`   // whose chain it is: visible ASCII without spaces
	Chain  string    `json:"chain"`  // stem of the event files: "events", "events.2"
	Number uint64    `json:"number"` // 1, 2, 3, ... in one file of checkpoints
	First  uint64    `json:"first"`  // number of the oldest entry that was kept
	Seq    uint64    `json:"seq"`    // number of the last entry
	Hash   string    `json:"hash"`   // SHA-256 of its line, in hex
	Time   time.Time `json:"time"`   // when it was signed, UTC, whole seconds
}

// Signer signs checkpoints with an Ed25519 key, whose seed comes from the key ring.
type Signer interface {
	Public() ed25519.PublicKey
	Sign(message []byte) ([]byte, error)
}

// ErrNotSigned is returned for a checkpoint that none of the given keys has signed.
var ErrNotSigned = errors.New("audit: the checkpoint is not signed by a known key")

// text is what is signed. There is one text for a checkpoint and one checkpoint for a text.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\nnode %s\nchain %s\nnumber %d\nfirst %d\nseq %d\nhash %s\ntime %s\n", checkpointForm, c.Node, c.Chain,
		c.Number, c.First, c.Seq, c.Hash, c.Time.UTC().Format(time.RFC3339))
}

func (c Checkpoint) check() error {
	switch {
	case !word(c.Node):
		return fmt.Errorf("%q is not the name of a node; use visible ASCII without spaces, at most 128 of them", c.Node)
	case !word(c.Chain):
		return fmt.Errorf("%q is not the name of a chain", c.Chain)
	case c.Number == 0 || c.First == 0 || c.Seq < c.First:
		return fmt.Errorf("number %d, first %d and seq %d do not go together", c.Number, c.First, c.Seq)
	case len(c.Hash) != 64 || strings.Trim(c.Hash, "0123456789abcdef") != "":
		return errors.New("its hash is no SHA-256 in hex")
	}
	return nil
}

func word(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// parseText reads what text has written, and nothing else.
func parseText(text string) (Checkpoint, error) {
	var c Checkpoint
	lines := strings.Split(text, "\n")
	if len(lines) != 9 || lines[0] != checkpointForm {
		return c, errors.New("it does not have the form " + checkpointForm)
	}
	for i, name := range []string{"node", "chain", "number", "first", "seq", "hash", "time"} {
		value, ok := strings.CutPrefix(lines[i+1], name+" ")
		var err error
		switch name {
		case "node":
			c.Node = value
		case "chain":
			c.Chain = value
		case "number":
			c.Number, err = strconv.ParseUint(value, 10, 64)
		case "first":
			c.First, err = strconv.ParseUint(value, 10, 64)
		case "seq":
			c.Seq, err = strconv.ParseUint(value, 10, 64)
		case "hash":
			c.Hash = value
		case "time":
			c.Time, err = time.Parse(time.RFC3339, value)
		}
		if !ok || err != nil {
			return Checkpoint{}, fmt.Errorf("its line %d does not say %s", i+2, name)
		}
	}
	if err := c.check(); err != nil {
		return Checkpoint{}, err
	}
	if c.text() != text {
		return Checkpoint{}, errors.New("it is not written in the one form that it has")
	}
	return c, nil
}

// signed is a checkpoint on its line in a file.
type signed struct {
	Checkpoint string `json:"checkpoint"` // a signed note (golang.org/x/mod/sumdb/note)
}

func (s signed) line() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(s)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// Sign gives the checkpoint as one line of JSON without its end.
func (c Checkpoint) Sign(with Signer) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	verifier, err := verifierOf(with.Public())
	if err != nil {
		return nil, err
	}
	whole, err := note.Sign(&note.Note{Text: c.text()}, noteSigner{Verifier: verifier, signer: with})
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed{string(whole)}.line()
}

// noteSigner makes a note.Signer of a Signer.
type noteSigner struct {
	note.Verifier
	signer Signer
}

func (s noteSigner) Sign(message []byte) ([]byte, error) { return s.signer.Sign(message) }

func verifierOf(key ed25519.PublicKey) (note.Verifier, error) {
	text, err := note.NewEd25519VerifierKey(checkpointKey, key)
	if err != nil {
		return nil, fmt.Errorf("key of checkpoints: %w", err)
	}
	return note.NewVerifier(text)
}

// unverified reads a line for what it says, whoever has signed it.
func unverified(line []byte) (Checkpoint, error) {
	var s signed
	if err := json.Unmarshal(line, &s); err != nil {
		return Checkpoint{}, err
	}
	text, _, ok := strings.Cut(s.Checkpoint, "\n\n")
	if !ok {
		return Checkpoint{}, errors.New("it has no signature")
	}
	return parseText(text + "\n")
}

// ReadCheckpoint reads a line that Sign has made. Every byte of it counts. ErrNotSigned says that no key of keys made it.
func ReadCheckpoint(line []byte, keys []ed25519.PublicKey) (Checkpoint, error) {
	var s signed
	if len(line) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("audit: a checkpoint has at most %d bytes", maxCheckpoint)
	}
	if err := json.Unmarshal(line, &s); err != nil {
		return Checkpoint{}, fmt.Errorf("audit: not a checkpoint: %w", err)
	}
	if again, err := s.line(); err != nil || !bytes.Equal(again, line) {
		return Checkpoint{}, errors.New("audit: not a checkpoint: it is not written in the one form that it has")
	}
	var known []note.Verifier
	for _, key := range keys {
		v, err := verifierOf(key)
		if err != nil {
			return Checkpoint{}, err
		}
		if !slices.ContainsFunc(known, func(k note.Verifier) bool { return k.KeyHash() == v.KeyHash() }) {
			known = append(known, v)
		}
	}
	n, err := note.Open([]byte(s.Checkpoint), note.VerifierList(known...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrNotSigned, err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 {
		return Checkpoint{}, errors.New("audit: a checkpoint has one signature")
	}
	if raw, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil || base64.StdEncoding.EncodeToString(raw) != n.Sigs[0].Base64 {
		return Checkpoint{}, errors.New("audit: the signature of the checkpoint is not written in the one form that it has")
	}
	c, err := parseText(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("audit: not a checkpoint: %w", err)
	}
	return c, nil
}
