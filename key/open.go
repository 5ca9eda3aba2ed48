package key

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// Options are what Open needs of the world.
type Options struct {
	Place       Place                                                              // where the keyring lies
	Exists      func(context.Context) (bool, error)                                // does anything exist already that was encrypted by a keyring?
	Purposes    []string                                                           // purposes that must have a key; missing ones get one
	ConfigDir   string                                                             // the user's config directory of Gatehouse, for a root key of our own
	Credentials string                                                             // $CREDENTIALS_DIRECTORY, or ""
	Resolve     func(secret.Ref) (secret.Value, error)                             // default: Ref.Resolve
	Collector   *Collector                                                         // where shares are given; nil: only from files
	Root        Root                                                               // instead of the document's, to recover; never makes a keyring
	Unattended  bool                                                               // nobody reads what a first start hands out: no keyring is made that needs it
	Dial        func(_ context.Context, network, address string) (net.Conn, error) // to a Transit server; default: net.Dialer
	Now         func() time.Time
	Rand        io.Reader
}

// FirstStart is told when Open has made a keyring. Show it once, and only to people.
type FirstStart struct {
	Installation string
	Root         Description
	Handout
}

// Open opens the keyring. Only when there is neither a keyring nor anything that was encrypted by one, it makes a keyring
// and perhaps a root key, and tells what must be written down. Two processes that start at once end with the same keyring.
// Nothing is touched when the root key, the keyring or a share is missing or wrong: ErrLost, ErrWrong, ErrDamaged,
// ErrWaiting, ErrUnavailable, with what to do in words. With shares it waits for people, until ctx ends.
func Open(ctx context.Context, cfg Config, o Options) (*Ring, *FirstStart, error) {
	if err := cfg.Check(); err != nil {
		return nil, nil, err
	}
	if o.Place == nil || o.Exists == nil || o.Now == nil || o.Rand == nil {
		return nil, nil, errors.New("key: Options need Place, Exists, Now and Rand")
	}
	for _, name := range o.Purposes {
		if !validName(name) {
			return nil, nil, fmt.Errorf("%q is no name of a purpose", name)
		}
	}
	data, placed, err := o.Place.Load(ctx)
	if err == nil && data == nil {
		return o.first(ctx, cfg)
	}
	if err != nil {
		return nil, nil, err
	}
	ring, err := o.open(ctx, cfg, data, placed)
	return ring, nil, err
}

// open opens a keyring that is there.
func (o Options) open(ctx context.Context, cfg Config, data []byte, placed int64) (*Ring, error) {
	fail := func(err error) (*Ring, error) {
		return nil, fmt.Errorf("open the keyring %s: %w", o.Place.Where(), err)
	}
	d, err := parse(data)
	if err != nil {
		return fail(fmt.Errorf("%w; restore the keyring from a backup; nothing was changed", err))
	}
	root := o.Root
	if root == nil {
		if root, err = NewRoot(cfg, d.Installation, o); err != nil {
			return fail(err)
		}
	}
	ring, err := unwrapRing(ctx, root, d)
	if err != nil {
		return fail(err)
	}
	s, err := d.unlock(ring, placed)
	if err != nil {
		return fail(fmt.Errorf("%w; restore the keyring from a backup; nothing was changed", err))
	}
	r := o.ring(root)
	r.state.Store(s)
	return r, r.ensure(ctx, o.Purposes)
}

func (o Options) ring(root Root) *Ring {
	return &Ring{place: o.Place, root: root, now: o.Now, random: o.Rand}
}

// ensure gives a key to each purpose that has none.
func (r *Ring) ensure(ctx context.Context, purposes []string) error {
	if len(r.state.Load().without(purposes)) == 0 {
		return nil
	}
	return r.update(ctx, func(s *state) error { return s.add(r.random, r.stamp(), purposes) })
}

// without lists the purposes that have no key.
func (s *state) without(purposes []string) (list []string) {
	for _, name := range purposes {
		if len(s.keys[name]) == 0 {
			list = append(list, name)
		}
	}
	return list
}

// add makes the keys that are missing.
func (s *state) add(random io.Reader, created time.Time, purposes []string) error {
	for _, name := range s.without(purposes) {
		m, err := fresh(random)
		if err != nil {
			return err
		}
		s.keys[name] = []living{{1, created, m}}
	}
	return nil
}

