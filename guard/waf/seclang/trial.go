package seclang

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
)

// Recorded is one request of a folder of .http files: a request line, fields, an empty line, a body, as HTTP/1.1 has them.
// Lines may end with LF. Without a Content-Length, all that follows the empty line is the body.
type Recorded struct {
	Name   string // of the file, below its folder
	Method string
	Target string
	Proto  string
	Fields [][2]string // in order, names as they were sent
	Body   []byte
}

// ParseRecorded reads one .http file.
func ParseRecorded(name string, data []byte) (Recorded, error) {
	r := Recorded{Name: name}
	head, rest, ok := bytes.Cut(data, []byte("\r\n\r\n"))
	if short, tail, lf := bytes.Cut(data, []byte("\n\n")); lf && (!ok || len(short) < len(head)) {
		head, rest, ok = short, tail, true
	}
	lines := strings.Split(strings.TrimRight(string(head), "\r\n"), "\n")
	first := strings.Fields(lines[0])
	if len(first) != 3 || !strings.HasPrefix(first[2], "HTTP/") {
		return r, fmt.Errorf("%s:1: a request begins with METHOD TARGET HTTP/1.1", name)
	}
	r.Method, r.Target, r.Proto = first[0], first[1], first[2]
	length := -1
	for i, line := range lines[1:] {
		field, value, colon := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if !colon || field == "" || strings.ContainsAny(field, " \t") {
			return r, fmt.Errorf("%s:%d: this is no field", name, i+2)
		}
		value = strings.TrimSpace(value)
		r.Fields = append(r.Fields, [2]string{field, value})
		if strings.EqualFold(field, "Content-Length") {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > len(rest) {
				return r, fmt.Errorf("%s:%d: %q is not the length of what follows", name, i+2, value)
			}
			length = n
		}
	}
	if ok {
		r.Body = rest
	}
	if length >= 0 {
		r.Body = r.Body[:length]
	}
	return r, nil
}

// Outcome is what a rule set says of one request.
type Outcome struct {
	Denied bool  `json:"denied"`
	Status int   `json:"status,omitempty"`
	Rule   int   `json:"rule,omitempty"`  // that denied
	Rules  []int `json:"rules,omitempty"` // that matched and say something, sorted, each once
}

func (o Outcome) same(p Outcome) bool {
	return o.Denied == p.Denied && o.Status == p.Status && slices.Equal(o.Rules, p.Rules)
}

// Judge asks a rule set about one request.
type Judge func(ctx context.Context, r Recorded) (Outcome, error)

// Plain judges as the engine alone would, with its own readers.
func Plain(waf coraza.WAF) Judge {
	return func(_ context.Context, r Recorded) (Outcome, error) {
		tx := waf.NewTransactionWithID("trial")
		defer tx.Close()
		tx.ProcessConnection("192.0.2.1", 1, "192.0.2.2", 443)
		tx.ProcessURI(r.Target, r.Method, r.Proto)
		for _, f := range r.Fields {
			tx.AddRequestHeader(f[0], f[1])
			if strings.EqualFold(f[0], "Host") {
				tx.SetServerName(f[1])
			}
		}
		it := tx.ProcessRequestHeaders()
		if it == nil && len(r.Body) > 0 {
			var err error
			if it, _, err = tx.WriteRequestBody(r.Body); err != nil {
				return Outcome{}, err
			}
		}
		if it == nil {
			var err error
			if it, err = tx.ProcessRequestBody(); err != nil {
				return Outcome{}, err
			}
		}
		return Judged(tx, it), nil
	}
}

// Judged is the outcome of a transaction that ended with it, or nil.
func Judged(tx types.Transaction, it *types.Interruption) Outcome {
	var o Outcome
	if it != nil {
		o = Outcome{Denied: true, Status: it.Status, Rule: it.RuleID}
		if o.Status == 0 {
			o.Status = http.StatusForbidden
		}
	}
	for _, m := range tx.MatchedRules() {
		if m.Message() != "" {
			o.Rules = append(o.Rules, m.Rule().ID())
		}
	}
	slices.Sort(o.Rules)
	o.Rules = slices.Compact(o.Rules)
	return o
}

