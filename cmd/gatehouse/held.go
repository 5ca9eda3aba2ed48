package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	apikeys "github.com/gatehouse-sec/gatehouse/guard/identity/apikey/kept"
	sessions "github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	patched "github.com/gatehouse-sec/gatehouse/guard/patch/kept"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/portal/factor"
	"github.com/gatehouse-sec/gatehouse/portal/user"
	"github.com/gatehouse-sec/gatehouse/secret"
	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
	secretsource "github.com/gatehouse-sec/gatehouse/secret/source"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/redis"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
	"github.com/gatehouse-sec/gatehouse/upstream/authority"
)

// What keys are for. Each is rotated on its own.
const (
	forStore      = "store"      // the values of records
	forFile       = "file"       // the file of the embedded store
	forAudit      = "audit"      // checkpoints of the event log
	forFleet      = "fleet"      // names of callers and addresses among nodes; seals nothing, and stays
	forRevocation = "revocation" // what nodes tell each other of tokens that are called back; fleet calls it so
	forBackup     = "backup"     // the gateway's own access to its backups
	forAuthority  = "authority"  // the certificates that the gateway issues itself
)

func purposes() []string {
	return []string{forStore, forFile, forAudit, forFleet, forRevocation, forBackup, forAuthority}
}

// remembering is what the document says of how this installation remembers. It holds from the start of a process to its end.
type remembering struct {
	key    key.Config
	store  store.Config
	secret secretsource.Config
	fleet  fleet.Config
	backup backup.Config
	audit  audit.Config // as it is written: its defaults are a matter of the state directory
}

// rememberingOf reads the sections, or lists their mistakes.
func rememberingOf(d *config.Document, now time.Time) (r remembering, err error) {
	var m mistake.List
	read := func(err error, name string, check func() error) {
		if err == nil {
			err = d.Place(check(), name)
		}
		m.Under("", err)
	}
	r.key, _, err = config.Section[key.Config](d, "key")
	read(err, "key", func() error { return r.key.Check() })
	r.store, _, err = config.Section[store.Config](d, "store")
	read(err, "store", func() error { return r.store.Check(now) })
	r.secret, _, err = config.Section[secretsource.Config](d, "secret")
	read(err, "secret", func() error {
		_, err := secretsource.New(r.secret, secretsource.Deps{Now: func() time.Time { return now }})
		return err
	})
	r.backup, _, err = config.Section[backup.Config](d, "backup")
	read(err, "backup", func() error { return r.backup.Check() })
	r.audit, _, err = config.Section[audit.Config](d, "audit")
	m.Under("", err)
	r.fleet, _, err = config.Section[fleet.Config](d, "fleet")
	read(err, "fleet", func() error {
		r.fleet = r.fleet.WithDefaults(os.Hostname)
		return r.fleet.Check()
	})
	return r, m.Err()
}

// held is what this installation remembers, opened: keys, store, what nodes share. A process opens it once, before its first
// document is in force.
type held struct {
	opening // how it was opened
	unlocked
	stored
	crew
	changed   changed
	kept      *owned.Store   // the gateway's own secrets
	secrets   *secret.Keeper // follows what the document refers to
	authority *authority.Authority
	copies    *copies         // what is backed up; backups are made when the document says so
	control   *control.Server // nil in a command that opened the state itself
	closers   []func() error
	turn      sync.RWMutex // held by a move of the store and by changes of keys, and for reading by a backup
}

// unlocked are the keys.
type unlocked struct {
	keyOptions key.Options
	ring       *key.Ring
	sealer     *freshSealer    // of what is to last, by the ring
	first      *key.FirstStart // told once, when the keyring was made just now
}

// stored is where things are remembered.
type stored struct {
	belongs     belonging
	place       string        // where the store is, for people
	file        *sqlite.DB    // the embedded store, or nil
	server      *postgres.DB  // or nil
	durable     *movable      // either, its values sealed
	shared      *redis.Client // nil: this process' memory
	fast        store.Records // expiring records, sealed
	feed        store.Feed
	whereabouts sync.RWMutex // of file, server and place, which a move exchanges
}

