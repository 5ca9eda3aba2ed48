package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/patch"
	patched "github.com/gatehouse-sec/gatehouse/guard/patch/kept"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/store"
)

// openPatches reads the patches that were added by command, before any request comes.
func (o opening) openPatches(ctx context.Context, h *held) (err error) {
	digest, err := h.ring.Derive(forFleet, "names of patches")
	if err != nil {
		return err
	}
	h.patches, err = patched.New(store.Parts{In: h.durable}, store.PartErrors,
		patched.Options{Digest: digest, Now: o.now, Log: o.log})
	if err != nil {
		return err
	}
	return h.patches.Load(ctx)
}

// added is what the guard of that name is handed. Without an opened state, as in check, nothing was added.
func (n *node) addedPatches() patch.Added {
	if n.held == nil || n.held.patches == nil {
		return nil
	}
	return n.held.patches
}

// patchQuestion is a patch that is to be added or tried.
type patchQuestion struct {
	API string `json:"api"`
	patch.Patch
	Exploits []example `json:"exploits,omitempty"`
	Good     []example `json:"good,omitempty"`
	Untested string    `json:"untested,omitempty"`
	By       string    `json:"by"`
}

// patchTrial is what became of the requests that a patch was tried with.
type patchTrial struct {
	Requests []patchTried `json:"requests,omitempty"`
	Notes    []string     `json:"notes,omitempty"`
	Cost     string       `json:"cost,omitempty"`
}

// patchTried is one of them.
type patchTried struct {
	Name    string `json:"name"`
	Exploit bool   `json:"exploit"`
	Right   bool   `json:"right"` // it is denied, or passes, as it should
	What    string `json:"what"`
}

// fails tells why the trial doesn't speak for the patch, or nothing.
func (t patchTrial) fails() string {
	var wrong, exploits, good int
	for _, r := range t.Requests {
		switch {
		case !r.Right:
			wrong++
		case r.Exploit:
			exploits++
		default:
			good++
		}
	}
	switch {
	case wrong > 0:
		return count(wrong, "request") + " did not end as they should"
	case exploits == 0:
		return "no exploit was tried: add --exploit FILE"
	case good == 0:
		return "no good request was tried: add --good FILE"
	}
	return ""
}

type patchAdded struct {
	Added bool          `json:"added"`
	Here  bool          `json:"here"` // a gateway runs here, which applies it already
	Patch patched.Entry `json:"patch"`
	Trial patchTrial    `json:"trial"`
}

type patchListQuestion struct {
	All bool `json:"all"`
}

type patchList struct {
	Patches  []patchShown `json:"patches"`
	Findings []string     `json:"findings,omitempty"`
}

type patchShown struct {
	patched.Entry
	State string `json:"state"`
}

type patchRemoval struct {
	API string `json:"api"`
	ID  string `json:"id"`
	By  string `json:"by"`
	Why string `json:"why"`
}

// patchOperations is what can be asked about patches.
func patchOperations(o *control.Operations, h *held, n *node) {
	control.Handle(o, "patch.add", func(ctx context.Context, q patchQuestion, _ control.Progress) (patchAdded, error) {
		return h.addPatch(ctx, n, q)
	})
	control.Handle(o, "patch.test", func(ctx context.Context, q patchQuestion, _ control.Progress) (t patchTrial, err error) {
		err = h.withGateway(ctx, n, func(g *pipeline.Gateway) error {
			_, t, err = h.tryPatch(ctx, g, &q)
			return err
		})
		return t, err
	})
	control.Handle(o, "patch.list", func(ctx context.Context, q patchListQuestion, _ control.Progress) (patchList, error) {
		return h.listPatches(ctx, n, q)
	})
	control.Handle(o, "patch.remove", func(ctx context.Context, q patchRemoval, _ control.Progress) (patched.Entry, error) {
		return h.removePatch(ctx, n, q)
	})
}

// withGateway does something with the Gateway that serves, or, when none does, with the one that the document makes.
func (h *held) withGateway(ctx context.Context, n *node, do func(*pipeline.Gateway) error) error {
	if n != nil {
		return do(n.gateway.Load())
	}
	b, err := readDocument(ctx, h.places, h.at)
	if err != nil {
		return fmt.Errorf("no gateway runs here, and the document that would tell its APIs can't be read: %w", err)
	}
	alone := newNode(h.places.state, slog.New(slog.DiscardHandler), waf.Load())
	defer alone.close()
	if alone.kept.dev, err = dev.Open(h.places.state, random()); err != nil {
		return err
	}
	l, err := alone.load(b)
	if err != nil {
		return err
	}
	return do(l.gateway)
}

