package backup

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"filippo.io/age"
)

// Content is what goes into one backup.
type Content struct {
	Maker       Maker
	Revision    int64             // how far the store had come before Parts were opened
	Facts       map[string]string // for the checks of a proof
	Absent      []Absent
	Checkpoints []string // the newest signed ones of the event log, a line each
	Parts       []Part
	End         func() // called when all is read; may be nil
}

// Tools is what Backups needs of the world.
type Tools struct {
	// Collect opens what a backup holds, as it is at one time.
	Collect func(ctx context.Context) (Content, error)
	Keys    Keys
	Book    Book // nil remembers nothing
	Resolve Resolve
	Dial    Dial // nil is a plain dialer
	// Checks are done to every restored copy.
	Checks []Check
	// EventKeys are those that may have signed the checkpoints of the event log.
	EventKeys func() []ed25519.PublicKey
	Now       func() time.Time
	Random    io.Reader
	// Notify gets what an operator should know; it becomes an event.
	Notify func(Notice)
}

// Notice is something that happened to backups.
type Notice struct {
	Kind   string `json:"kind"` // made, proved, unproved, waiting, delivered, dropped, failed, overdue, pruned
	Backup string `json:"backup,omitempty"`
	Alarm  bool   `json:"alarm"` // somebody should look
	Text   string `json:"text"`
	Proof  *Proof `json:"proof,omitempty"`
}

// ErrWaiting is returned for a backup that is made and waits in the spool, since its place cannot be reached.
var ErrWaiting = errors.New("backup: it waits in the spool until its place can be reached")

// Backups makes, lists, proves, restores and removes the backups of one installation.
type Backups struct {
	cfg   Config
	tools Tools
	place Destination
	spool *spool
	sleep func(context.Context, time.Duration) error
	clock upkeep
}

// New checks the section and opens its place, without reaching for it yet. A section that names no place is a mistake
// here: see Config.On.
func New(cfg Config, tools Tools) (*Backups, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if !cfg.On() || cfg.Spool.Directory == "" {
		return nil, errors.New("backups have no place to go to; write backup: {to: /mnt/backup}")
	}
	cfg = cfg.withDefaults()
	if tools.Book == nil {
		tools.Book = noBook{}
	}
	if tools.Notify == nil {
		tools.Notify = func(Notice) {}
	}
	var place Destination = Directory{cfg.To.directory}
	if cfg.To.bucket != "" {
		objects, err := newObjects(cfg.To, cfg.S3, tools.Resolve, tools.Dial, tools.Now)
		if err != nil {
			return nil, err
		}
		place = objects
	}
	return newBackups(cfg, tools, place), nil
}

func newBackups(cfg Config, tools Tools, place Destination) *Backups {
	b := &Backups{cfg: cfg, tools: tools, place: place, sleep: sleep}
	b.spool = &spool{Directory: Directory{cfg.Spool.Directory}, most: int64(cfg.Spool.Size), dropped: func(name string) {
		tools.Notify(Notice{Kind: "dropped", Backup: name, Alarm: true, Text: "a backup that waited for its place was dropped to make room for a newer one"})
	}}
	b.clock.since = tools.Now()
	return b
}

// pace is that of what is brought elsewhere; work is that of what keeps a processor busy.
func (b *Backups) pace() *pace {
	return &pace{rate: int64(b.cfg.MaxRate), now: time.Now, sleep: b.sleep}
}

func (b *Backups) work() *pace {
	p := b.pace()
	p.share = processorShare(runtime.NumCPU())
	return p
}

func quiet(told Progress) Progress {
	if told == nil {
		return func(int64, int64, string) {}
	}
	return told
}

// Made is a backup that was made.
type Made struct {
	Entry
	ID       string        `json:"id"`
	Place    string        `json:"place"`
	Contents int64         `json:"contents"` // bytes of all parts
	Parts    int           `json:"parts"`
	Absent   []Absent      `json:"absent,omitempty"`
	Waiting  bool          `json:"waiting"` // its place could not be reached
	Took     time.Duration `json:"took"`
}

// Create makes a backup, brings it to its place and proves it. An error with a Made whose Name is set says that the backup
// exists, but waits (ErrWaiting) or could not be proved (*Flaw).
func (b *Backups) Create(ctx context.Context, told Progress) (Made, error) {
	if err := b.spool.begin(); err != nil {
		return Made{}, err
	}
	defer b.spool.end()
	return b.create(ctx, quiet(told))
}

