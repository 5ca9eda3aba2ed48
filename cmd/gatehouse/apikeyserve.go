package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	apikeys "github.com/gatehouse-sec/gatehouse/guard/identity/apikey/kept"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/store"
)

// openAPIKeys reads the API keys, before any request comes.
func (o opening) openAPIKeys(ctx context.Context, h *held) error {
	digest, err := h.ring.Derive(forFleet, "names of API keys")
	if err != nil {
		return err
	}
	h.apikeys = apikeys.New(store.Parts{In: h.durable}, store.PartErrors,
		apikeys.Options{Digest: digest, Rand: random(), Now: o.now, Log: o.log})
	return h.apikeys.Load(ctx)
}

// keyAsked is a key that is to be made.
type keyAsked struct {
	Owner   string    `json:"owner"`
	Scopes  []string  `json:"scopes"`
	Roles   []string  `json:"roles,omitempty"`
	APIs    []string  `json:"apis"`
	Expires time.Time `json:"expires"`
	Why     string    `json:"why,omitempty"`
	By      string    `json:"by"`
}

// keyRotation is a key that is to be replaced.
type keyRotation struct {
	ID      string        `json:"id"`
	Overlap time.Duration `json:"overlap"`
	Expires time.Time     `json:"expires,omitzero"` // zero: as long as the old one was made for
	Why     string        `json:"why,omitempty"`
	By      string        `json:"by"`
}

type keyRevocation struct {
	ID  string `json:"id"`
	Why string `json:"why,omitempty"`
	By  string `json:"by"`
}

// keyMade is a new key on its way to whoever asked for it: the only time that it is anywhere.
type keyMade struct {
	Key   string      `json:"key"`
	Made  apikey.Key  `json:"made"`
	Old   *apikey.Key `json:"old,omitempty"`
	Notes []string    `json:"notes,omitempty"`
}

// Format hides the key from every format.
func (keyMade) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

type keyListQuestion struct {
	All bool `json:"all"`
}

type keyList struct {
	Keys     []keyShown `json:"keys"`
	Findings []string   `json:"findings,omitempty"`
}

type keyShown struct {
	apikeys.Listed
	State string `json:"state"`
}

// apikeyOperations is what can be asked about API keys.
func apikeyOperations(o *control.Operations, h *held, n *node) {
	control.Handle(o, "apikey.create", func(ctx context.Context, q keyAsked, _ control.Progress) (keyMade, error) {
		return h.createKey(ctx, n, q)
	})
	control.Handle(o, "apikey.rotate", func(ctx context.Context, q keyRotation, _ control.Progress) (keyMade, error) {
		return h.rotateKey(ctx, n, q)
	})
	control.Handle(o, "apikey.list", func(ctx context.Context, q keyListQuestion, _ control.Progress) (keyList, error) {
		return h.listKeys(ctx, q)
	})
	control.Handle(o, "apikey.revoke", func(ctx context.Context, q keyRevocation, _ control.Progress) (apikey.Key, error) {
		return h.revokeKey(ctx, n, q)
	})
}

func (h *held) createKey(ctx context.Context, n *node, q keyAsked) (done keyMade, err error) {
	k := apikey.Key{Owner: q.Owner, Scopes: q.Scopes, Roles: q.Roles, APIs: q.APIs, Created: h.now(), Expires: q.Expires, Why: q.Why, By: q.By}
	if err := apikeys.Check(k); err != nil {
		return done, err
	}
	err = h.withGateway(ctx, n, func(g *pipeline.Gateway) error {
		done.Notes, err = notesOn(g, k)
		return err
	})
	if err != nil {
		return done, err
	}
	if done.Made, done.Key, err = h.apikeys.Create(ctx, k); err == nil && n != nil {
		n.system("apikey.created", aboutKey(done.Made)+"; asked by "+q.By+", because: "+cmp.Or(q.Why, "no reason given"))
	}
	return done, err
}

// notesOn refuses an API that is not served, and tells what a key would be good for nothing without.
func notesOn(g *pipeline.Gateway, k apikey.Key) (notes []string, err error) {
	var names []string
	for _, api := range g.APIs() {
		names = append(names, api.Name)
	}
	var needs []gate.Need
	for _, name := range k.APIs {
		at := slices.Index(names, name)
		if at < 0 {
			near := mistake.Nearest(name, names)
			return nil, fmt.Errorf("--api: there is no API %.40q; write one of: %s%s", name, strings.Join(names, ", "), meant(near))
		}
		if !slices.ContainsFunc(g.APIs()[at].Credentials, func(f string) bool { return f != "Authorization" && f != "Dpop" }) {
			notes = append(notes, fmt.Sprintf("%s takes no API keys: guards.identity.api_keys of the document in force names no header for it", name))
		}
		for _, op := range g.APIs()[at].Operations {
			for _, rule := range op.Access.Rules {
				needs = append(needs, rule.AnyOf...)
			}
		}
	}
	for _, s := range k.Scopes {
		if !slices.ContainsFunc(needs, func(n gate.Need) bool { return slices.Contains(n.Scopes, s) }) {
			notes = append(notes, fmt.Sprintf("no operation of %s asks for the scope %s", strings.Join(k.APIs, ", "), s))
		}
	}
	for _, r := range k.Roles {
		if !slices.ContainsFunc(needs, func(n gate.Need) bool { return slices.Contains(n.Roles, r) }) {
			notes = append(notes, fmt.Sprintf("no operation of %s asks for the role %s", strings.Join(k.APIs, ", "), r))
		}
	}
	return notes, nil
}