// crew is this process among the nodes, and what they tell each other.
type crew struct {
	identity    fleet.Identity
	nodes       *fleet.Nodes
	report      atomic.Pointer[func() fleet.Report]
	jobs        *fleet.Jobs // nil in a command that opened the state itself
	revocations *fleet.Revocations
	patches     *patched.Patches // that were added by command
	apikeys     *apikeys.Keys
	sessions    *sessions.Sessions
	users       *user.Users
	factors     *factor.Factors
	vouchers    atomic.Pointer[map[string]string] // issuers of the portal's providers, by their names
	invites     atomic.Pointer[string]            // where local users choose a password; nil: there are none
	signing     []byte                            // derived for the portal: seals what browsers carry
}

// errUnderWay refuses a second change of what everything hangs on.
var errUnderWay = errors.New("keys are being changed, the store is being moved, or it is being copied for a backup; nothing was done; try again when that has ended")

// one does what only one may do at a time.
func one[Q, A any](h *held, do func(context.Context, Q, control.Progress) (A, error)) func(context.Context, Q, control.Progress) (A, error) {
	return func(ctx context.Context, q Q, tell control.Progress) (a A, err error) {
		if !h.turn.TryLock() {
			return a, errUnderWay
		}
		defer h.turn.Unlock()
		return do(ctx, q, tell)
	}
}

// where gives what a move exchanges: one of file and server is nil.
func (h *held) where() (file *sqlite.DB, server *postgres.DB, place string) {
	h.whereabouts.RLock()
	defer h.whereabouts.RUnlock()
	return h.file, h.server, h.place
}

// changed is what commands have changed of the document's word since the start; a document that says the same may follow.
type changed struct {
	key   atomic.Pointer[key.Config]
	store atomic.Pointer[store.Config]
}

// opening is what it takes to open what is held.
type opening struct {
	places   places
	document remembering
	log      *slog.Logger
	now      func() time.Time
	shares   *key.Collector // where people give their shares; nil: only files count
	root     key.Root       // instead of the document's, to recover
	at       string         // the place of the document, for a command that opened the state itself
	existing bool           // it must be there already, and nothing of it is changed
	opened   *key.Ring      // the keyring, when it is open already
	env      environment    // the process' variables

	unattended bool // nobody reads what a first start has to say
}

