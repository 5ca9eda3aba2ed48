package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/telemetry"
)

// copies are the backups of this installation: what goes into one, and how one is held against what it must be.
type copies struct {
	h       *held
	n       *node           // nil in a command that opened the state itself
	rules   *waf.Rules      // what a restored document is loaded with; nil: loaded when they are needed
	backups *backup.Backups // nil: the document makes none
	proven  atomic.Int64    // when the newest proven backup was made, in seconds since 1970; 0: none is known
	alarms  atomic.Int64
}

// newCopies opens the place of backups, without reaching for it yet.
func newCopies(h *held, n *node) (*copies, error) {
	c := &copies{h: h, n: n}
	cfg := h.document.backup
	if !cfg.On() {
		return c, nil
	}
	if n != nil {
		c.rules = n.kept.rules
	}
	book := backup.Records{Store: h.durable}
	var err error
	c.backups, err = backup.New(cfg.Default(h.places.state), backup.Tools{
		Collect: c.collect, Keys: h.ring, Book: book, Resolve: c.resolve, Checks: c.checks(), EventKeys: c.eventKeys,
		Now: h.now, Random: random(), Notify: c.notify,
	})
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	ctx, end := context.WithTimeout(context.Background(), keepTime)
	defer end()
	known, err := book.All(ctx)
	for _, e := range known {
		if e.Proof != nil && e.Proof.OK {
			c.proven.Store(max(c.proven.Load(), e.Time.Unix()))
		}
	}
	return c, err
}

// resolve gives what the section refers to.
func (c *copies) resolve(ref secret.Ref) (secret.Value, error) {
	ctx, end := context.WithTimeout(context.Background(), resolveTime)
	defer end()
	live, err := c.h.secrets.Live(ctx, ref, "backup")
	if err != nil {
		return secret.Value{}, err
	}
	return live.Value()
}

func (c *copies) eventKeys() []ed25519.PublicKey {
	ctx, end := context.WithTimeout(context.Background(), keepTime)
	defer end()
	keys, err := c.h.eventKeys(ctx)
	if err != nil {
		c.h.log.Warn("which keys have signed the event log can't be read; backups are held against those of the ring", "error", err)
		keys, _ = c.h.livingEventKeys()
	}
	return keys
}

// notify tells what became of backups: in the log, in an event, in metrics.
func (c *copies) notify(b backup.Notice) {
	if b.Alarm {
		c.alarms.Add(1)
		c.h.log.Error("backup "+b.Kind, "backup", b.Backup, "what", b.Text)
	} else {
		c.h.log.Info("backup "+b.Kind, "backup", b.Backup, "what", b.Text)
	}
	if p := b.Proof; p != nil && p.OK {
		c.proven.Store(max(c.proven.Load(), p.Made.Unix()))
	}
	if c.n != nil {
		text := b.Text
		if b.Backup != "" {
			text = b.Backup + ": " + text
		}
		c.n.system("backup."+gate.Reason(b.Kind), text)
	}
}

// How often it is looked whether a backup is due, how long one may take, and how often a node that makes none looks whether
// one waits here.
const (
	backupEvery = time.Minute
	backupLimit = 6 * time.Hour
	flushEvery  = 10 * time.Minute
)

// jobs is what one node of all does.
func (c *copies) jobs() []fleet.Job {
	if c.backups == nil {
		return nil
	}
	return []fleet.Job{{Name: "backup", Every: backupEvery, Limit: backupLimit, Due: c.backups.Due, Run: func(ctx context.Context) error {
		err := c.backups.Tick(ctx)
		if errors.Is(err, backup.ErrBusy) { // somebody has asked for one
			return nil
		}
		if err != nil && ctx.Err() == nil {
			c.notify(backup.Notice{Kind: "failed", Alarm: true, Text: err.Error()})
		}
		return err
	}}}
}

// run brings to their place what this node has made and could not, until ctx ends.
func (c *copies) run(ctx context.Context) {
	if c.backups == nil {
		return
	}
	every(ctx, flushEvery, func() {
		if err := c.backups.Flush(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, backup.ErrBusy) {
			c.h.log.Warn("a backup waits for its place", "error", err)
		}
	})
}

// documentFact names the part of a backup that is the document; the others below document/ are what it was made of.
const documentFact = "document"

