package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// restoring is what gatehouse backup restore was asked for. It needs neither a gateway nor a store.
type restoring struct {
	io         stdio
	archive    string // a file, or a name in the place
	file       string // the document; of the backup, when there is none
	named      bool   // the operator has named it
	identities []string
	into       string
	words      string

	opening  opening
	given    handedOut
	document string // where it lies in what was restored
}

func backupRestoreCommand(std stdio) *cobra.Command {
	r := &restoring{io: std}
	a := &asker{io: std}
	c := &cobra.Command{
		Use: "restore NAME|FILE --identity FILE", Short: "Make of a backup the state of a gateway, where there is none",
		Long: `Make of a backup the state of a gateway, where there is none: neither a running gateway nor a store is needed. The backup
is a file, or a name in the place that the document's section backup names. The state appears when everything is checked,
in one step, and never over something that is there.

The restored keyring opens with the root key that the document names. Where that one is lost, the 24 recovery words open it,
from --words or standard input; it is put under a new root key then, and new words are shown.

Everything that was issued before now is void afterwards: the backup can't know what was revoked since it was made.`,
		Example: `  gatehouse backup restore gatehouse-20261122T120000Z-0a1b2c3d-1048576.age --identity offline.txt
  gatehouse backup restore --config gatehouse.yaml gatehouse-20261122T120000Z-0a1b2c3d-1048576.age --identity offline.txt --words words.txt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which backup? add its file, or its name as gatehouse backup list shows it")
			}
			return nil
		},
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		r.archive, r.named = args[0], c.Flags().Changed("config")
		done, err := r.run(c.Context())
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { printRestored(w, done) })
	}
	f := c.Flags()
	f.StringVarP(&r.file, "config", "c", "gatehouse.yaml", "the document: where backups lie, and the root key; default: the one in the backup")
	f.StringArrayVar(&r.identities, "identity", nil, "file with the private key of a recipient, as age-keygen wrote it; again for more")
	f.StringVar(&r.into, "into", "", "directory of the state, empty or not there; default: the state directory")
	f.StringVar(&r.words, "words", "", "file with the recovery words, for when the root key is lost; - is standard input")
	f.BoolVar(&a.json, "json", false, "print JSON")
	return c
}

// restoredState is the report of a restore.
type restoredState struct {
	backup.Restored
	Document string     `json:"document,omitempty"` // of the backup, as it lies there now
	Root     *handedOut `json:"root,omitempty"`     // a new root key, when words opened the keyring
}

func (r *restoring) run(ctx context.Context) (done restoredState, err error) {
	at, err := findPlaces()
	if err != nil {
		return done, err
	}
	if r.into == "" {
		r.into = at.state
	}
	archive, err := r.open(ctx)
	if err != nil {
		return done, err
	}
	defer archive.Close()
	o := backup.RestoreOptions{Name: filepath.Base(r.archive), Now: time.Now, KeysOf: r.keysOf, After: r.after}
	if o.Identities, err = r.ids(); err != nil {
		return done, err
	}
	o.Checks = []backup.Check{{Name: "state", Run: r.checkState}, {Name: "events", Run: r.checkEvents}}
	show := newProgress(r.io.err)
	o.Progress = show.tell
	r.opening = opening{places: at, log: logger(r.io), now: time.Now, existing: true}
	done.Restored, err = backup.Restore(ctx, archive, r.into, o)
	show.end()
	if err != nil {
		return done, err
	}
	if r.document != "" {
		done.Document = filepath.Join(done.Into, filepath.FromSlash(r.document))
	}
	if r.given.Root.Kind != "" {
		done.Root = &r.given
	}
	return done, nil
}

// ids are the private keys that open the backup.
func (r *restoring) ids() (all []age.Identity, err error) {
	if len(r.identities) == 0 {
		return nil, errors.New("who opens it? add --identity FILE with the private key of a recipient, as age-keygen wrote it")
	}
	for _, file := range r.identities {
		more, err := backup.ReadIdentities(file)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// open opens the archive: a file, or what the place has under the name.
func (r *restoring) open(ctx context.Context) (io.ReadCloser, error) {
	file, err := os.Open(r.archive)
	if err == nil || strings.ContainsRune(r.archive, filepath.Separator) || !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	document, err := os.ReadFile(r.file)
	if err != nil {
		return nil, fmt.Errorf("%s is no file here, and no document says where backups lie (%w); copy the backup here, or name the document: --config FILE", r.archive, err)
	}
	sections, err := sectionsIn(r.file, document, time.Now())
	if err != nil {
		return nil, err
	}
	if !sections.backup.On() {
		return nil, fmt.Errorf("%s is no file here, and the section backup of %s names no place", r.archive, r.file)
	}
	place, err := backup.Place(sections.backup, secret.Ref.Resolve, nil, time.Now)
	if err != nil {
		return nil, err
	}
	return place.Get(ctx, r.archive)
}

// sectionsIn reads what a document at hand says of how an installation remembers.
func sectionsIn(file string, data []byte, now time.Time) (remembering, error) {
	d, err := config.Parse(file, data)
	if d == nil {
		return remembering{}, err
	}
	return rememberingOf(d, now)
}

// keysOf opens the restored keyring: by the root key that the document names, else by the words. Nobody who lacks both can
// have made it, so that its keys tell who has signed the backup.
func (r *restoring) keysOf(ctx context.Context, o backup.Opened) ([]ed25519.PublicKey, error) {
	if err := placePapers(o); err != nil {
		return nil, err
	}
	if err := r.sections(o); err != nil {
		return nil, err
	}
	ring, err := r.ring(ctx, o)
	if err != nil {
		return nil, err
	}
	r.opening.opened = ring
	return backup.PublicKeys(ring)
}

// sections takes the document of the operator, or else that of the backup. The store is the restored file in either case.
func (r *restoring) sections(o backup.Opened) error {
	file := r.file
	data, err := os.ReadFile(file)
	if r.document = o.Manifest.Facts[documentFact]; errors.Is(err, fs.ErrNotExist) && !r.named {
		if r.document == "" {
			data, err = []byte("{}"), nil
		} else {
			file = o.Path(r.document)
			data, err = os.ReadFile(file)
		}
	}
	if err != nil {
		return err
	}
	r.opening.document, err = sectionsIn(file, data, time.Now())
	if err != nil {
		return fmt.Errorf("%w; name a document that says where the root key is: --config FILE", err)
	}
	r.opening.document.store = store.Config{}
	return nil
}

func (r *restoring) ring(ctx context.Context, o backup.Opened) (*key.Ring, error) {
	if r.words == "" {
		ring, err := r.opening.ringIn(ctx, o.Directory)
		if !errors.Is(err, key.ErrLost) && !errors.Is(err, key.ErrWrong) {
			return ring, err
		}
		fmt.Fprintf(r.io.err, "gatehouse: %v\n", err)
		r.words = "-"
	}
	words, err := r.readWords()
	if err != nil {
		return nil, err
	}
	if r.opening.root, err = key.FromWords(words, random()); err != nil {
		return nil, err
	}
	return r.opening.ringIn(ctx, o.Directory)
}

func (r *restoring) readWords() (secret.Value, error) {
	in := r.io.in
	if r.words != "-" {
		file, err := os.Open(r.words)
		if err != nil {
			return secret.Value{}, err
		}
		defer file.Close()
		in = file
	} else if terminal(r.io.err) {
		fmt.Fprintln(r.io.err, "Type the 24 recovery words, then Ctrl-D:")
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<10))
	if err != nil {
		return secret.Value{}, err
	}
	words, err := secret.New(text, "of recovery words")
	if err != nil {
		return words, errors.New("the keyring does not open, and no recovery words were given; write the 24 words to standard input, or name a file: --words FILE")
	}
	return words, nil
}

// state opens what was restored so far.
func (r *restoring) state(ctx context.Context, directory string) (*held, error) {
	o := r.opening
	o.places.state = directory
	return o.open(ctx)
}

func (r *restoring) checkState(ctx context.Context, o backup.Opened) (said string, err error) {
	if !o.Has(storeFile) {
		return "the keyring opens; the store is a matter of PostgreSQL's own tools", nil
	}
	h, err := r.state(ctx, o.Directory)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	return h.checkCopy(ctx, o.Manifest)
}

// checkEvents holds the restored event log against the checkpoints of the restored store and of the backup.
func (r *restoring) checkEvents(ctx context.Context, o backup.Opened) (said string, err error) {
	if !o.Has(storeFile) {
		return "not held against signed checkpoints: the keys that sign them are in PostgreSQL; run gatehouse audit verify", nil
	}
	directory := o.Path("events")
	if _, err := os.Stat(directory); errors.Is(err, fs.ErrNotExist) {
		return "there are none", nil
	}
	h, err := r.state(ctx, o.Directory)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var witness [][]byte
	for _, line := range o.Manifest.Checkpoints {
		witness = append(witness, []byte(line))
	}
	report, err := h.verifyLog(ctx, audit.Config{Directory: directory, Keep: -1}, witness, func(int64, int64, string) {})
	if err == nil {
		err = report.Err()
	}
	return fmt.Sprintf("%d events follow from each other and from %d signed checkpoints", report.Entries, len(witness)), err
}

// after makes void what may have been revoked since, and puts a keyring that words have opened under a root key that lasts.
func (r *restoring) after(ctx context.Context, o backup.Opened) (void []string, err error) {
	now := r.opening.now()
	if o.Manifest.Time.After(now) { // this machine's clock is behind the other's
		now = o.Manifest.Time
	}
	if o.Has(storeFile) {
		if err := r.revoke(ctx, o, now); err != nil {
			return nil, err
		}
		void = []string{"every token issued before " + now.UTC().Format(time.RFC3339) + ", of every issuer, API keys included: what was revoked since the backup is not known",
			"sessions and one-time codes from before: none are in a backup"}
	} else {
		void = []string{"nothing yet: the store is in PostgreSQL; once it is restored there, run gatehouse token revoke --before now"}
		if r.opening.root != nil { // the keyring that counts is a record in that store
			void = append(void, "the root key is lost; once the store is restored, run gatehouse key recover before anything else")
		}
		return void, nil
	}
	if r.opening.root == nil {
		return void, nil
	}
	options := key.Options{ConfigDir: r.opening.places.config, Credentials: os.Getenv(credentialsFolder), Now: r.opening.now, Rand: random()}
	next, err := key.NewRoot(r.opening.document.key, r.opening.opened.Status().Installation, options)
	if err != nil {
		return nil, err
	}
	ring, err := r.opening.ringIn(ctx, o.Directory)
	if err != nil {
		return nil, err
	}
	var out key.Handout
	if err := ring.Rekey(ctx, next, func(given key.Handout) error { out = given; return nil }); err != nil {
		return nil, fmt.Errorf("put the keyring under the root key that the document names: %w", err)
	}
	r.given = handOut(next.Describe(), out)
	return void, nil
}

func (r *restoring) revoke(ctx context.Context, o backup.Opened, before time.Time) (err error) {
	h, err := r.state(ctx, o.Directory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var done fleet.Revoked
	if done, err = h.revocations.Restored(ctx, before); err == nil && !done.Kept {
		err = errors.New("the revocation was not kept")
	}
	if err == nil { // those have no end that comes soon, and whoever was shut out must stay so
		_, err = h.revokeKeys(ctx, done.Revocation)
	}
	if err == nil {
		_, err = h.revokeSessions(ctx, done.Revocation)
	}
	return err
}

func printRestored(w io.Writer, r restoredState) {
	entry(w, "restored", fmt.Sprintf("%s, %s, %s, in %s", r.Into, count(r.Parts, "part"), amount(r.Bytes), r.Took.Round(time.Millisecond)))
	entry(w, "backup", fmt.Sprintf("%s of %s, by node %s of installation %s", r.Backup, r.Made.Local().Format(time.DateTime), tame(r.Maker.Node), tame(r.Maker.Installation)))
	for _, c := range r.Checks {
		entry(w, "  "+c.Name, "good: "+tame(c.Said))
	}
	for _, a := range r.Absent {
		entry(w, "without", a.Name+": "+a.Why)
	}
	for _, v := range r.Void {
		entry(w, "void", v)
	}
	if r.Root != nil {
		entry(w, "root key", "now "+r.Root.Root.Kind+", "+r.Root.Root.Where)
		r.Root.print(w)
	}
	if r.Document != "" {
		fmt.Fprintf(w, "%-12s %s\n%-12s gatehouse serve --verify --config %s\n", "document", r.Document, "next", r.Document) // to be copied as it stands
	}
}
