package backup

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/audit"
)

// Opened is a backup that lies restored in a directory.
type Opened struct {
	Directory string
	Manifest  Manifest
}

// Path is where a part lies.
func (o Opened) Path(part string) string { return filepath.Join(o.Directory, filepath.FromSlash(part)) }

// Has tells that there is such a part.
func (o Opened) Has(part string) bool {
	return slices.ContainsFunc(o.Manifest.Parts, func(s Sum) bool { return s.Name == part })
}

// Check looks whether a restored copy holds what it must: that the store is sound, that a secret decrypts, that the
// document loads. What it says in a few words goes into the proof. It may change the copy.
type Check struct {
	Name string
	Run  func(ctx context.Context, o Opened) (string, error)
}

// Checked is what a check has found.
type Checked struct {
	Name string        `json:"name"`
	OK   bool          `json:"ok"`
	Said string        `json:"said"`
	Took time.Duration `json:"took"`
}

// Proof says what restoring a backup has shown.
type Proof struct {
	Backup   string        `json:"backup"`
	OK       bool          `json:"ok"`
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took"`
	Made     time.Time     `json:"made,omitzero"` // when the backup was made
	Revision int64         `json:"revision,omitempty"`
	Parts    int           `json:"parts"`
	Bytes    int64         `json:"bytes"`
	Checks   []Checked     `json:"checks,omitempty"`
	Flaw     *Flaw         `json:"flaw,omitempty"`
}

// Verify restores a backup into a scratch directory, checks it and removes it again. The name "" is the newest one, which
// must not be older than two intervals (Older). Identities open it beside the gateway's own. The error is the Flaw, or says
// that nothing could be found out.
func (b *Backups) Verify(ctx context.Context, name string, told Progress, extra ...age.Identity) (Proof, error) {
	all, err := b.List(ctx)
	if err != nil {
		return Proof{}, err
	}
	all = slices.DeleteFunc(all, func(l Listed) bool { return l.Waiting })
	newest := name == ""
	if newest && len(all) > 0 {
		name = all[len(all)-1].Name
	}
	at := slices.IndexFunc(all, func(l Listed) bool { return l.Name == name })
	if at < 0 {
		return Proof{}, fmt.Errorf("%s: %w in %s", name, ErrNoBackup, b.place)
	}
	entry := Entry{Name: name, Size: all[at].Size}
	entries, err := b.tools.Book.All(ctx)
	if err != nil {
		return Proof{}, err
	}
	for _, e := range entries {
		if e.Name == name {
			entry = e
		}
	}
	proof, err := b.prove(ctx, name, entry, extra, quiet(told))
	if age := b.tools.Now().Sub(all[at].Time); err == nil && newest && age > 2*b.cfg.Every {
		proof.OK, proof.Flaw = false, &Flaw{Kind: Older, Backup: name, What: fmt.Sprintf("it is the newest and %s old; there should be one every %s", age.Round(time.Minute), b.cfg.Every)}
		return proof, proof.Flaw
	}
	return proof, err
}

// prove restores and checks, and remembers what was found.
func (b *Backups) prove(ctx context.Context, name string, e Entry, extra []age.Identity, told Progress) (Proof, error) {
	proof := Proof{Backup: name, At: b.tools.Now().UTC()}
	err := b.restored(ctx, name, e, extra, told, &proof)
	proof.Took = b.tools.Now().Sub(proof.At)
	var f *Flaw
	switch {
	case errors.As(err, &f):
		f.Backup = name
		proof.Flaw = f
	case err != nil:
		return proof, fmt.Errorf("prove backup %s: %w", name, err)
	default:
		proof.OK = true
	}
	if e.SHA256 != "" { // what this installation has made
		e.Proof = &proof
		b.remember(ctx, e)
	}
	notice := Notice{Kind: "proved", Backup: name, Text: fmt.Sprintf("restored and checked: %d parts, %d bytes", proof.Parts, proof.Bytes), Proof: &proof}
	if f != nil {
		notice = Notice{Kind: "unproved", Backup: name, Alarm: true, Text: f.Error(), Proof: &proof}
		err = f
	}
	b.tools.Notify(notice)
	return proof, err
}

