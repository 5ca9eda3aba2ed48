package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/guard/patch"
	patched "github.com/gatehouse-sec/gatehouse/guard/patch/kept"
)

func patchCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "patch",
		Short: "Close a known hole on every node within a second, until the server behind is mended",
		Long: `Close a known hole before the server behind is mended: a virtual patch denies the requests of an operation that have
something at a place of which a condition is true. Every node has it within a second, and it ends by itself on its day.

What stands under guards.patch of the document is not touched; see it with gatehouse check.`,
	}
	c.AddCommand(patchAddCommand(std), patchTestCommand(std), patchListCommand(std), patchRemoveCommand(std))
	return c
}

// patchFlags are what a patch is made of.
type patchFlags struct {
	question       patchQuestion
	until          string
	exploits, good []string
	event, events  string
}

func (p *patchFlags) flags(c *cobra.Command) {
	f, q := c.Flags(), &p.question
	f.StringVar(&q.API, "api", "", "the API, when the gateway serves several")
	f.StringVar(&q.Operation, "operation", "", `the operation, by operationId or as "POST /orders"; default: every operation of the API`)
	f.StringVar(&q.At, "at", "", "where it looks: path.NAME, query.NAME, header.NAME, cookie.NAME, body, body/POINTER or request; * for each")
	f.StringVar(&q.When, "when", "", "condition in CEL, over value, request, params, body and caller; default: that anything stands there")
	f.StringArrayVar(&p.exploits, "exploit", nil, "file of an HTTP request, or folder of *.http files, that it must deny; may stand several times")
	f.StringArrayVar(&p.good, "good", nil, "file of an HTTP request, or folder of *.http files, that it must let pass; may stand several times")
}

// requestFiles is the form of the files, told in the help of both commands.
const requestFiles = `--exploit and --good name files that each hold one HTTP request as it is sent: a line such as POST /orders HTTP/1.1, fields, an
empty line, the body. Line ends may be plain, and Content-Length may be left out. Nothing is sent anywhere. As whom a request
comes is said, not proved, by a first field such as: Gatehouse-Caller: ann role=staff,support scope=orders:read`

func patchTestCommand(std stdio) *cobra.Command {
	p := &patchFlags{}
	c := &cobra.Command{
		Use:   "test --at PLACE --when CONDITION --exploit FILE --good FILE",
		Short: "Try a patch with the exploit and with good requests, and add nothing",
		Long: `Try a patch with the exploit, which it must deny, and with good requests, which it must let pass. Nothing is added.

` + requestFiles + `

Exit codes: 0 it does both; 1 gone wrong; 2 it doesn't.`,
		Example: `  gatehouse patch test --operation placeOrder --at 'body/items/*/qty' --when 'value < 0' --exploit exploit.http --good good/`,
		Args:    cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		if err := p.read(time.Now()); err != nil {
			return err
		}
		q := p.question
		q.ID, q.Author, q.Reason, q.Until = "trial", whoAsks(), "trial", time.Now().AddDate(0, 0, 1)
		tried, err := ask[patchTrial](ctx, a, "patch.test", q)
		if err != nil {
			return err
		}
		if err := a.print(tried, func(w io.Writer) { printTrial(w, tried) }); err != nil {
			return err
		}
		if why := tried.fails(); why != "" {
			fmt.Fprintf(std.err, "\ngatehouse: %s\n", why)
			return exit(2)
		}
		return nil
	})
	p.flags(c)
	return c
}

func patchAddCommand(std stdio) *cobra.Command {
	p := &patchFlags{}
	c := &cobra.Command{
		Use:   "add NAME --at PLACE --when CONDITION --until DAY --reason WORDS --exploit FILE --good FILE",
		Short: "Add a patch, after it was tried with the exploit and with good requests",
		Long: `Add a patch. It is tried first: the exploit must be denied by it, and good requests must pass; else nothing is added. Who has
nothing to try it with says why: --untested WORDS.

` + requestFiles + `

--from-event ID fills in API, operation and place from an event of the log, as far as it tells; without --when it only prints
the command that would follow.

Exit codes: 0 it is added, or the command printed; 1 gone wrong; 2 the trial speaks against it, and nothing was added.`,
		Example: `  gatehouse patch add negative-quantity --operation placeOrder --at 'body/items/*/qty' --when 'value < 0' \
    --until 30d --reason "a negative quantity pays money out" --exploit exploit.http --good good/
  gatehouse patch add debug --at header.x-debug --until 2026-12-31 --reason "switches checks off" --untested "nobody uses it"
  gatehouse patch add search --from-event 01K5V8Q2ZJX3M9T7WBQ4RNE0AF`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("a patch needs one name, which events will show: gatehouse patch add NAME ...")
			}
			return nil
		},
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q := &p.question
		q.ID = args[0]
		if p.event != "" {
			from, err := proposal(p.event, p.events)
			if err != nil {
				return err
			}
			from.fill(q)
			if q.When == "" {
				proposal := patchProposal{Event: from.event, Why: from.why, Places: from.places, Patch: *q}
				return a.print(proposal, func(w io.Writer) { printProposal(w, proposal) })
			}
		}
		if err := p.read(time.Now()); err != nil {
			return err
		}
		if q.Author == "" {
			q.Author = whoAsks()
		}
		q.By = whoAsks()
		done, err := ask[patchAdded](ctx, a, "patch.add", q)
		if err != nil {
			return err
		}
		if err := a.print(done, func(w io.Writer) { printPatchAdded(w, done) }); err != nil {
			return err
		}
		if !done.Added {
			fmt.Fprintf(std.err, "\ngatehouse: nothing was added: %s\n", done.Trial.fails())
			return exit(2)
		}
		return nil
	})
	p.flags(c)
	f := c.Flags()
	f.StringVar(&p.until, "until", "", "when it ends: a day such as 2026-12-31, or how long such as 30d or 12h; at most a year")
	f.StringVar((*string)(&p.question.Mode), "mode", "", "block, or detect, which records and denies nothing")
	f.StringVar(&p.question.Author, "author", "", "who wrote it; default: who runs this command")
	f.StringVar(&p.question.Reason, "reason", "", "what it closes, in words")
	f.StringVar(&p.question.Finding, "finding", "", "id of the finding, event or ticket that it is for")
	f.StringVar(&p.question.Untested, "untested", "", "why it is added without being tried")
	f.StringVar(&p.event, "from-event", "", "id of an event that tells API, operation and place")
	f.StringVar(&p.events, "events", "", "directory of the event log (default: events in the state directory)")
	return c
}

