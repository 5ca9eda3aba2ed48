package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

// belonging is what a state directory remembers of the store that was opened from it: which installation it is of, and where
// it is. Once it is there no store and no keyring is made any more. Otherwise a file that was lost, a document from before a
// move or a slip in the name of a database would begin with an empty store, in which every token that was called back is
// good again.
//
// It is written when a store is opened for the first time, after the store itself, so that a first start that was cut off
// can be repeated; and in the middle of a move: whichever store it names is the one.
type belonging struct {
	Installation string `json:"installation"`
	Store        string `json:"store"` // as in the section store: embedded, or a URL without a password

	file string
}

// belongingFile lies in the state directory.
const belongingFile = "installation.json"

// belonging reads what is remembered; nothing in a state directory that is new.
func (p places) belonging() (b belonging, err error) {
	b.file = filepath.Join(p.state, belongingFile)
	text, err := os.ReadFile(b.file)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		err = d.Decode(&b)
		if _, more := d.Token(); err == nil && (!errors.Is(more, io.EOF) || b.Installation == "" || b.Store == "") {
			err = errors.New("something is missing in it")
		}
	}
	if err != nil {
		err = fmt.Errorf("read %s, which says which store this state belongs to: %w; put the file back from a backup, or remove it when you know that the document names the right store", b.file, err)
	}
	return b, err
}

// known tells that a store was opened from this state directory before.
func (b belonging) known() bool { return b.Installation != "" }

func (b belonging) embedded() bool { return b.Store == store.Embedded }

// anew says how to begin with an empty store all the same, and what that means.
func (b belonging) anew(also ...string) string {
	list := b.file
	for _, file := range also {
		list += " and " + file
	}
	return "to begin anew with an empty store, in which no token is called back, move " + list + " away"
}

// notEmbedded refuses to begin with an embedded store where the store is on a server.
func (b belonging) notEmbedded() error {
	if !b.known() || b.embedded() {
		return nil
	}
	return fmt.Errorf("the store of this installation is %s, and the document says embedded; write into the document: store: {url: %q, ...}; or, %s; nothing was changed",
		b.Store, b.Store, b.anew())
}

// notServer refuses a server while the store is the embedded one: it was never moved there, or the move was cut off.
func (b belonging) notServer(url, path string) error {
	if !b.known() || !b.embedded() {
		return nil
	}
	if _, err := os.Lstat(path); err != nil {
		return nil //nolint:nilerr // what is not there can't be the newer one; whose the server's store is is looked at next
	}
	return fmt.Errorf("the store of this installation is %s, and the document names %s, to which it was not moved, or not wholly; take the section store out of the document, "+
		"start, and move it: gatehouse store migrate --to %s; or, %s; nothing was changed", path, url, url, b.anew(path))
}

// noStore says that where the document points there is nothing of this installation.
func (b belonging) noStore(where string) error {
	return fmt.Errorf("there is no store in %s, and this installation (%s) has one in %s; correct the section store of the document, or restore the database from a backup; or, %s; nothing was changed",
		where, b.Installation, b.Store, b.anew())
}

// same refuses the store of another installation.
func (b belonging) same(installation, where string) error {
	if !b.known() || b.Installation == installation {
		return nil
	}
	return fmt.Errorf("the store in %s is of installation %s, and this state directory is of installation %s, whose store is %s; correct the section store of the document; "+
		"or, to join the other, move %s away; nothing was changed", where, installation, b.Installation, b.Store, b.file)
}

// gone says that both the keyring and the embedded store are missing: the directory is another, or was emptied.
func (b belonging) gone(state string) error {
	if !b.known() {
		return nil
	}
	for _, name := range []string{keyringFile, storeFile} {
		if _, err := os.Lstat(filepath.Join(state, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return fmt.Errorf("%s and %s are missing in %s, and installation %s had its keyring and store there; put both back from a backup (gatehouse backup restore); or, %s; nothing was changed",
		keyringFile, storeFile, state, b.Installation, b.anew())
}

// lost adds to an error what else can be done when the embedded store is missing.
func (b belonging) lost(err error, keyring string) error {
	if !errors.Is(err, sqlite.ErrMissing) {
		return err
	}
	return fmt.Errorf("%w; or, %s; nothing was changed", err, b.anew(keyring))
}

// keep remembers the store that was opened.
func (b *belonging) keep(installation, place string) error {
	if b.Installation == installation && b.Store == place {
		return nil
	}
	done, err := b.prepare(installation, place)
	if err != nil {
		return err
	}
	return done()
}

// prepare does everything that may go wrong for want of space, and leaves one step: from then on the store is there.
func (b *belonging) prepare(installation, place string) (done func() error, err error) {
	next := belonging{installation, place, b.file}
	text, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(b.file), filepath.Base(b.file)+".*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write down which store this state belongs to: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write down which store this state belongs to: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return func() error {
		if err := os.Rename(f.Name(), b.file); err != nil {
			return fmt.Errorf("write down which store this state belongs to: %w", err)
		}
		*b = next
		return syncFolder(filepath.Dir(b.file))
	}, nil
}

// syncFolder brings the names in a folder to the disk.
func syncFolder(name string) error {
	folder, err := os.Open(name) //nolint:gosec // the state directory
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