// open opens everything in order: where the keyring lies, the keyring, the store that it encrypts, what nodes share. A
// mistake on the way closes what was opened.
func (o opening) open(ctx context.Context) (h *held, err error) {
	h = &held{opening: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if err := o.openStore(ctx, h); err != nil {
		return h, err
	}
	h.identity = newIdentity(o.document.fleet.Name, o.now())
	h.watchNodes()
	if err := o.openShared(ctx, h); err != nil {
		return h, err
	}
	digest, err := h.ring.Derive(forFleet, "names of callers")
	if err != nil {
		return h, err
	}
	h.revocations = fleet.NewRevocations(o.document.fleet.Revocations, fleet.RevocationTools{
		Durable: h.durable, Feed: h.feed, Sealer: h.ring, Digest: digest, Now: o.now, Steady: steady(), Log: o.log,
	})
	if err := h.revocations.Load(ctx); err != nil {
		return h, err
	}
	if err := o.openPatches(ctx, h); err != nil {
		return h, err
	}
	if err := o.openAPIKeys(ctx, h); err != nil {
		return h, err
	}
	if err := o.openSessions(ctx, h); err != nil {
		return h, err
	}
	if err := o.openSecrets(h); err != nil {
		return h, err
	}
	h.authority, err = authority.Open(ctx, authority.Deps{
		Place: o.authorityPlace(h), Domain: h.ring.Status().Installation + ".gatehouse.internal", Now: o.now, Rand: random(),
	})
	return h, err
}

// openSecrets opens the gateway's own secrets, and follows those that lie elsewhere.
func (o opening) openSecrets(h *held) error {
	h.kept = owned.New(store.Parts{In: h.durable}, store.PartErrors, owned.Options{Now: o.now, Rand: random()})
	sources, err := secretsource.New(o.document.secret, secretsource.Deps{
		Now: o.now, Kept: h.kept.Source(), LookupEnv: o.env.lookup, Credentials: os.Getenv(credentialsFolder),
	})
	if err != nil {
		return err
	}
	options := o.document.secret.Options()
	options.Now, options.Log = o.now, o.log
	h.secrets = secret.NewKeeper(sources, options)
	h.closers = append(h.closers, func() error {
		ctx, end := context.WithTimeout(context.Background(), 5*time.Second)
		defer end()
		return h.secrets.Close(ctx)
	})
	return nil
}

// credentialsFolder names the folder in which systemd hands credentials to a service.
const credentialsFolder = "CREDENTIALS_DIRECTORY"

// openStore opens the keyring and the store. The embedded store is encrypted by the keyring, which lies beside it; in
// PostgreSQL the keyring is a record that all nodes share.
func (o opening) openStore(ctx context.Context, h *held) (err error) {
	if h.belongs, err = o.places.belonging(); err != nil {
		return err
	}
	options := key.Options{
		Purposes: purposes(), ConfigDir: o.places.config, Credentials: os.Getenv(credentialsFolder),
		Collector: o.shares, Root: o.root, Unattended: o.unattended, Resolve: o.env.resolve, Now: o.now, Rand: random(),
	}
	url := o.document.store.URL
	if o.document.store.IsEmbedded() {
		url = store.Embedded
		err = o.openEmbedded(ctx, h, options)
	} else {
		err = o.openServer(ctx, h, options)
	}
	if err != nil || o.existing {
		return err
	}
	return h.belongs.keep(h.ring.Status().Installation, url)
}

func (o opening) openServer(ctx context.Context, h *held, options key.Options) (err error) {
	if err := h.belongs.notServer(o.document.store.URL, filepath.Join(o.places.state, storeFile)); err != nil {
		return err
	}
	if h.server, err = postgres.Open(ctx, postgres.Options{Config: o.document.store, Resolve: o.env.resolve, Now: o.now, Log: o.log}); err != nil {
		return err
	}
	h.closers = append(h.closers, h.server.Close)
	h.place = o.document.store.URL
	if _, version, err := (recordPlace{h.server}).Load(ctx); err != nil || version == 0 && h.belongs.known() {
		return cmp.Or(err, h.belongs.noStore(h.place))
	}
	options.Place = recordPlace{h.server}
	options.Exists = func(ctx context.Context) (bool, error) {
		some, err := h.server.List(ctx, "", "", 2)
		return o.existing || len(some) > 0 && (len(some) > 1 || some[0].Key != keyringKey), err
	}
	h.keyOptions = options
	if h.ring, h.first, err = key.Open(ctx, o.document.key, options); err != nil {
		return err
	}
	h.sealer = newFreshSealer(h.ring)
	h.durable = &movable{is: overServer(h.server, h.sealer)}
	return h.belongs.same(h.ring.Status().Installation, h.place)
}

// overServer is the store of all nodes: sealed, and without the keyring that opens it.
func overServer(db *postgres.DB, ring store.Sealer) store.Durable {
	return store.Sealed(store.Hiding(db, keyringKey), ring, forStore)
}

func (o opening) openEmbedded(ctx context.Context, h *held, options key.Options) (err error) {
	if err := cmp.Or(h.belongs.notEmbedded(), h.belongs.gone(o.places.state)); err != nil {
		return err
	}
	path := filepath.Join(o.places.state, storeFile)
	h.place = path
	options.Place = key.File{Path: filepath.Join(o.places.state, keyringFile)}
	options.Exists = func(context.Context) (bool, error) {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return o.existing || h.belongs.known(), nil
		}
		return err == nil, err
	}
	h.keyOptions = options
	if h.ring, h.first, err = o.openKeys(ctx, options); err != nil {
		return err
	}
	h.file, err = sqlite.Open(ctx, sqlite.Options{Path: path, Key: fileKeys(h.ring), Now: o.now, MustExist: o.existing || h.belongs.known(), Log: o.log})
	if err != nil {
		return h.belongs.lost(err, filepath.Join(o.places.state, keyringFile))
	}
	h.closers = append(h.closers, h.file.Close)
	h.sealer = newFreshSealer(h.ring)
	h.durable = &movable{is: store.Sealed(h.file, h.sealer, forStore)}
	return h.belongs.same(h.ring.Status().Installation, path)
}

