package backup

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// RestoreOptions says who opens a backup, who is believed, and what is done before it counts as restored.
type RestoreOptions struct {
	// Name is the file's name, if it has kept it: it tells how many bytes there must be. May be "".
	Name string
	// Identities open it: those that the operator gives, and the gateway's own if it has its ring.
	Identities []age.Identity
	// Keys are the installation's keys that sign backups, if they are known beforehand.
	Keys []ed25519.PublicKey
	// KeysOf gives them from what was restored, if Keys is empty: the wrapped keyring in it, opened by the root key, which no
	// stranger can have made. One of the two is needed.
	KeysOf func(ctx context.Context, o Opened) ([]ed25519.PublicKey, error)
	// Checks are done to what was restored, as in a proof, but may not change it.
	Checks []Check
	// After makes void what was alive when the backup was made and may be dead since: it writes into the restored store that
	// all before now is revoked. What it says stands in the report. It is needed.
	After func(ctx context.Context, o Opened) ([]string, error)
	Now   func() time.Time
	// MaxRate bounds bytes a second; 0 is as fast as it goes.
	MaxRate  unit.Size
	Progress Progress
}

// Restored is what Restore has done.
type Restored struct {
	Into     string        `json:"into"`
	Backup   string        `json:"backup"` // its id
	Made     time.Time     `json:"made"`
	Maker    Maker         `json:"maker"`
	Revision int64         `json:"revision"`
	Parts    int           `json:"parts"`
	Bytes    int64         `json:"bytes"`
	Absent   []Absent      `json:"absent,omitempty"`
	Checks   []Checked     `json:"checks,omitempty"`
	Void     []string      `json:"void"` // what is void since the backup was made
	Took     time.Duration `json:"took"`
}

// Restore makes of an archive the state directory into, which must not exist or be empty. Until everything is checked it
// lies in a directory beside it; then it gets its name, in one step. What a crash leaves is removed by the next Restore.
func Restore(ctx context.Context, archive io.Reader, into string, o RestoreOptions) (Restored, error) {
	r, err := restore(ctx, archive, into, o)
	var f *Flaw
	if errors.As(err, &f) {
		f.Backup = o.Name
		return r, f
	}
	if err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	return r, nil
}

func (o RestoreOptions) check() error {
	switch {
	case o.After == nil:
		return errors.New("nobody would make void what was revoked since the backup; After is needed")
	case len(o.Keys) == 0 && o.KeysOf == nil:
		return errors.New("nobody could tell whether a stranger has made the backup; Keys or KeysOf is needed")
	case len(o.Identities) == 0:
		return errors.New("nothing could open the backup; give the private key of one of its recipients")
	}
	return nil
}

func restore(ctx context.Context, archive io.Reader, into string, o RestoreOptions) (Restored, error) {
	done := Restored{}
	if err := o.check(); err != nil {
		return done, err
	}
	into, err := filepath.Abs(into)
	if err == nil {
		err = vacant(into)
	}
	if err != nil {
		return done, err
	}
	began := o.Now()
	beside, err := newScratch(filepath.Join(filepath.Dir(into), "."+filepath.Base(into)+".restoring-"))
	if err != nil {
		return done, err
	}
	defer beside.remove()
	m, key, err := o.unpack(ctx, archive, beside.path)
	if err != nil {
		return done, err
	}
	at := Opened{beside.path, m}
	if len(o.Keys) == 0 {
		keys, err := o.KeysOf(ctx, at)
		if err != nil {
			return done, err
		}
		if err := trustOnly(keys)(key, m); err != nil {
			return done, flaw(Foreign, endName, "%v", err)
		}
	}
	done = Restored{Into: into, Backup: m.ID, Made: m.Time, Maker: m.Maker, Revision: m.Revision, Parts: len(m.Parts), Bytes: m.Size(), Absent: m.Absent}
	if done.Checks, err = runChecks(ctx, o.Checks, at, o.Now, quiet(o.Progress)); err != nil {
		return done, err
	}
	if done.Void, err = o.After(ctx, at); err != nil {
		return done, err
	}
	if err := settle(beside.path, into); err != nil {
		return done, err
	}
	done.Took = o.Now().Sub(began)
	return done, nil
}

// unpack reads the whole archive and gives the key that has signed it.
func (o RestoreOptions) unpack(ctx context.Context, archive io.Reader, to string) (Manifest, ed25519.PublicKey, error) {
	size := int64(-1)
	if _, _, n, ok := readName(filepath.Base(o.Name)); ok {
		size = n
	}
	rate := int64(o.MaxRate)
	if rate == 0 {
		rate = 1 << 50
	}
	var by ed25519.PublicKey
	r := &reader{ctx: ctx, ids: o.Identities, size: size, pace: &pace{rate: rate, now: time.Now, sleep: sleep}, told: quiet(o.Progress)}
	r.trust = func(key ed25519.PublicKey, m Manifest) error {
		if by != nil && !by.Equal(key) {
			return errors.New("its two lists are signed by different keys")
		}
		by = slices.Clone(key)
		if len(o.Keys) == 0 {
			return nil // what it holds tells, as soon as it is there
		}
		return trustOnly(o.Keys)(key, m)
	}
	m, err := unpack(to, true, r, archive)
	if err == nil {
		err = asNamed(m, filepath.Base(o.Name))
	}
	return m, by, err
}

// vacant refuses a place where anything is: restoring over a store would mix two states, and nobody could tell them apart.
func vacant(into string) error {
	entries, err := os.ReadDir(into)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(into)); err != nil {
			return err
		}
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: it holds %s; name an empty place, or move what is there away", into, entries[0].Name())
	}
	return nil
}

// settle has the disk take all directories and gives what was restored its name. A directory that is not empty by now
// makes that fail.
func settle(from, into string) error {
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDirectory(name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := syscall.Rename(from, into); err != nil { // os.Rename refuses an empty directory
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("%s is not empty any more; name an empty place", into)
		}
		return err
	}
	return syncDirectory(filepath.Dir(into))
}

// Restore gets a backup of this installation from its place and restores it; see the function Restore.
func (b *Backups) Restore(ctx context.Context, name, into string, o RestoreOptions) (Restored, error) {
	file, err := b.place.Get(ctx, name)
	if err != nil {
		return Restored{}, err
	}
	defer file.Close()
	if o.Identities, err = b.mine(o.Identities); err != nil {
		return Restored{}, err
	}
	if len(o.Keys) == 0 && o.KeysOf == nil {
		if o.Keys, err = PublicKeys(b.tools.Keys); err != nil {
			return Restored{}, err
		}
	}
	o.Name = name
	if o.MaxRate == 0 {
		o.MaxRate = b.cfg.MaxRate
	}
	return Restore(ctx, file, into, o)
}

// Place opens the section's place without anything else, for a machine on which nothing is installed yet: to list and get
// backups.
func Place(cfg Config, resolve Resolve, dial Dial, now func() time.Time) (Destination, error) {
	if !cfg.On() {
		return nil, errors.New("the section backup names no place; write backup: {to: /mnt/backup}")
	}
	if cfg.To.bucket == "" {
		return Directory{cfg.To.directory}, nil
	}
	return newObjects(cfg.To, cfg.withDefaults().S3, resolve, dial, now)
}

// ReadIdentities reads private keys of age from a file, as age-keygen writes it.
func ReadIdentities(path string) ([]age.Identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ids, err := age.ParseIdentities(file)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key of age; give the file that age-keygen has written", path) // the error would repeat it
	}
	return ids, nil
}