func (b *Backups) create(ctx context.Context, told Progress) (Made, error) {
	began := b.tools.Now()
	made, err := b.write(ctx, told)
	if err != nil {
		return Made{}, fmt.Errorf("make backup: %w", err)
	}
	made.Place = b.place.String()
	b.tools.Notify(Notice{Kind: "made", Backup: made.Name, Text: fmt.Sprintf("%d parts, %d bytes, %d encrypted", made.Parts, made.Contents, made.Size)})
	if err := b.deliver(ctx, &made.Entry, told); err != nil {
		made.Waiting, made.Took = true, b.tools.Now().Sub(began)
		return made, fmt.Errorf("%w: %w", ErrWaiting, err)
	}
	if b.cfg.proves() {
		proof, err := b.prove(ctx, made.Name, made.Entry, nil, told)
		made.Proof = &proof
		if err != nil {
			return made, err
		}
	}
	made.Took = b.tools.Now().Sub(began)
	return made, nil
}

// write makes the archive in the spool.
func (b *Backups) write(ctx context.Context, told Progress) (made Made, err error) {
	by, err := signer(b.tools.Keys)
	if err != nil {
		return made, err
	}
	to, err := b.recipients()
	if err != nil {
		return made, err
	}
	now := b.tools.Now()
	id, err := newID(now, b.tools.Random)
	if err != nil {
		return made, err
	}
	content, err := b.tools.Collect(ctx)
	if content.End != nil {
		defer content.End()
	}
	if err != nil {
		return made, err
	}
	m := Manifest{
		ID: id, Time: now.UTC().Truncate(time.Second), Maker: content.Maker, Revision: content.Revision,
		Facts: content.Facts, Absent: content.Absent, Checkpoints: content.Checkpoints,
	}
	name, sum, size, err := b.spool.add(id, func(out io.Writer) error {
		var err error
		m, err = write(ctx, out, m, content.Parts, to, by, b.work(), told)
		return err
	})
	if err != nil {
		return made, err
	}
	made = Made{ID: id, Contents: m.Size(), Parts: len(m.Parts), Absent: m.Absent,
		Entry: Entry{Name: name, Time: m.Time, Size: size, SHA256: sum, Node: m.Maker.Node, Revision: m.Revision}}
	b.remember(ctx, made.Entry)
	return made, nil
}

// remember saves an entry. A store that cannot be written does not keep a backup from being made.
func (b *Backups) remember(ctx context.Context, e Entry) {
	if err := b.tools.Book.Save(ctx, e); err != nil {
		b.tools.Notify(Notice{Kind: "failed", Backup: e.Name, Alarm: true, Text: err.Error()})
	}
}

// recipients are those of the section and the gateway itself.
func (b *Backups) recipients() ([]age.Recipient, error) {
	var to []age.Recipient
	for _, r := range b.cfg.Recipients {
		to = append(to, r.key)
	}
	if b.cfg.proves() {
		mine, err := identities(b.tools.Keys, b.cfg.Recipients[0].hybrid())
		if err != nil {
			return nil, err
		}
		to = append(to, mine[0].recipient)
	}
	if len(to) < 2 {
		return nil, errors.New("a backup has two recipients or more")
	}
	return to, nil
}

// deliver brings a waiting archive to its place.
func (b *Backups) deliver(ctx context.Context, e *Entry, told Progress) error {
	name := filepath.Join(b.spool.Path, e.Name)
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := b.place.Put(ctx, e.Name, pacedSeeker{pacedReader{ctx, file, b.pace()}, file}, e.Size); err != nil {
		return err
	}
	told(e.Size, e.Size, "delivered")
	e.Delivered = b.tools.Now().UTC()
	b.remember(ctx, *e)
	return b.spool.Remove(ctx, e.Name)
}

// pacedSeeker is a pacedReader that can begin again.
type pacedSeeker struct {
	pacedReader
	file *os.File
}

func (p pacedSeeker) onDisk() *os.File { return p.file }

func (p pacedSeeker) Seek(offset int64, whence int) (int64, error) {
	return p.file.Seek(offset, whence)
}

// Listed is a backup that is there.
type Listed struct {
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
	Size    int64     `json:"size"`
	Where   string    `json:"where"`
	Waiting bool      `json:"waiting"`         // in the spool
	Proof   *Proof    `json:"proof,omitempty"` // nil: not proven, as far as is known
}

// List gives the backups in their place, and those that wait for it, the oldest first. When the place cannot be reached the
// error says so, and those that wait are given.
func (b *Backups) List(ctx context.Context) ([]Listed, error) {
	known := map[string]Entry{}
	entries, bookErr := b.tools.Book.All(ctx)
	for _, e := range entries {
		known[e.Name] = e
	}
	there, err := b.place.List(ctx)
	waiting, spoolErr := b.spool.waiting()
	var all []Listed
	for _, o := range there {
		if _, when, _, ok := readName(o.Name); ok {
			all = append(all, Listed{Name: o.Name, Time: when, Size: o.Size, Where: b.place.String(), Proof: known[o.Name].Proof})
		}
	}
	for _, o := range waiting {
		_, when, _, _ := readName(o.Name)
		all = append(all, Listed{Name: o.Name, Time: when, Size: o.Size, Where: b.spool.Path, Waiting: true})
	}
	sortListed(all)
	return all, errors.Join(err, spoolErr, bookErr)
}
