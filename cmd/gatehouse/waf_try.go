package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

func wafTryCommand(std stdio) *cobra.Command {
	t := trial{io: std}
	c := &cobra.Command{
		Use:   "try --requests DIR [--rules DIR] [--document FILE]",
		Short: "Tell what other rules would say of recorded requests, before they apply",
		Long: `Tell what other rules would say of recorded requests, before they apply: a new core rule set in a folder, as it is released
(crs-setup.conf.example and rules/), or another document with other exceptions, files or levels.

Requests are files *.http, in the folder and below it: a request line, fields, an empty line and a body. Each is read, matched
and judged as the gateway does it, by the rules and the document in force and by those on trial. Other guards are not asked:
a request that no operation takes, or that can't be read, never reaches the rules and is counted.

The pin of the folder of rules is printed: what was tried has this pin, and nothing else has. It is what the document says to
put these rules in force:

    guards: {waf: {rules: {core: {from: coreruleset-4.26.0, pin: "sha256:..."}}}}

Exit codes: 0 no verdict changes; 1 one does, or a file is no request; 2 the trial can't be held.`,
		Example: `  gatehouse waf try --rules coreruleset-4.26.0 --requests recorded
  gatehouse waf try --document gatehouse-new.yaml --requests recorded --json | jq '.changes[] | select(.kind == "now_denied")'`,
		Args: func(c *cobra.Command, args []string) error { return t.misuse(cobra.NoArgs(c, args)) },
		RunE: func(c *cobra.Command, _ []string) error { return t.hold(c.Context()) },
	}
	f := c.Flags()
	f.StringVarP(&t.document, "config", "c", "gatehouse.yaml", "the document in force")
	f.StringVar(&t.rules, "rules", "", "folder of the core rule set on trial; without it, the one that the document names")
	f.StringVar(&t.other, "document", "", "the document on trial; without it, the one in force")
	f.StringVar(&t.requests, "requests", "", "folder of recorded requests")
	f.BoolVar(&t.json, "json", false, "print JSON")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return t.misuse(flagError(c, err)) })
	return c
}

// trial is one comparison of what is in force with what may come.
type trial struct {
	io                               stdio
	document, rules, other, requests string
	json                             bool
}

// misuse tells an error, and ends with the code that no verdict has.
func (t trial) misuse(err error) error {
	var list mistake.List
	switch {
	case err == nil:
		return nil
	case errors.As(err, &list):
		_ = config.Print(t.io.err, list, terminal(t.io.err))
	default:
		fmt.Fprintf(t.io.err, "gatehouse: %v\n", err)
	}
	return exit(2)
}

// tried is what comes out, as JSON has it.
type tried struct {
	InForce   []string       `json:"in_force"`          // the core rules that judge by the document in force
	OnTrial   []string       `json:"on_trial"`          // and by the one on trial
	Instead   string         `json:"instead,omitempty"` // why the core rules in force are those of the program, and not what the document says
	Pin       string         `json:"pin,omitempty"`     // of the folder of rules
	Unreached map[string]int `json:"unreached"`         // why requests never reach the rules -> how many
	seclang.Comparison
}

func (t trial) hold(ctx context.Context) error {
	out, err := t.compare(ctx)
	if err != nil {
		return t.misuse(err)
	}
	a := asker{io: t.io, json: t.json}
	if err := a.print(out, func(w io.Writer) { t.print(w, out, paintFor(terminal(w))) }); err != nil {
		return err
	}
	if !out.Verdicts() {
		return exit(1)
	}
	return nil
}

func (t trial) compare(ctx context.Context) (out tried, err error) {
	switch {
	case t.requests == "":
		return out, errors.New("which requests? add --requests DIR, a folder of .http files")
	case t.rules == "" && t.other == "":
		return out, errors.New("what is on trial? add --rules DIR, a core rule set, or --document FILE")
	}
	if _, err := os.ReadDir(t.requests); err != nil {
		return out, err
	}
	rules := waf.Load()
	newer := rules
	if t.rules != "" {
		if newer, out.Pin, err = rulesOf(t.rules); err != nil {
			return out, err
		}
	}
	before, err := newJudge(ctx, t.document, rules)
	if err != nil && t.rules != "" { // what it has pinned may be gone, and that is why something is tried
		again, other := newJudge(ctx, t.document, waf.LoadTrial())
		if other == nil {
			before, out.Instead, err = again, firstLine(err), nil
		}
	}
	if err != nil {
		return out, err
	}
	defer before.node.close()
	after, err := newJudge(ctx, cmp.Or(t.other, t.document), newer)
	if err != nil {
		return out, err
	}
	defer after.node.close()
	out.InForce, out.OnTrial = before.gateway.CoreRules(), after.gateway.CoreRules()
	out.Comparison, err = seclang.Diff(ctx, before.judge, after.judge, os.DirFS(t.requests))
	out.Unreached = before.unreached
	if err != nil {
		return out, fmt.Errorf("%s: %w", t.requests, err)
	}
	return out, nil
}

// rulesOf compiles a core rule set in a folder, and gives its pin. No link leads out of the folder.
func rulesOf(folder string) (*waf.Rules, string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = root.Close() }()
	release, err := seclang.OpenRelease(seclang.Dir(root.FS()))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", folder, err)
	}
	rules, err := waf.LoadRelease(release)
	if list := (mistake.List)(nil); errors.As(err, &list) {
		for i, m := range list {
			if m.File != "" {
				list[i].File = path.Join(folder, m.File)
			}
		}
		return nil, "", list
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", folder, err)
	}
	return rules, release.Pin, nil
}