// fileKeys are the keys under which the file of the embedded store may be, the newest first.
func fileKeys(ring *key.Ring) sqlite.Keys {
	return func() (current secret.Value, previous []secret.Value) {
		all, err := ring.DeriveAll(forFile, "sqlite")
		if err != nil {
			return secret.Value{}, nil // the store says that it has no key
		}
		for i, raw := range all {
			v, err := secret.New(raw, "key of the store's file")
			switch {
			case err != nil:
			case i == 0:
				current = v
			default:
				previous = append(previous, v)
			}
		}
		return current, previous
	}
}

// openShared opens what nodes share quickly and may forget.
func (o opening) openShared(ctx context.Context, h *held) error {
	if o.document.store.Shared.IsMemory() {
		h.fast = memory.NewRecords(remembered, o.now)
		return nil
	}
	digest, err := h.ring.Derive(forFleet, "names of keys")
	if err != nil {
		return err
	}
	h.shared, err = redis.Open(ctx, redis.Options{Config: o.document.store.Shared, Resolve: o.env.resolve, HashKey: digest, Node: h.identity.ID,
		Nodes: func() int { return h.nodes.Count() }, Now: o.now, Log: o.log})
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() error { h.shared.Close(); return nil })
	h.fast, h.feed = store.SealedRecords(h.shared.Records(), h.ring, forStore), h.shared.Feed()
	return nil
}

// remembered is how many expiring records one process holds in memory.
const remembered = 1 << 18

// keyringEvery and authorityEvery are how often it is looked at what other nodes have changed.
const (
	keyringEvery   = time.Second
	authorityEvery = 10 * time.Minute
)

// run follows what other nodes and other places do until ctx ends.
func (h *held) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { h.revocations.Run(ctx) })
	all.Go(func() { h.patches.Run(ctx) })
	all.Go(func() { h.apikeys.Run(ctx) })
	all.Go(func() { h.sessions.Run(ctx) })
	all.Go(func() { h.secrets.Run(ctx) })
	all.Go(func() { h.nodes.Run(ctx) })
	all.Go(func() { h.jobs.Run(ctx) })
	all.Go(func() {
		every(ctx, keyringEvery, func() {
			if _, err := h.sealer.Refresh(ctx); err != nil && ctx.Err() == nil {
				h.log.Warn("the keyring can't be looked at; the known keys stay in use", "error", err)
			}
		})
	})
	all.Go(func() {
		every(ctx, authorityEvery, func() {
			if err := h.authority.Refresh(ctx); err != nil && ctx.Err() == nil {
				h.log.Warn("the internal authority can't be looked at; what is known stays in use", "error", err)
			}
		})
	})
	all.Wait()
}

// every does something again and again until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

func (h *held) close() (err error) {
	for i := len(h.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, h.closers[i]())
	}
	h.closers = nil
	return err
}

// The embedded store in the state directory, and the keyring beside it.
const (
	storeFile   = "store.db"
	keyringFile = "keyring.json"
)