func (h *held) addPatch(ctx context.Context, n *node, q patchQuestion) (done patchAdded, err error) {
	err = h.withGateway(ctx, n, func(g *pipeline.Gateway) error {
		_, done.Trial, err = h.tryPatch(ctx, g, &q)
		return err
	})
	if err != nil {
		return done, err
	}
	e := patched.Entry{API: q.API, Patch: q.Patch, Trial: patched.Trial{Untested: strings.TrimSpace(q.Untested)}}
	for _, r := range done.Trial.Requests {
		if r.Exploit {
			e.Trial.Exploits++
		} else {
			e.Trial.Good++
		}
	}
	tried := len(done.Trial.Requests) > 0
	switch why := done.Trial.fails(); {
	case !tried && e.Trial.Untested == "":
		return done, errors.New("a patch is tried before it is added: --exploit FILE and --good FILE; or say why not: --untested WORDS")
	case tried && why != "" && (e.Trial.Untested == "" || done.Trial.wrong()):
		done.Patch = e
		return done, nil // the command tells what went wrong
	}
	if e, err = h.patches.Add(ctx, e); err != nil {
		return done, err
	}
	done.Added, done.Here, done.Patch = true, n != nil, e
	if n != nil {
		n.system("patch.added", fmt.Sprintf("%s of %s: %s; until %s, by %s, because: %s; %s; asked by %s", e.ID, e.API, scopeOf(e.Patch), e.Until.Format(time.RFC3339), e.Author, e.Reason, trialOf(e.Trial), q.By))
	}
	return done, nil
}

// wrong tells that some request did not end as it should, which no words make good.
func (t patchTrial) wrong() bool {
	return slices.ContainsFunc(t.Requests, func(r patchTried) bool { return !r.Right })
}

func trialOf(t patched.Trial) string {
	text := fmt.Sprintf("tried with %s and %s", count(t.Exploits, "exploit"), count(t.Good, "good request"))
	if t.Untested != "" {
		text += ", not fully: " + t.Untested
	}
	return text
}

// tryPatch checks a patch for the API that is meant, and tries it with what is given.
func (h *held) tryPatch(ctx context.Context, g *pipeline.Gateway, q *patchQuestion) (*patch.Compiled, patchTrial, error) {
	api, err := apiNamed(g, q.API)
	if err != nil {
		return nil, patchTrial{}, err
	}
	q.API = api.Name
	c, err := h.patches.Loader().Check(q.Patch, api, h.now(), true)
	if err != nil {
		return nil, patchTrial{}, asFlags(err)
	}
	t := patchTrial{Notes: c.Notes(api), Cost: c.Costs()}
	for _, e := range q.Exploits {
		r, err := h.tryOne(ctx, g, c, api, e, true)
		if err != nil {
			return nil, t, err
		}
		t.Requests = append(t.Requests, r)
	}
	for _, e := range q.Good {
		r, err := h.tryOne(ctx, g, c, api, e, false)
		if err != nil {
			return nil, t, err
		}
		t.Requests = append(t.Requests, r)
	}
	return c, t, nil
}

// tryOne takes one request through the gateway up to the patch, and tells whether that says of it what it should.
func (h *held) tryOne(ctx context.Context, g *pipeline.Gateway, c *patch.Compiled, api *gate.API, e example, exploit bool) (patchTried, error) {
	t := patchTried{Name: e.Name, Exploit: exploit}
	var failure error
	r, err := g.Rehearse(ctx, pipeline.Rehearsal{Raw: e.Raw, Caller: e.Caller, API: api.Name}, func(ctx context.Context, x *gate.Exchange) gate.Verdict {
		v := gate.Allow()
		if c.About(x.Operation) {
			v, failure = c.Try(ctx, x)
		}
		return v
	})
	if err != nil {
		return t, fmt.Errorf("%s: %w", e.Name, err)
	}
	op := ""
	if r.Exchange.Operation != nil {
		op = r.Exchange.Operation.Key
	}
	switch {
	case r.By != "":
		t.What = fmt.Sprintf("never reaches the patch: %s refuses it (%s: %s)", r.By, r.Verdict.Reason, r.Verdict.Detail)
	case !c.About(r.Exchange.Operation):
		t.What = "is for " + op + ", which the patch is not about"
	case r.Verdict.Allowed() && exploit && !c.Finds(r.Exchange):
		t.What = "passes: nothing stands at " + c.At
	case r.Verdict.Allowed():
		t.What, t.Right = "passes", !exploit
	case r.Verdict.Reason == patch.Denied:
		t.What, t.Right = "is denied", exploit
	default:
		t.What = fmt.Sprintf("is denied because it can't be judged: %v", failure)
	}
	return t, nil
}

