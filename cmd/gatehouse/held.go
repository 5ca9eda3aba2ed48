package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/redis"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

// What keys are for. Each is rotated on its own.
const (
	forStore     = "store"     // the values of records
	forFile      = "file"      // the file of the embedded store
	forAudit     = "audit"     // checkpoints of the event log
	forFleet     = "fleet"     // what nodes tell each other, names of callers and addresses
	forBackup    = "backup"    // the gateway's own access to its backups
	forAuthority = "authority" // the certificates that the gateway issues itself
)

func purposes() []string {
	return []string{forStore, forFile, forAudit, forFleet, forBackup, forAuthority}
}

// remembering is what the document says of how this installation remembers. It holds from the start of a process to its end.
type remembering struct {
	key   key.Config
	store store.Config
	fleet fleet.Config
}

// rememberingOf reads the sections, or lists their mistakes.
func rememberingOf(d *config.Document, now time.Time) (r remembering, err error) {
	var m mistake.List
	section := func(name string, read func() error) { m.Under("", d.Place(read(), name)) }
	section("key", func() (err error) {
		if r.key, _, err = config.Section[key.Config](d, "key"); err != nil {
			return err
		}
		return r.key.Check()
	})
	section("store", func() (err error) {
		if r.store, _, err = config.Section[store.Config](d, "store"); err != nil {
			return err
		}
		return r.store.Check(now)
	})
	section("fleet", func() (err error) {
		if r.fleet, _, err = config.Section[fleet.Config](d, "fleet"); err != nil {
			return err
		}
		r.fleet = r.fleet.WithDefaults(os.Hostname)
		return r.fleet.Check()
	})
	return r, m.Err()
}

// held is what this installation remembers, opened: keys, store, what nodes share. A process opens it once, before its first
// document is in force.
type held struct {
	opening            // how it was opened
	place       string // where the store is, for people
	keyOptions  key.Options
	ring        *key.Ring
	first       *key.FirstStart // told once, when the keyring was made just now
	file        *sqlite.DB      // the embedded store, or nil
	server      *postgres.DB    // or nil
	durable     *movable        // either, its values sealed
	shared      *redis.Client   // nil: this process' memory
	fast        store.Records   // expiring records, sealed
	feed        store.Feed
	revocations *fleet.Revocations
	control     *control.Server // nil in a command that opened the state itself
	closers     []func() error
}

// opening is what it takes to open what is held.
type opening struct {
	places   places
	document remembering
	log      *slog.Logger
	now      func() time.Time
	shares   *key.Collector // where people give their shares; nil: only files count
	root     key.Root       // instead of the document's, to recover
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
	if err := o.openShared(ctx, h); err != nil {
		return h, err
	}
	digest, err := h.ring.Derive(forFleet, "names of callers")
	if err != nil {
		return h, err
	}
	h.revocations = fleet.NewRevocations(o.document.fleet.Revocations, fleet.RevocationTools{
		Durable: h.durable, Feed: h.feed, Sealer: h.ring, Digest: digest, Now: o.now, Log: o.log,
	})
	return h, h.revocations.Load(ctx)
}

// openStore opens the keyring and the store. The embedded store is encrypted by the keyring, which lies beside it; in
// PostgreSQL the keyring is a record that all nodes share.
func (o opening) openStore(ctx context.Context, h *held) error {
	options := key.Options{
		Purposes: purposes(), ConfigDir: o.places.config, Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
		Collector: o.shares, Root: o.root, Now: o.now, Rand: random(),
	}
	if o.document.store.IsEmbedded() {
		return o.openEmbedded(ctx, h, options)
	}
	return o.openServer(ctx, h, options)
}

func (o opening) openServer(ctx context.Context, h *held, options key.Options) (err error) {
	if h.server, err = postgres.Open(ctx, postgres.Options{Config: o.document.store, Now: o.now, Log: o.log}); err != nil {
		return err
	}
	h.closers = append(h.closers, h.server.Close)
	h.place = o.document.store.URL
	options.Place = recordPlace{h.server}
	options.Exists = func(ctx context.Context) (bool, error) {
		some, err := h.server.List(ctx, "", "", 2)
		return len(some) > 0 && (len(some) > 1 || some[0].Key != keyringKey), err
	}
	h.keyOptions = options
	if h.ring, h.first, err = key.Open(ctx, o.document.key, options); err != nil {
		return err
	}
	h.durable = &movable{is: overServer(h.server, h.ring)}
	return nil
}

// overServer is the store of all nodes: sealed, and without the keyring that opens it.
func overServer(db *postgres.DB, ring *key.Ring) store.Durable {
	return store.Sealed(store.Hiding(db, keyringKey), ring, forStore)
}

func (o opening) openEmbedded(ctx context.Context, h *held, options key.Options) (err error) {
	path := filepath.Join(o.places.state, storeFile)
	h.place = path
	options.Place = key.File{Path: filepath.Join(o.places.state, keyringFile)}
	options.Exists = func(context.Context) (bool, error) {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	h.keyOptions = options
	if h.ring, h.first, err = key.Open(ctx, o.document.key, options); err != nil {
		return err
	}
	h.file, err = sqlite.Open(ctx, sqlite.Options{Path: path, Key: fileKeys(h.ring), Now: o.now, Log: o.log})
	if err != nil {
		return err
	}
	h.closers = append(h.closers, h.file.Close)
	h.durable = &movable{is: store.Sealed(h.file, h.ring, forStore)}
	return nil
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
	h.shared, err = redis.Open(ctx, redis.Options{Config: o.document.store.Shared, HashKey: digest, Now: o.now, Log: o.log})
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() error { h.shared.Close(); return nil })
	h.fast, h.feed = store.SealedRecords(h.shared.Records(), h.ring, forStore), h.shared.Feed()
	return nil
}

// remembered is how many expiring records one process holds in memory.
const remembered = 1 << 18

// run follows what other nodes do until ctx ends.
func (h *held) run(ctx context.Context) {
	h.revocations.Run(ctx)
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

// keyringKey is where the keyring lies in a store that nodes share.
const keyringKey = "keyring"

// recordPlace keeps the keyring as a record. It is wrapped already, so it is kept as it is.
type recordPlace struct{ in store.Records }

func (p recordPlace) Load(ctx context.Context) ([]byte, int64, error) {
	r, err := p.in.Get(ctx, keyringKey)
	if errors.Is(err, store.ErrNone) {
		return nil, 0, nil
	}
	return r.Value, r.Version, err
}

func (p recordPlace) Save(ctx context.Context, data []byte, version int64) (int64, error) {
	next, err := p.in.Write(ctx, store.Write{Key: keyringKey, Value: data, Version: version})
	if errors.Is(err, store.ErrConflict) {
		err = fmt.Errorf("%w: %w", key.ErrConflict, err)
	}
	return next, err
}

func (p recordPlace) Where() string { return "record " + keyringKey + " of the store" }