func meant(near string) string {
	if near == "" {
		return ""
	}
	return " (write: " + near + ")"
}

// aboutKey tells in one line what a key is.
func aboutKey(k apikey.Key) string {
	text := fmt.Sprintf("%s of %s for %s, with scopes %s", k.ID, k.Owner, strings.Join(k.APIs, ", "), strings.Join(k.Scopes, " "))
	if len(k.Roles) > 0 {
		text += " and roles " + strings.Join(k.Roles, ", ")
	}
	return text + ", until " + k.Expires.UTC().Format(time.RFC3339)
}

func (h *held) rotateKey(ctx context.Context, n *node, q keyRotation) (done keyMade, err error) {
	if q.Overlap < 0 {
		return done, errors.New("--overlap: write for how long the old key is good beside the new one, such as 24h, or 0s for not at all")
	}
	made, old, key, err := h.apikeys.Rotate(ctx, q.ID, q.Overlap, q.Expires, q.By, q.Why)
	if err != nil {
		return done, err
	}
	done.Key, done.Made, done.Old = key, made, &old
	if old.Revoked != nil {
		if err := h.callBack(ctx, old); err != nil {
			done.Notes = append(done.Notes, err.Error())
		}
	}
	if n != nil {
		n.system("apikey.rotated", fmt.Sprintf("%s of %s, good until %s, by %s; asked by %s", old.ID, old.Owner, endOfKey(old).UTC().Format(time.RFC3339), aboutKey(made), q.By))
	}
	return done, nil
}

// endOfKey is from when on a key is good for nothing.
func endOfKey(k apikey.Key) time.Time {
	if k.Revoked != nil {
		return k.Revoked.At
	}
	return k.Expires
}

// revokeKey ends a key: for good in its record, and at once, streams included, as every token that is called back.
func (h *held) revokeKey(ctx context.Context, n *node, q keyRevocation) (apikey.Key, error) {
	k, err := h.apikeys.Revoke(ctx, q.ID, q.By, q.Why)
	if known := h.apikeys.ByID(q.ID); errors.Is(err, store.ErrUnavailable) && known != nil { // the other nodes may be within reach
		k = known.Key
		k.Revoked = &apikey.Revoking{By: q.By, Why: q.Why}
		err = fmt.Errorf("the nodes that could be told refuse the key, but the store was not told: say it again when it is there (%w)", errors.Join(err, h.callBack(ctx, k)))
	} else if err == nil {
		err = h.callBack(ctx, k)
	} else {
		return k, err
	}
	if n != nil {
		n.system("apikey.revoked", fmt.Sprintf("%s of %s; asked by %s, because: %s", k.ID, k.Owner, q.By, cmp.Or(q.Why, "no reason given")))
	}
	return k, err
}

// callBack tells every node that a key is good for nothing any more, so that streams end that it opened.
func (h *held) callBack(ctx context.Context, k apikey.Key) error {
	if !h.now().Before(k.Expires) {
		return nil
	}
	_, err := h.revocations.Revoke(ctx, fleet.Revocation{Kind: fleet.ByToken, Issuer: apikey.Issuer, Token: k.ID, Until: k.Expires.Add(clocks), By: k.Revoked.By, Why: k.Revoked.Why})
	if err != nil {
		err = fmt.Errorf("streams that the key opened may go on: %w", err)
	}
	return err
}

// revokeKeys ends, for good, the keys that a revocation of tokens names: that is forgotten before they would have ended.
func (h *held) revokeKeys(ctx context.Context, r fleet.Revocation) (int, error) {
	if r.Issuer != "" && r.Issuer != apikey.Issuer {
		return 0, nil
	}
	return h.apikeys.RevokeAll(ctx, func(k apikey.Key) bool {
		return (r.Token == "" || r.Token == k.ID) && (r.Subject == "" || r.Subject == k.Owner) && (r.Before.IsZero() || k.Created.Before(r.Before))
	}, cmp.Or(r.By, "unknown"), r.Why)
}

func (h *held) listKeys(ctx context.Context, q keyListQuestion) (keyList, error) {
	all, err := h.apikeys.List(ctx)
	if err != nil {
		return keyList{}, err
	}
	l := keyList{Keys: []keyShown{}, Findings: h.apikeys.Findings()}
	for _, k := range all {
		s := keyShown{Listed: k, State: "in force"}
		switch now := h.now(); {
		case k.Revoked != nil:
			if !q.All {
				continue
			}
			s.State = "revoked by " + k.Revoked.By
		case !now.Before(k.Expires) && k.Next != "":
			if !q.All {
				continue
			}
			s.State = "replaced by " + k.Next
		case !now.Before(k.Expires):
			s.State = "ENDED"
		case k.Next != "":
			s.State = "overlaps " + k.Next
		case slices.ContainsFunc(l.Findings, func(f string) bool { return strings.HasPrefix(f, "API key "+k.ID+" ") }):
			s.State = "ends soon"
		}
		l.Keys = append(l.Keys, s)
	}
	return l, nil
}