// apiNamed finds the API that is meant.
func apiNamed(g *pipeline.Gateway, name string) (*gate.API, error) {
	var names []string
	for _, api := range g.APIs() {
		if api.Name == name || name == "" && len(g.APIs()) == 1 {
			return api, nil
		}
		names = append(names, api.Name)
	}
	if name == "" {
		return nil, fmt.Errorf("a patch of which API? add --api with one of: %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no API %q; write --api with one of: %s", name, strings.Join(names, ", "))
}

// asFlags tells mistakes of a patch in the words of the command.
func asFlags(err error) error {
	var list mistake.List
	if !errors.As(err, &list) {
		return err
	}
	var lines []string
	for _, m := range list {
		key, _, _ := strings.Cut(m.Path, ".")
		if key == "id" {
			key = "NAME"
		} else {
			key = "--" + key
		}
		m.Path, m.Write = "", strings.TrimPrefix(m.Write, m.Path+": ")
		lines = append(lines, key+": "+m.Error())
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (h *held) listPatches(ctx context.Context, n *node, q patchListQuestion) (patchList, error) {
	if err := h.patches.Load(ctx); n == nil && err != nil { // a node follows the store by itself
		return patchList{}, err
	}
	l := patchList{Patches: []patchShown{}, Findings: h.patchFindings(n)}
	for _, e := range h.patches.All() {
		s := patchShown{Entry: e, State: "in force"}
		switch now := h.now(); {
		case e.Removed != nil:
			if !q.All {
				continue
			}
			s.State = "removed by " + e.Removed.By
		case e.Expired(now):
			s.State = "ENDED"
		case !e.Blocks():
			s.State = "records"
		case e.EndsSoon(now):
			s.State = "ends soon"
		}
		l.Patches = append(l.Patches, s)
	}
	return l, nil
}

// patchFindings is what isn't as it should be with patches, for this process and by the document that it serves.
func (h *held) patchFindings(n *node) []string {
	list := h.patches.Findings()
	if n == nil || n.gateway.Load() == nil {
		return list
	}
	g := n.gateway.Load()
	off := g.Resting("patch")
	for _, e := range h.patches.InForce() {
		name := fmt.Sprintf("patch %s of %s", e.ID, e.API)
		api, err := apiNamed(g, e.API)
		switch {
		case err != nil:
			list = append(list, name+" is about an API that is not served (any more): if it has another name now, add the patch again")
		case slices.Contains(off, e.API):
			list = append(list, name+" denies nothing: the document switches the guard off, or lets it only record")
		case !patch.Reaches(e.Patch, api):
			list = append(list, fmt.Sprintf("%s is about the operation %s, which is not declared (any more): if it has another name now, add the patch again", name, e.Operation))
		}
	}
	return list
}

func (h *held) removePatch(ctx context.Context, n *node, q patchRemoval) (patched.Entry, error) {
	if q.API == "" {
		var found []string
		for _, e := range h.patches.All() {
			if e.ID == q.ID && e.Removed == nil {
				found = append(found, e.API)
			}
		}
		if len(found) > 1 {
			return patched.Entry{}, fmt.Errorf("several APIs have a patch %q; add --api with one of: %s", q.ID, strings.Join(found, ", "))
		}
		q.API = strings.Join(found, "")
	}
	e, err := h.patches.Remove(ctx, q.API, q.ID, q.By, q.Why)
	if err != nil {
		return e, fmt.Errorf("patch %q: %w", q.ID, err)
	}
	if n != nil {
		n.system("patch.removed", fmt.Sprintf("%s of %s, which closed: %s; asked by %s, because: %s", e.ID, e.API, e.Reason, q.By, cmp.Or(q.Why, "no reason given")))
	}
	return e, nil
}

// watchEnds tells, as events, of patches and API keys that have ended or will soon, once each. It is asked every so often with
// what it gave before.
func (n *node) watchEnds(told map[string]bool) map[string]bool {
	if n.held == nil || n.held.patches == nil || n.held.apikeys == nil {
		return told
	}
	next := map[string]bool{}
	tell := func(reason gate.Reason, what string, findings []string) {
		for _, text := range findings {
			next[text] = true
			if !told[text] {
				n.log.Warn(what+" wants attention", "what", text)
				n.system(reason, text)
			}
		}
	}
	tell("patch.attention", "a patch", n.held.patchFindings(n))
	tell("apikey.attention", "an API key", n.held.apikeys.Findings())
	return next
}