// restored restores into a scratch directory and checks what is there.
func (b *Backups) restored(ctx context.Context, name string, e Entry, extra []age.Identity, told Progress, proof *Proof) error {
	ids, err := b.mine(extra)
	if err != nil {
		return err
	}
	keys, err := PublicKeys(b.tools.Keys)
	if err != nil {
		return err
	}
	scratch, err := b.scratch()
	if err != nil {
		return err
	}
	defer scratch.remove()
	file, err := b.place.Get(ctx, name)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	_, _, size, _ := readName(name)
	m, err := unpack(scratch.path, false, &reader{ctx: ctx, ids: ids, size: size, trust: trustOnly(keys), pace: b.work(), told: told}, io.TeeReader(file, sum))
	if err != nil {
		return err
	}
	if err := asNamed(m, name); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); e.SHA256 != "" && got != e.SHA256 {
		return flaw(Damaged, "", "it is not the file that was made: its SHA-256 is another")
	}
	proof.Made, proof.Revision, proof.Parts, proof.Bytes = m.Time, m.Revision, len(m.Parts), m.Size()
	checks := append([]Check{{Name: "events", Run: eventsCheck(b.tools.EventKeys, b.work().twice())}}, b.tools.Checks...)
	proof.Checks, err = runChecks(ctx, checks, Opened{scratch.path, m}, b.tools.Now, told)
	return err
}

func (b *Backups) mine(extra []age.Identity) ([]age.Identity, error) {
	ids := slices.Clone(extra)
	own, err := identities(b.tools.Keys, b.cfg.Recipients[0].hybrid())
	if err != nil {
		return nil, err
	}
	for _, i := range own {
		ids = append(ids, i.Identity)
	}
	return ids, nil
}

// scratch makes a directory that only this user sees, and removes those that a crash has left.
func (b *Backups) scratch() (*scratch, error) {
	if err := os.MkdirAll(b.spool.Path, 0o700); err != nil {
		return nil, err
	}
	return newScratch(filepath.Join(b.spool.Path, ".proof-"))
}

func trustOnly(keys []ed25519.PublicKey) func(ed25519.PublicKey, Manifest) error {
	return func(key ed25519.PublicKey, m Manifest) error {
		if slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			return nil
		}
		return fmt.Errorf("it says that installation %q made it, and no key that is known has signed that", m.Maker.Installation)
	}
}

func asNamed(m Manifest, name string) error {
	if id, _, _, ok := readName(name); ok && id != m.ID {
		return flaw(Renamed, "", "it is backup %s under the name of %s", m.ID, id)
	}
	return nil
}

// runChecks gives what each check says; the first that fails is the error.
func runChecks(ctx context.Context, checks []Check, o Opened, now func() time.Time, told Progress) ([]Checked, error) {
	var all []Checked
	for i, c := range checks {
		told(int64(i), int64(len(checks)), "check "+c.Name)
		began := now()
		said, err := c.Run(ctx, o)
		done := Checked{Name: c.Name, OK: err == nil, Said: said, Took: now().Sub(began)}
		if err != nil {
			done.Said = err.Error()
			all = append(all, done)
			if ctx.Err() != nil {
				return all, ctx.Err()
			}
			var f *Flaw
			if errors.As(err, &f) {
				return all, f
			}
			return all, flaw(Unsound, c.Name, "%v", err)
		}
		all = append(all, done)
	}
	return all, nil
}

// eventsCheck holds the copied events, or what there is of them, against their signed checkpoints.
func eventsCheck(keys func() []ed25519.PublicKey, p *pace) func(context.Context, Opened) (string, error) {
	return func(ctx context.Context, o Opened) (string, error) {
		var known []ed25519.PublicKey
		if keys != nil {
			known = keys()
		}
		var witness [][]byte
		for _, line := range o.Manifest.Checkpoints {
			if _, err := audit.ReadCheckpoint([]byte(line), known); err != nil {
				return "", fmt.Errorf("a checkpoint of the event log: %w", err)
			}
			witness = append(witness, []byte(line))
		}
		directory := o.Path("events")
		if _, err := os.Stat(directory); errors.Is(err, os.ErrNotExist) {
			return fmt.Sprintf("%d signed checkpoints, no events", len(witness)), nil
		}
		r, err := audit.VerifyDirectory(ctx, directory, audit.Options{Keys: known, Witness: witness, Node: o.Manifest.Maker.Node, Keep: -1, Pace: p.take})
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d events follow from each other and from %d signed checkpoints", r.Entries, len(witness)), nil
	}
}
