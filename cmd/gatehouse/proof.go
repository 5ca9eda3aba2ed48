package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/upstream/authority"
)

// Here stands what must be true of a state, whether it was just restored from a backup or is about to be served.

// authorityPlace is where the internal authority lies; where nothing may be changed, a successor that is due is not kept.
func (o opening) authorityPlace(h *held) authority.Place {
	if o.existing {
		return unchanged{authorityPlace{h.durable}}
	}
	return authorityPlace{h.durable}
}

// unchanged is a place that forgets what it is told.
type unchanged struct{ authority.Place }

func (unchanged) Put(context.Context, []byte, int64) error { return nil }

// openKeys opens the keyring, or takes the one that was opened elsewhere.
func (o opening) openKeys(ctx context.Context, options key.Options) (*key.Ring, *key.FirstStart, error) {
	if o.opened != nil {
		return o.opened, nil, nil
	}
	return key.Open(ctx, o.document.key, options)
}

// checks are done to every restored copy.
func (c *copies) checks() []backup.Check {
	return []backup.Check{{Name: "state", Run: c.checkState}, {Name: "document", Run: c.checkDocument}}
}

// restored opens a copy with nothing but what lies there and the root key. What must be said with it comes as note: a root
// that only people or a start can give is not asked again, and the keys in use serve.
func (c *copies) restored(ctx context.Context, directory string) (r *held, note string, err error) {
	o := c.h.opening
	o.places.state = directory
	o.document.store = store.Config{}
	o.existing, o.shares = true, nil
	if changed := c.h.changed.key.Load(); changed != nil {
		o.document.key = *changed
	}
	if r, err = o.open(ctx); !rootAway(err) {
		return r, "the keyring opens", err
	}
	note = fmt.Sprintf("its keyring was not opened anew (%v), but the keys in use open it", err)
	o.opened = c.h.ring
	if r, err = o.open(ctx); err != nil {
		err = fmt.Errorf("%w; %s", err, strings.TrimSuffix(note, ", but the keys in use open it"))
	}
	return r, note, err
}

// rootAway tells that a keyring is as it was written, and the root key that opens it is not at hand: people have it, it can't
// be reached, or it was exchanged since. Whoever keeps it, or its words, can open the copy.
func rootAway(err error) bool {
	return errors.Is(err, key.ErrWaiting) || errors.Is(err, key.ErrLost) || errors.Is(err, key.ErrUnavailable) || errors.Is(err, key.ErrWrong)
}

// checkState opens the restored store with the restored keyring, and looks whether it holds what it must.
func (c *copies) checkState(ctx context.Context, o backup.Opened) (said string, err error) {
	if !o.Has(storeFile) {
		return c.h.checkKeyring(ctx, o)
	}
	r, said, err := c.restored(ctx, o.Directory)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	whole, err := r.checkCopy(ctx, o.Manifest)
	return said + "; " + whole, err
}

// checkCopy holds a restored state against the manifest that came with it.
func (h *held) checkCopy(ctx context.Context, m backup.Manifest) (string, error) {
	if is, was := h.ring.Status().Installation, m.Maker.Installation; is != was {
		return "", fmt.Errorf("the keyring is of installation %s, and the backup of %s", is, was)
	}
	stat, err := h.file.Stat(ctx)
	if err != nil {
		return "", err
	}
	if int(stat.Schema) < m.Maker.Schema {
		return "", fmt.Errorf("the store has schema %d, and had %d", stat.Schema, m.Maker.Schema)
	}
	whole, err := h.checkStore(ctx)
	if err != nil {
		return "", err
	}
	same, err := backup.Compare(ctx, h.file, m)
	return whole + "; " + same, err
}

// checkKeyring opens a keyring without a store: that one is in PostgreSQL.
func (h *held) checkKeyring(ctx context.Context, o backup.Opened) (string, error) {
	opening := h.opening
	if changed := h.changed.key.Load(); changed != nil {
		opening.document.key = *changed
	}
	ring, err := opening.ringIn(ctx, o.Directory)
	if rootAway(err) {
		return fmt.Sprintf("the keyring was not opened anew (%v); the store is a matter of PostgreSQL's own tools", err), nil
	}
	if err != nil {
		return "", err
	}
	if is, was := ring.Status().Installation, o.Manifest.Maker.Installation; is != was {
		return "", fmt.Errorf("the keyring is of installation %s, and the backup of %s", is, was)
	}
	return "the keyring opens; the store is a matter of PostgreSQL's own tools", nil
}