// collect opens what goes into a backup. Nobody else works in the spool meanwhile.
func (c *copies) collect(ctx context.Context) (b backup.Content, err error) {
	var ends []func()
	b.End = func() {
		for _, end := range ends {
			end()
		}
	}
	b.Facts = map[string]string{}
	b.Absent = []backup.Absent{{Name: "root key", Why: "a backup that held it would open itself"}}
	log := c.log()
	b.Maker = backup.Maker{Installation: c.h.ring.Status().Installation, Version: version()}
	if b.Maker.Node, err = c.h.signedAs(ctx, log); err != nil {
		return b, err
	}
	if err := c.collectStore(ctx, &b, &ends); err != nil {
		return b, err
	}
	if err := c.collectPapers(ctx, &b); err != nil {
		return b, err
	}
	if c.n != nil {
		c.n.written.signing.now()
	}
	for _, line := range lastLines(log) {
		b.Checkpoints = append(b.Checkpoints, string(line))
	}
	if _, err := os.Stat(log); errors.Is(err, fs.ErrNotExist) {
		b.Absent = append(b.Absent, backup.Absent{Name: "events", Why: "none were written yet"})
		return b, nil
	}
	events, end, err := backup.Events(log)
	if err != nil {
		return b, err
	}
	ends = append(ends, end)
	b.Parts = append(b.Parts, events...)
	return b, nil
}

// log is the directory of the event log.
func (c *copies) log() string {
	if c.n != nil {
		c.n.current.Lock()
		defer c.n.current.Unlock()
		return c.n.written.config.Directory
	}
	return c.h.document.audit.Default(c.h.places.state).Directory
}

// sampled are the records of which some are held against a restored copy: what must not come out otherwise than it went in.
func sampled() []string { return []string{"secret/", "revocation/", "authority/"} }

// collectStore copies the store and the keyring that opens it. The samples are of what is sealed: a hash of a weak secret
// would tell it to whoever can read the backup, and that is not who may read secrets.
func (c *copies) collectStore(ctx context.Context, b *backup.Content, ends *[]func()) error {
	h := c.h
	h.turn.RLock() // neither store nor keys change meanwhile
	defer h.turn.RUnlock()
	if h.file == nil {
		b.Absent = append(b.Absent, backup.Absent{Name: storeFile, Why: "the store is PostgreSQL, which is backed up by its own tools: " + pgDump})
		keyring, err := h.keyring(ctx)
		b.Parts = append(b.Parts, backup.Bytes(keyringFile, keyring))
		return err
	}
	stat, err := h.file.Stat(ctx)
	if err != nil {
		return err
	}
	b.Maker.Schema = int(stat.Schema)
	if b.Revision, err = backup.Mark(ctx, h.durable); err != nil {
		return err
	}
	if b.Facts, err = backup.Sample(ctx, h.file, sampled()...); err != nil {
		return err
	}
	folder, err := c.emptyFolder()
	if err != nil {
		return err
	}
	*ends = append(*ends, func() { _ = os.RemoveAll(folder) })
	for try := range 3 {
		generation := h.ring.Status().Generation
		path := filepath.Join(folder, fmt.Sprint(try))
		current, _ := fileKeys(h.ring)()
		if err = h.file.Snapshot(ctx, path, current, nil); err != nil {
			return fmt.Errorf("copy the store: %w", err)
		}
		keyring, err := h.keyring(ctx)
		if err != nil {
			return err
		}
		if h.ring.Status().Generation == generation { // else the copied keyring may not open the copied store
			b.Parts = append(b.Parts, backup.Files(map[string]string{storeFile: path})...)
			b.Parts = append(b.Parts, backup.Bytes(keyringFile, keyring))
			return nil
		}
	}
	return errors.New("the keys were changed again and again while the store was copied; try again")
}

// pgDump is how PostgreSQL is backed up.
const pgDump = "pg_dump --format=custom --schema=gatehouse --no-owner --no-privileges"

// keyring gives the wrapped keyring as it lies there now.
func (h *held) keyring(ctx context.Context) ([]byte, error) {
	place := h.keyOptions.Place
	if h.server != nil { // also after a move
		place = recordPlace{h.server}
	}
	data, _, err := place.Load(ctx)
	if err == nil && data == nil {
		err = fmt.Errorf("the keyring is gone from %s; put it back from a backup before this process ends", place.Where())
	}
	return data, err
}

// emptyFolder makes a folder for the copied store in the spool, and removes those that a crash has left.
func (c *copies) emptyFolder() (string, error) {
	spool := c.h.document.backup.Default(c.h.places.state).Spool.Directory
	left, _ := filepath.Glob(filepath.Join(spool, ".copy-*"))
	for _, folder := range left {
		_ = os.RemoveAll(folder)
	}
	return os.MkdirTemp(spool, ".copy-")
}