// first makes the keyring, if nothing is there that needs another.
func (o Options) first(ctx context.Context, cfg Config) (*Ring, *FirstStart, error) {
	exists, err := o.Exists(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look whether a store exists: %w", err)
	}
	if exists { // another process may have made both since we looked
		data, placed, err := o.Place.Load(ctx)
		if err == nil && data == nil {
			err = fmt.Errorf("%w: there is no keyring at %s, but a store that was encrypted by one; put the keyring back from a backup (gatehouse backup restore); nothing was changed", ErrLost, o.Place.Where())
		}
		if err != nil {
			return nil, nil, err
		}
		ring, err := o.open(ctx, cfg, data, placed)
		return ring, nil, err
	}
	if o.Root != nil {
		return nil, nil, fmt.Errorf("%w: there is no keyring at %s to recover; put it back from a backup first", ErrLost, o.Place.Where())
	}
	return o.make(ctx, cfg)
}

// make makes a keyring and saves it, unless another process is faster.
func (o Options) make(ctx context.Context, cfg Config) (*Ring, *FirstStart, error) {
	if o.Unattended && cfg.Root.Shares != nil {
		return nil, nil, errors.New("the first start hands out the shares of the root key, and nobody would read them here: no later start could open what is stored; " +
			"start once on a terminal, give each person a share, and stop it; nothing was made")
	}
	id := make([]byte, 8)
	if _, err := io.ReadFull(o.Rand, id); err != nil {
		return nil, nil, fmt.Errorf("read randomness for an installation: %w", err)
	}
	installation := hex.EncodeToString(id)
	root, err := NewRoot(cfg, installation, o)
	if err != nil {
		return nil, nil, err
	}
	r, err := o.fresh(ctx, root, installation)
	minter, mints := root.(Minter)
	if err == nil {
		first := &FirstStart{Installation: installation, Root: root.Describe()}
		if mints {
			first.Handout, err = minter.Handout(), minter.Settle(true)
		}
		return r, first, err
	}
	data, placed, again := o.Place.Load(ctx)
	if mints && again == nil && !ours(data, installation) {
		err = errors.Join(err, minter.Settle(false))
	}
	if !errors.Is(err, ErrConflict) || again != nil || data == nil {
		return nil, nil, fmt.Errorf("make the first keyring: %w", err)
	}
	r, err = o.open(ctx, cfg, data, placed)
	return r, nil, err
}

// ours tells that the keyring is the one that was just made: it was saved, whatever Save answered.
func ours(data []byte, installation string) bool {
	d, err := parse(data)
	return err == nil && d.Installation == installation
}

// fresh makes and saves the first generation.
func (o Options) fresh(ctx context.Context, root Root, installation string) (*Ring, error) {
	ring, err := fresh(o.Rand)
	if err != nil {
		return nil, err
	}
	envelope, err := root.Wrap(ctx, bytes.Clone(ring.bytes()), rootAAD(installation))
	if err != nil {
		return nil, err
	}
	if err := proven(ctx, root, envelope, ring, installation); err != nil {
		return nil, err
	}
	r := o.ring(root)
	s := &state{document: document{Format: format, Installation: installation, Generation: 1, Root: envelope}, ring: ring, keys: map[string][]living{}}
	err = s.add(o.Rand, r.stamp(), o.Purposes)
	if err == nil {
		err = s.rewrite(o.Rand)
	}
	if err == nil {
		err = s.save(ctx, o.Place)
	}
	if err != nil {
		return nil, err
	}
	r.state.Store(s)
	return r, nil
}

// NewRoot makes the root that the document names, for the keyring of an installation. It reads no key yet.
func NewRoot(cfg Config, installation string, o Options) (Root, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	resolve := o.Resolve
	if resolve == nil {
		resolve = secret.Ref.Resolve
	}
	switch c := cfg.Root; {
	case c.Credential != "":
		return credentialRoot(o.Credentials, c.Credential, o.Rand), nil
	case !c.File.IsZero():
		return fileRoot(c.File, resolve, o.Rand), nil
	case c.Passphrase != nil:
		return &passphraseRoot{c.Passphrase.From, c.Passphrase.costs(), resolve, o.Rand}, nil
	case c.TPM != nil:
		return &tpmRoot{cfg: c.TPM.withDefaults(), random: o.Rand}, nil
	case c.Transit != nil:
		return newTransit(c.Transit.withDefaults(), resolve, o.Dial)
	case c.Shares != nil:
		return &sharesRoot{cfg: *c.Shares, resolve: resolve, collector: o.Collector, random: o.Rand}, nil
	}
	if o.ConfigDir == "" {
		return nil, errors.New("there is no user's config directory for a root key: set XDG_CONFIG_HOME or HOME, or name a root in the section key (root: file:/path)")
	}
	return &ownRoot{dir: filepath.Clean(o.ConfigDir), credentials: o.Credentials, installation: installation, random: o.Rand}, nil
}