// Change is one request of which two rule sets say different things.
type Change struct {
	Request  string  `json:"request"` // name of the file
	Kind     Kind    `json:"kind"`
	Old      Outcome `json:"old"`
	New      Outcome `json:"new"`
	Appeared []int   `json:"appeared,omitempty"` // rules that matched only now
	Gone     []int   `json:"gone,omitempty"`
	Unstable bool    `json:"unstable,omitempty"` // one of the sets says now this, now that, of the same request
}

// Kind is how the outcomes differ.
type Kind string

// The kinds of change, the most urgent first.
const (
	NowAllowed Kind = "now_allowed" // was denied
	NowDenied  Kind = "now_denied"  // was allowed
	OtherRules Kind = "other_rules" // same verdict for other reasons, or with another status
)

// Comparison is the report of Diff.
type Comparison struct {
	Requests   int      `json:"requests"`
	Same       int      `json:"same"`
	NowAllowed int      `json:"now_allowed"`
	NowDenied  int      `json:"now_denied"`
	OtherRules int      `json:"other_rules"`
	Changes    []Change `json:"changes"`          // by kind, then name; at most MostChanges
	Unread     []string `json:"unread,omitempty"` // files that are no requests, and why
}

// Verdicts tells that no request is now denied or allowed that was not before.
func (c Comparison) Verdicts() bool { return c.NowAllowed+c.NowDenied == 0 && len(c.Unread) == 0 }

// What Diff bears.
const (
	MostRequests = 100_000
	MostChanges  = 1000
)

// Diff asks two rule sets about all .http files of a folder and below it. Where they differ both are asked once more, since
// the engine's order of values is random. An error tells that the folder can't be read, that it holds no request, or that the
// context has ended; a request that the engine can't take is listed as unread.
func Diff(ctx context.Context, before, after Judge, requests fs.FS) (Comparison, error) {
	c := Comparison{Changes: []Change{}}
	err := fs.WalkDir(requests, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".http" {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.Requests++; c.Requests > MostRequests {
			return fmt.Errorf("more than %d requests", MostRequests)
		}
		data, err := reader{requests}.file(name)
		if err == nil {
			err = c.one(ctx, before, after, name, data)
		}
		if err != nil {
			c.Unread = append(c.Unread, err.Error())
		}
		return nil
	})
	if err == nil && c.Requests == 0 {
		err = errors.New("there are no .http files")
	}
	order := []Kind{NowAllowed, NowDenied, OtherRules}
	slices.SortStableFunc(c.Changes, func(a, b Change) int { return slices.Index(order, a.Kind) - slices.Index(order, b.Kind) })
	c.Changes = c.Changes[:min(len(c.Changes), MostChanges)]
	return c, err
}

func (c *Comparison) one(ctx context.Context, before, after Judge, name string, data []byte) error {
	r, err := ParseRecorded(name, data)
	if err != nil {
		return err
	}
	was, err := before(ctx, r)
	now, err2 := after(ctx, r)
	if err = errors.Join(err, err2); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if was.same(now) {
		c.Same++
		return nil
	}
	again, err := before(ctx, r)
	newer, err2 := after(ctx, r)
	change := Change{Request: name, Kind: OtherRules, Old: was, New: now, Appeared: only(now.Rules, was.Rules), Gone: only(was.Rules, now.Rules)}
	change.Unstable = err != nil || err2 != nil || !was.same(again) || !now.same(newer)
	switch {
	case was.Denied && !now.Denied:
		change.Kind = NowAllowed
		c.NowAllowed++
	case !was.Denied && now.Denied:
		change.Kind = NowDenied
		c.NowDenied++
	default:
		c.OtherRules++
	}
	c.Changes = append(c.Changes, change)
	return nil
}

// only are the numbers of a that are not in b.
func only(a, b []int) (list []int) {
	for _, n := range a {
		if !slices.Contains(b, n) {
			list = append(list, n)
		}
	}
	return list
}