// collectPapers adds the document in force and what it was made of.
func (c *copies) collectPapers(ctx context.Context, b *backup.Content) error {
	p, err := c.h.paper(ctx, c.n)
	if err != nil {
		return fmt.Errorf("the document: %w", err)
	}
	files, document, err := p.layout()
	if err != nil {
		return fmt.Errorf("the document: %w", err)
	}
	for name, data := range files {
		part := partName(name)
		if part != name {
			b.Facts[nameFact+part] = name
		}
		b.Parts = append(b.Parts, backup.Bytes(part, data))
	}
	b.Facts[documentFact] = "document/" + document
	return nil
}

// needing tells how many backups only an older key of the gateway can prove: those that were made before the newest.
func (c *copies) needing(ctx context.Context) (n int64) {
	if c.backups == nil {
		return 0
	}
	var since time.Time
	for _, p := range c.h.ring.Status().Purposes {
		if p.Purpose == forBackup && len(p.Versions) > 0 {
			since = p.Versions[0].Created
		}
	}
	all, err := c.backups.List(ctx)
	if err != nil {
		n = 1 // it isn't known, so they are needed
	}
	for _, l := range all {
		if l.Time.Before(since.Add(time.Minute)) { // other nodes hear of a new key a little later
			n++
		}
	}
	return n
}

// rotate changes the key of one purpose. The older keys of backups stay for as long as there are backups that only they can
// prove; everything else is encrypted anew.
func (h *held) rotate(ctx context.Context, purpose string, tell control.Progress) (key.Rotation, error) {
	if purpose == forBackup {
		r, err := h.ring.Begin(ctx, purpose)
		if err != nil || h.copies.needing(ctx) > 0 {
			return r, err
		}
	}
	return h.ring.Rotate(ctx, purpose, h.reseal(purpose, tell), h.left(purpose))
}

// ready tells why nothing can be done with backups.
func (c *copies) ready() error {
	if c.backups == nil {
		return errors.New("the document names no place for backups; write backup: {to: /mnt/backup, recipients: [age1...]} and start the gateway anew")
	}
	return nil
}

// madeBackup is a backup, and what there is to say against it.
type madeBackup struct {
	backup.Made
	Problem string `json:"problem,omitempty"`
}

// create makes a backup now. While another is being made, it waits.
func (c *copies) create(ctx context.Context, _ nothing, tell control.Progress) (madeBackup, error) {
	if err := c.ready(); err != nil {
		return madeBackup{}, err
	}
	for {
		m, err := c.backups.Create(ctx, backup.Progress(tell))
		if errors.Is(err, backup.ErrBusy) {
			tell(0, 0, "another backup is being made")
			select {
			case <-ctx.Done():
				return madeBackup{}, ctx.Err()
			case <-time.After(time.Second):
				continue
			}
		}
		if err != nil && m.Name != "" {
			return madeBackup{m, err.Error()}, nil
		}
		return madeBackup{Made: m}, err
	}
}

// listed are all backups, and why some may be missing from the list.
type listed struct {
	Backups []backup.Listed `json:"backups"`
	Problem string          `json:"problem,omitempty"`
}

func (c *copies) list(ctx context.Context, _ nothing, _ control.Progress) (l listed, err error) {
	if err := c.ready(); err != nil {
		return l, err
	}
	if l.Backups, err = c.backups.List(ctx); err != nil {
		l.Problem = err.Error()
	}
	return l, nil
}

// oneBackup names a backup; "" is the newest.
type oneBackup struct {
	Name string `json:"name"`
}

// verify restores a backup into a scratch place and checks it. What is wrong stands in the proof.
func (c *copies) verify(ctx context.Context, q oneBackup, tell control.Progress) (backup.Proof, error) {
	if err := c.ready(); err != nil {
		return backup.Proof{}, err
	}
	p, err := c.backups.Verify(ctx, q.Name, backup.Progress(tell))
	if p.Flaw != nil { // which says what err says
		err = nil
	}
	return p, err
}

// backupFamilies tells how old the newest proven backup is.
func (n *node) backupFamilies() {
	each := func(name, help string, read func(*copies) (float64, bool)) {
		n.metrics.Add(telemetry.Family{Name: name, Help: help, Read: func(put telemetry.Put) {
			if h := n.held; h != nil && h.copies != nil && h.copies.backups != nil {
				if v, known := read(h.copies); known {
					put(v)
				}
			}
		}})
	}
	each("backup_proven_age_seconds", "How long ago the newest backup was made that was proven by restoring it.", func(c *copies) (float64, bool) {
		made := c.proven.Load()
		return float64(n.now().Unix() - made), made != 0
	})
	each("backup_alarms_total", "What went wrong with backups.", func(c *copies) (float64, bool) { return float64(c.alarms.Load()), true })
}