// read reads what flags name: files, and the day.
func (p *patchFlags) read(now time.Time) (err error) {
	if p.until != "" {
		if p.question.Until, err = untilOf(p.until, now); err != nil {
			return err
		}
	}
	if p.question.Exploits, err = readExamples(p.exploits); err != nil {
		return err
	}
	p.question.Good, err = readExamples(p.good)
	return err
}

// untilOf reads a day, a time or how long.
func untilOf(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 1000 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--until: %q is no time; write a day such as %s, or how long such as 30d or 12h", text, now.AddDate(0, 0, 30).Format(time.DateOnly))
}

func patchListCommand(std stdio) *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: "list", Short: "List the patches that were added by command, and those that have ended",
		Long: `List the patches that were added by command and are in force, and those that have ended and were not removed. With --all
also those that were removed in the last thirty days. Exit code 2 when one has ended, ends soon, or isn't as it should be.`,
		Example: "  gatehouse patch list\n  gatehouse patch list --all --json | jq '.patches[].id'", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		l, err := ask[patchList](ctx, a, "patch.list", patchListQuestion{All: all})
		if err != nil {
			return err
		}
		if err := a.print(l, func(w io.Writer) { printPatches(w, l) }); err != nil {
			return err
		}
		if len(l.Findings) > 0 {
			return exit(2)
		}
		return nil
	})
	c.Flags().BoolVar(&all, "all", false, "also those that were removed")
	return c
}

func patchRemoveCommand(std stdio) *cobra.Command {
	var q patchRemoval
	c := &cobra.Command{
		Use: "remove NAME", Short: "Remove a patch before its day; every node lifts it within a second",
		Example: `  gatehouse patch remove negative-quantity --why "mended in shop 4.2"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which patch? add its name, as gatehouse patch list shows it")
			}
			return nil
		},
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q.ID, q.By = args[0], whoAsks()
		e, err := ask[patched.Entry](ctx, a, "patch.remove", q)
		if err != nil {
			return err
		}
		return a.print(e, func(w io.Writer) {
			entry(w, "removed", "patch "+tame(e.ID)+" of "+tame(e.API)+", on every node within a second")
			entry(w, "it closed", tame(e.Reason))
		})
	})
	c.Flags().StringVar(&q.API, "api", "", "the API, when patches of several have this name")
	c.Flags().StringVar(&q.Why, "why", "", "the reason, for the record")
	return c
}

func printTrial(w io.Writer, t patchTrial) {
	for _, r := range t.Requests {
		kind, sign := "good", "ok"
		if r.Exploit {
			kind = "exploit"
		}
		if !r.Right {
			sign = "WRONG"
		}
		entry(w, sign, tame(fmt.Sprintf("%s %s: %s", kind, r.Name, r.What)))
	}
	for _, n := range t.Notes {
		entry(w, "note", tame(n))
	}
	if t.Cost != "" {
		entry(w, "cost", t.Cost)
	}
}

func printPatchAdded(w io.Writer, d patchAdded) {
	printTrial(w, d.Trial)
	if !d.Added {
		return
	}
	entry(w, "added", tame(fmt.Sprintf("patch %s of %s: %s", d.Patch.ID, d.Patch.API, scopeOf(d.Patch.Patch))))
	where := "on this node now, on every other within a second"
	if !d.Here {
		where = "on every node within a second, of which none runs here"
	}
	entry(w, "in force", where+", until "+d.Patch.Until.Local().Format(time.DateTime))
	if d.Patch.Trial.Untested != "" {
		entry(w, "untested", tame(d.Patch.Trial.Untested))
	}
	entry(w, "to lift", "gatehouse patch remove "+d.Patch.ID+" --api "+d.Patch.API)
}

// scopeOf tells in one line what a patch is about.
func scopeOf(p patch.Patch) string {
	text := p.Operation
	if text == "" {
		text = "every operation"
	}
	if p.At != "" && p.At != "request" {
		text += " at " + p.At
	}
	if p.When != "" {
		text += " when " + p.When
	}
	if !p.Blocks() {
		text += " (only recorded)"
	}
	return text
}

func printPatches(w io.Writer, l patchList) {
	if len(l.Patches) == 0 {
		fmt.Fprintln(w, "No patch was added by command. Those of the document: gatehouse check")
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "PATCH\tAPI\tSTATE\tUNTIL\tBY\tWHAT")
		for _, p := range l.Patches {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", tame(p.ID), tame(p.API), tame(p.State), minute(p.Until), tame(p.Author), tame(scopeOf(p.Patch)))
		}
		_ = t.Flush()
		for _, p := range l.Patches {
			entry(w, "  "+tame(p.ID), tame(p.Reason))
		}
	}
	for _, f := range l.Findings {
		entry(w, "!", tame(f))
	}
}
