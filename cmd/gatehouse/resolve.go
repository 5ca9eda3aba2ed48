package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
	"github.com/gatehouse-sec/gatehouse/upstream/authority"
)

// resolveTime bounds how long the first look at a secret may take, when a document is read.
const resolveTime = 15 * time.Second

// resolver gives the present value of what a part of the document ("listen", "apis.shop") refers to. After the first time it
// waits for nothing: the value is followed. Without an opened state, as in check, only what lies on this machine is looked at.
func (n *node) resolver(reader string) func(secret.Ref) (secret.Value, error) {
	return func(ref secret.Ref) (secret.Value, error) {
		if n.held == nil {
			return ref.Resolve()
		}
		live, err := n.kept.lives.get(reading{reader, ref}, n.held.secrets)
		if err != nil {
			return secret.Value{}, err
		}
		return live.Value()
	}
}

// reading is a part of the document and what it refers to.
type reading struct {
	reader string
	ref    secret.Ref
}

// lives are the secrets that parts of the document were given. Whether they may read them was asked at a load: nothing that
// serves a request waits for the store.
type lives struct {
	mu  sync.RWMutex
	all map[reading]*secret.Live
}

func (l *lives) get(r reading, from *secret.Keeper) (*secret.Live, error) {
	l.mu.RLock()
	live := l.all[r]
	l.mu.RUnlock()
	if live != nil {
		return live, nil
	}
	ctx, end := context.WithTimeout(context.Background(), resolveTime)
	defer end()
	live, err := from.Live(ctx, r.ref, r.reader)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[reading]*secret.Live{}
	}
	l.all[r] = live
	return live, nil
}

// keep forgets what the document in force doesn't refer to.
func (l *lives) keep(all map[reading]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.all, func(r reading, _ *secret.Live) bool { _, ok := all[r]; return !ok })
}

// readings are the references of those parts of a document that a reader stands for, with the place of each.
func readings(d *config.Document) map[reading]string {
	all := map[reading]string{}
	within := func(reader, path string) {
		eachPlace(d.Value(path), path, func(place, text string) {
			var ref secret.Ref
			if ref.UnmarshalText([]byte(text)) != nil {
				return
			}
			if strings.HasPrefix(place, path+".guards.") {
				all[reading{"guards", ref}] = place
				return
			}
			all[reading{reader, ref}] = place
		})
	}
	within("listen", "listen")
	within("portal", "portal")
	within("guards", "guards")
	for i := range d.Len("apis") {
		path := fmt.Sprintf("apis[%d]", i)
		within(fmt.Sprintf("apis.%v", d.Value(path+".name")), path)
	}
	return all
}

// mayRead finds the parts of a document that refer to a secret of the gateway's own and may no longer read it. When the
// store can't be asked, those that could read it before go on.
func (h *held) mayRead(ctx context.Context, d *config.Document) error {
	var own map[string]owned.Info
	var m mistake.List
	for r, place := range readings(d) {
		name, _, _ := strings.Cut(r.ref.Place(), "@")
		if r.ref.Scheme() != secret.Kept {
			continue
		}
		if own == nil {
			all, err := h.kept.List(ctx)
			if err != nil {
				return nil //nolint:nilerr // see above
			}
			own = map[string]owned.Info{}
			for _, s := range all {
				own[s.Name] = s
			}
		}
		s, ok := own[name]
		if !ok || s.Current == 0 || slices.Contains(s.MayRead, r.reader) || slices.Contains(s.MayRead, "*") {
			continue // one that is gone is told by whoever needs it
		}
		m.Add(place, "", "%s may not read it, only %s; to allow it: gatehouse secret allow %s --reader %s",
			r.reader, readersOf(s.MayRead), name, strings.Join(append(slices.Clone(s.MayRead), r.reader), ","))
	}
	return d.Place(m.Err(), "")
}

// referredTo are the secrets that a document refers to: they are followed while it is in force, others are forgotten.
func referredTo(d *config.Document) (refs []secret.Ref) {
	eachText(d.Value(""), func(text string) {
		var ref secret.Ref
		if ref.UnmarshalText([]byte(text)) == nil {
			refs = append(refs, ref)
		}
	})
	return refs
}

// eachText calls with for every text in a value of the document.
func eachText(v any, with func(string)) {
	eachPlace(v, "", func(_, text string) { with(text) })
}

// eachPlace is eachText with the path of each text; path is that of the value.
func eachPlace(v any, path string, with func(path, text string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			eachPlace(inner, path+"."+key, with)
		}
	case []any:
		for i, inner := range v {
			eachPlace(inner, fmt.Sprintf("%s[%d]", path, i), with)
		}
	case string:
		with(path, v)
	}
}

// shownBy is the certificate that this node shows to servers which answer to the gateway only.
type shownBy struct{ n *node }

// ClientCertificate gives one of the internal authority; in a command that serves nothing, one that nobody will see.
func (s shownBy) ClientCertificate() (*tls.Certificate, error) {
	if h := s.n.held; h != nil {
		return h.authority.Client("gateway").ClientCertificate()
	}
	a, err := authority.Open(context.Background(), authority.Deps{Place: authority.InMemory(), Domain: "check.gatehouse.internal", Now: s.n.now, Rand: random()})
	if err != nil {
		return nil, err
	}
	return a.Client("gateway").ClientCertificate()
}
