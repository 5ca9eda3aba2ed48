package key

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatehouse-sec/gatehouse/kit/words"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// DefaultCredential is the name of the systemd credential that is taken as root key when the document names no root.
const DefaultCredential = "gatehouse.root.key"

// ownRoot is the root of a document that names none: a random key in a file of the user's config directory, outside of the
// data, made at the first start. A key that replaces it gets a file of its own, so that at every instant of a change the
// key that opens the keyring is on the disk; afterwards the old one is removed.
type ownRoot struct {
	dir          string // the config directory
	credentials  string // $CREDENTIALS_DIRECTORY, or ""
	installation string
	random       io.Reader

	made    string // the file of the last Wrap
	handout Handout
}

// Describe says what it is.
func (o *ownRoot) Describe() Description {
	path := filepath.Join(o.dir, o.installation+".root.key")
	if o.credentials != "" {
		c := credential(o.credentials, DefaultCredential)
		if _, err := c.read(); err == nil {
			return Description{Kind: "credential", Where: c.where}
		}
	}
	if files := o.files(); len(files) > 0 {
		path = files[0]
	}
	return Description{Kind: "own", Where: path, File: path}
}

// files are all root keys of this installation.
func (o *ownRoot) files() []string {
	list, _ := filepath.Glob(filepath.Join(o.dir, o.installation+"*.root.key")) // the pattern is right: no special characters
	slices.Sort(list)
	return list
}

// Wrap makes a new key in a new file, or takes the systemd credential where there is one.
func (o *ownRoot) Wrap(ctx context.Context, plain, aad []byte) (Envelope, error) {
	o.made, o.handout = "", Handout{}
	if o.credentials != "" {
		given := credentialRoot(o.credentials, DefaultCredential, o.random)
		if e, err := given.Wrap(ctx, plain, aad); !errors.Is(err, os.ErrNotExist) {
			return e, err
		}
	}
	kek, err := fresh(o.random)
	if err != nil {
		return Envelope{}, err
	}
	defer kek.wipe()
	path := filepath.Join(o.dir, o.installation+".root.key")
	text := []byte(hex.EncodeToString(kek.bytes()) + "\n")
	defer clear(text)
	err = createFile(path, text)
	if errors.Is(err, os.ErrExist) {
		path = filepath.Join(o.dir, fmt.Sprintf("%s.%x.root.key", o.installation, kek.check()))
		err = createFile(path, text)
	}
	if err != nil {
		return Envelope{}, fmt.Errorf("write the root key (set XDG_CONFIG_HOME to a directory that this user may write, or name another root in the section key, such as root: file:/path): %w", err)
	}
	o.made = path
	if o.handout.Words, err = wordsOf(kek); err != nil {
		return Envelope{}, err
	}
	return wrapWith(o.random, kek, Envelope{Kind: kindKey}, plain, aad)
}

// wordsOf writes a key as its recovery words.
func wordsOf(kek material) (secret.Value, error) {
	text, err := words.Of(kek.bytes())
	if err != nil {
		return secret.Value{}, err
	}
	return secret.New([]byte(text), "recovery words")
}

// Unwrap looks for a systemd credential first, then through the files.
func (o *ownRoot) Unwrap(_ context.Context, e Envelope, aad []byte) ([]byte, error) {
	if err := expect(e, kindKey); err != nil {
		return nil, err
	}
	var list []source
	if o.credentials != "" {
		list = append(list, credential(o.credentials, DefaultCredential))
	}
	files := o.files()
	if len(files) == 0 {
		files = []string{filepath.Join(o.dir, o.installation+".root.key")}
	}
	for _, path := range files {
		list = append(list, fileSource(path))
	}
	return search(list, e, aad)
}

// Handout gives the words of the new key, once.
func (o *ownRoot) Handout() Handout {
	h := o.handout
	o.handout = Handout{}
	return h
}

// Settle removes the keys that no keyring needs now: all others, or the new one.
func (o *ownRoot) Settle(saved bool) error {
	if o.made == "" {
		return nil
	}
	if !saved {
		return os.Remove(o.made)
	}
	var failed error
	for _, path := range o.files() {
		if path != o.made {
			failed = errors.Join(failed, os.Remove(path))
		}
	}
	return errors.Join(failed, syncFolder(o.dir))
}

// FromWords is the root that opens a keyring by its recovery words, wherever its root key was: the last way in. Open with it
// through Options.Root, then give the ring a root that lasts by Rekey.
func FromWords(text secret.Value, random io.Reader) (Root, error) {
	if text.IsZero() {
		return nil, errors.New("no recovery words are given")
	}
	read, err := words.Parse(string(text.Reveal()))
	if err != nil {
		return nil, err
	}
	kek, err := take(read)
	if err != nil {
		return nil, err
	}
	return &wordsRoot{kek, random}, nil
}

type wordsRoot struct {
	kek    material
	random io.Reader
}

// Describe says what it is.
func (w *wordsRoot) Describe() Description {
	return Description{Kind: "words", Where: "recovery words"}
}

// Wrap encrypts by the key that the words stand for.
func (w *wordsRoot) Wrap(_ context.Context, plain, aad []byte) (Envelope, error) {
	return wrapWith(w.random, w.kek, Envelope{Kind: kindKey}, plain, aad)
}

// Unwrap opens an envelope of any kind that was wrapped by a key with words.
func (w *wordsRoot) Unwrap(_ context.Context, e Envelope, aad []byte) ([]byte, error) {
	if !bytes.Equal(w.kek.check(), e.Check) {
		return nil, fmt.Errorf("%w: these are the recovery words of another root key; those of a keyring are replaced by each: gatehouse key rekey", ErrWrong)
	}
	return unwrapWith(w.kek, e, aad)
}