// ringIn opens the keyring that lies in a directory, and makes none.
func (o opening) ringIn(ctx context.Context, directory string) (*key.Ring, error) {
	ring, _, err := key.Open(ctx, o.document.key, key.Options{
		Place: key.File{Path: filepath.Join(directory, keyringFile)}, Exists: func(context.Context) (bool, error) { return true, nil },
		Purposes: purposes(), ConfigDir: o.places.config, Credentials: os.Getenv(credentialsFolder), Root: o.root, Resolve: o.env.resolve, Now: o.now, Rand: random(),
	})
	return ring, err
}

// opened is how many records under each prefix are opened to see that they can be.
const opened = 100

// checkStore tells whether the store is whole, whether records open, and whether a secret does.
func (h *held) checkStore(ctx context.Context) (string, error) {
	if h.file != nil {
		if err := h.file.Check(ctx); err != nil {
			return "", err
		}
	} else if err := h.durable.Ping(ctx); err != nil {
		return "", err
	}
	records := 0
	for _, prefix := range append(sampled(), "backup/", checkpointPrefix) {
		page, err := h.durable.List(ctx, prefix, "", opened)
		if err != nil {
			return "", err
		}
		records += len(page)
	}
	all, err := h.kept.List(ctx)
	if err != nil {
		return "", err
	}
	said := fmt.Sprintf("the store is whole, %s opened", count(records, "record"))
	for _, s := range all {
		if s.Current == 0 {
			continue
		}
		if v, _, err := h.kept.Get(ctx, s.Name, 0); err != nil || v.IsZero() {
			return "", cmp.Or(err, fmt.Errorf("secret %s is empty", s.Name))
		}
		return said + ", a secret decrypts", nil
	}
	return said + ", there are no secrets", nil
}

// checkDocument loads the restored document as serve would, with the restored secrets.
func (c *copies) checkDocument(ctx context.Context, o backup.Opened) (said string, err error) {
	if err := placePapers(o); err != nil {
		return "", err
	}
	h := c.h
	if o.Has(storeFile) {
		if h, _, err = c.restored(ctx, o.Directory); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, h.close()) }()
	}
	file := o.Path(o.Manifest.Facts[documentFact])
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	rules := c.rules
	if rules == nil {
		rules = waf.Load()
	}
	return h.tryDocument(source.Given(file, data), o.Directory, rules)
}

// tryDocument loads a document as serve does, up to its certificates, and binds nothing.
func (h *held) tryDocument(b *source.Bundle, state string, rules *waf.Rules) (string, error) {
	n := newNode(state, slog.New(slog.DiscardHandler), rules)
	defer n.close()
	n.held, n.kept.env = h, h.env
	var err error
	if n.kept.dev, err = dev.Open(state, random()); err != nil {
		return "", err
	}
	l, err := n.load(b)
	if err != nil {
		return "", inOrder(mistakesOf(err))
	}
	_, err = listen.New(l.listen, listen.Deps{
		Handler: n, Now: time.Now, Log: n.log, StateDir: state, Development: l.development(), Rand: random(), Resolve: n.resolver("listen"),
	})
	if err != nil {
		return "", inOrder(mistakesOf(l.document.Place(err, "listen")))
	}
	return fmt.Sprintf("policy %s, %s, certificates load", l.gateway.Version(), count(l.document.Len("apis"), "API")), nil
}

// nameFact tells the path of a file whose part could not be named after it.
const nameFact = "name "

// partName names the part of a backup that is a file of the document. Parts have plain names.
func partName(path string) string {
	var name strings.Builder
	name.WriteString("document/")
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c > '~' || c == '\\' || c == ':' || c == '%' {
			fmt.Fprintf(&name, "%%%02x", c)
		} else {
			name.WriteByte(c)
		}
	}
	if name.Len() > 150 {
		return fmt.Sprintf("document/%x", sha256.Sum256([]byte(path)))
	}
	return name.String()
}

// placePapers gives files of the document their own names again. A second time changes nothing.
func placePapers(o backup.Opened) error {
	root, err := os.OpenRoot(o.Directory)
	if err != nil {
		return err
	}
	defer root.Close()
	for fact, path := range o.Manifest.Facts {
		part, ok := strings.CutPrefix(fact, nameFact)
		if !ok {
			continue
		}
		from, to := filepath.FromSlash(part), filepath.Join("document", filepath.FromSlash(path))
		if _, err := root.Stat(from); err != nil {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := root.Rename(from, to); err != nil {
			return err
		}
	}
	return nil
}