// judge is a gateway that serves nothing.
type judge struct {
	node      *node
	gateway   *pipeline.Gateway
	unreached map[string]int
	told      map[string]bool // requests that are counted
}

func newJudge(ctx context.Context, document string, rules *waf.Rules) (*judge, error) {
	at, err := findPlaces()
	if err != nil {
		return nil, err
	}
	j := &judge{node: newNode(at.state, slog.New(slog.DiscardHandler), rules), unreached: map[string]int{}, told: map[string]bool{}}
	b, err := j.node.open(ctx, document, source.Options{})
	if err == nil {
		j.node.kept.dev, err = dev.Open(at.state, random())
	}
	var l *loaded
	if err == nil {
		l, err = j.node.load(b)
	}
	if err != nil {
		j.node.close()
		return nil, err
	}
	j.gateway = l.gateway
	return j, nil
}

// judge says what becomes of a recorded request at the rules. One that is refused before them is denied whatever they say.
func (j *judge) judge(ctx context.Context, r seclang.Recorded) (seclang.Outcome, error) {
	request := requestOf(ctx, r)
	x, guard, v := j.gateway.Meet(request, netip.AddrFrom4([4]byte{192, 0, 2, 1})) // of the block for examples
	switch {
	case !v.Allowed():
		if !j.told[r.Name] {
			j.told[r.Name] = true
			j.unreached[string(v.Reason)]++
		}
		return seclang.Outcome{Denied: true, Status: v.Code.Status()}, nil
	case guard == nil:
		return seclang.Outcome{}, nil
	}
	return guard.Try(ctx, x)
}

// requestOf is a recorded request as net/http would have read it.
func requestOf(ctx context.Context, r seclang.Recorded) *http.Request {
	q := &http.Request{
		Method: r.Method, RequestURI: r.Target, Proto: r.Proto, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)),
	}
	for _, f := range r.Fields {
		switch name := http.CanonicalHeaderKey(f[0]); name {
		case "Host":
			q.Host = f[1]
		case "Content-Length", "Transfer-Encoding":
		default:
			q.Header[name] = append(q.Header[name], f[1])
		}
	}
	return q.WithContext(ctx)
}

func (t trial) print(w io.Writer, out tried, p paint) {
	entry(w, "in force", t.document+", "+inWords(out.InForce))
	if out.Instead != "" {
		entry(w, "", "and not what it says: "+tame(out.Instead))
	}
	on := inWords(out.OnTrial)
	if t.rules != "" {
		version, _, _ := strings.Cut(strings.Join(out.OnTrial, ""), ", ")
		on = "the core rules in " + t.rules + " (" + tame(version) + ")"
	}
	entry(w, "on trial", cmp.Or(t.other, t.document)+", "+on)
	if out.Pin != "" {
		entry(w, "pin", out.Pin)
	}
	text := count(out.Requests, "request")
	if len(out.Unreached) > 0 {
		var why []string
		for _, reason := range slices.Sorted(maps.Keys(out.Unreached)) {
			why = append(why, fmt.Sprintf("%s %d", reason, out.Unreached[reason]))
		}
		text += ", of which never reach the rules: " + strings.Join(why, ", ")
	}
	entry(w, "requests", text)
	last := seclang.Kind("")
	for _, c := range out.Changes {
		if c.Kind != last {
			last = c.Kind
			title, n := titleOf(c.Kind, out.Comparison)
			fmt.Fprintf(w, "\n%s%s (%d)%s\n", p.bold, title, n, p.off)
		}
		fmt.Fprintf(w, "  %s: %s\n", tame(c.Request), differs(c))
	}
	if listed := out.NowAllowed + out.NowDenied + out.OtherRules; listed > len(out.Changes) {
		fmt.Fprintf(w, "  and %d more\n", listed-len(out.Changes))
	}
	if len(out.Unread) > 0 {
		fmt.Fprintf(w, "\n%sNo requests (%d)%s\n", p.bold, len(out.Unread), p.off)
		for _, line := range out.Unread {
			fmt.Fprintln(w, "  "+tame(line))
		}
	}
	if out.Verdicts() {
		fmt.Fprintf(w, "\nNo verdict changes.\n")
	}
}

// inWords names core rules.
func inWords(list []string) string { return "the core rules " + tame(strings.Join(list, " and ")) }

func titleOf(k seclang.Kind, c seclang.Comparison) (string, int) {
	switch k {
	case seclang.NowAllowed:
		return "Denied in force, allowed on trial", c.NowAllowed
	case seclang.NowDenied:
		return "Allowed in force, denied on trial", c.NowDenied
	}
	return "Same verdict by other rules", c.OtherRules
}

// differs tells a difference in one line.
func differs(c seclang.Change) string {
	var parts []string
	for _, side := range []struct {
		word  string
		rules []int
	}{{"more", c.Appeared}, {"gone", c.Gone}} {
		if len(side.rules) > 0 {
			parts = append(parts, strings.Trim(fmt.Sprintf("%s %v", side.word, side.rules), "[]"))
		}
	}
	if c.Old.Status != c.New.Status && c.Old.Denied && c.New.Denied {
		parts = append(parts, fmt.Sprintf("status %d, was %d", c.New.Status, c.Old.Status))
	}
	if c.Unstable {
		parts = append(parts, "now this, now that: the engine asks in a random order")
	}
	return strings.ReplaceAll(strings.Join(parts, "; "), "[", "")
}
