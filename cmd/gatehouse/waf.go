package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func wafCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "waf",
		Short: "What the rules would deny: at the next paranoia level, or as other rules",
	}
	c.AddCommand(wafLearnedCommand(std), wafTryCommand(std))
	return c
}

func wafLearnedCommand(std stdio) *cobra.Command {
	api := ""
	c := &cobra.Command{
		Use:   "learned",
		Short: "List what the next paranoia level would deny, with the exception for each",
		Long: `List what the rules of the next paranoia level found in requests that were let pass, counted for each operation, rule and
argument, with the exception that would fit. It is asked of the gateway that runs here, and counted where the document says

    guards: {waf: {learn: true}}

The counts outlive a reload, not a restart. An exception is somebody's: write who answers for it and why the rule errs.
What is an attack needs none.`,
		Example: `  gatehouse waf learned
  gatehouse waf learned --api shop --json | jq -r '.apis[].lines[].exception'`,
		Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		at, target, err := a.running()
		if err != nil {
			return err
		}
		if target == nil {
			return fmt.Errorf("no gateway runs on the state in %s, and what is learned is in its memory only: "+
				"start one whose document says learn: true at guards.waf, let it see the requests of some days, and ask again", at.state)
		}
		answer, err := control.Ask[learned](ctx, target, "waf.learned", learnedOf{api}, nil)
		if err != nil {
			return err
		}
		return a.print(answer, func(w io.Writer) { printLearned(w, answer, paintFor(terminal(w))) })
	})
	c.Flags().StringVar(&api, "api", "", "only of this API")
	return c
}

// learnedOf asks for one API, or all.
type learnedOf struct {
	API string `json:"api,omitempty"`
}

// learned is what gateways answer.
type learned struct {
	Fast uint64       `json:"judged_by_prefilter"` // requests since the start whose outcome was shown without the engine
	Slow uint64       `json:"judged_by_engine"`
	APIs []learnedAPI `json:"apis"` // as the document lists them
}

type learnedAPI struct {
	Name   string `json:"api"`
	Learns bool   `json:"learns"` // false: nothing was counted since the start
	seclang.Learned
}

// learned tells what was counted so far.
func (n *node) learned(_ context.Context, q learnedOf, _ control.Progress) (answer learned, err error) {
	n.current.Lock()
	apis := n.current.apis
	n.current.Unlock()
	all, now := n.kept.rules.Learned(), n.now()
	answer.Fast, answer.Slow = n.kept.rules.Requests()
	for _, name := range apis {
		if q.API != "" && q.API != name {
			continue
		}
		one := learnedAPI{Name: name}
		one.Learned, one.Learns = all[name]
		if one.Lines == nil {
			one.Lines = []seclang.LearnedLine{} // a list, for whoever goes over it
		}
		for i := range one.Lines {
			complete(&one.Lines[i], now)
		}
		answer.APIs = append(answer.APIs, one)
	}
	if q.API != "" && len(answer.APIs) == 0 {
		err = fmt.Errorf("there is no API %q", q.API)
		if near := mistake.Nearest(q.API, apis); near != "" {
			err = fmt.Errorf("%w; write --api %s", err, near)
		}
	}
	return answer, err
}

// complete writes an exception as the document takes it, with the places that a person fills in.
func complete(l *seclang.LearnedLine, now time.Time) {
	if l.Exception == "" {
		return
	}
	l.Exception = seclang.Exception{
		Rule: l.Rule, Argument: l.Argument, Operation: l.Operation,
		Author: "YOU", Reason: "why the rule errs here", Until: now.AddDate(0, 3, 0),
	}.String()
}

// rowsOf is how many lines of an API are printed; JSON has all.
const rowsOf = 40

func printLearned(w io.Writer, l learned, p paint) {
	learns := false
	for _, a := range l.APIs {
		learns = learns || a.Learns
	}
	if !learns {
		fmt.Fprintln(w, "Nothing is learned: no API of the document says so. Write, and reload:")
		fmt.Fprintln(w, "\n  learn: true   at guards.waf, or at apis[].guards.waf for one API")
		return
	}
	fmt.Fprintf(w, "The rules judged %d requests since the start: %d by the prefilter alone, %d by the engine.\n", l.Fast+l.Slow, l.Fast, l.Slow)
	for _, a := range l.APIs {
		name := p.bold + tame(a.Name) + p.off
		switch {
		case !a.Learns:
			fmt.Fprintf(w, "\n%s: nothing is learned; learn: true   at apis[].guards.waf\n", name)
		case a.Requests == 0:
			fmt.Fprintf(w, "\n%s: learning, and no request has been let pass yet; ask again later\n", name)
		case len(a.Lines) == 0:
			fmt.Fprintf(w, "\n%s: in %d requests since %s the next paranoia level finds nothing.\n", name, a.Requests, minute(a.Since))
		default:
			p.learnedAPI(w, name, a)
		}
	}
}

func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// learnedAPI prints the table, and below it the exceptions as one piece of the document.
func (p paint) learnedAPI(w io.Writer, name string, a learnedAPI) {
	fmt.Fprintf(w, "\n%s: in %d requests since %s the next paranoia level finds\n\n", name, a.Requests, minute(a.Since))
	lines := a.Lines[:min(len(a.Lines), rowsOf)]
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  WOULD DENY\tMATCHED\tRULE\tLEVEL\tOPERATION\tARGUMENT\tLAST")
	var except []string
	for _, l := range lines {
		argument := l.Argument
		switch {
		case l.Exception == "":
			argument += " (made up by clients: no exception)"
		case argument == "":
			argument = "- (no argument: the exception is for the rule)"
		}
		fmt.Fprintf(t, "  %d\t%d\t%d\t%d\t%s\t%s\t%s\n", l.Would, l.Matches, l.Rule, l.Level, tame(l.Operation), tame(argument), minute(l.Last))
		if l.Exception != "" {
			except = append(except, l.Exception)
		}
	}
	_ = t.Flush()
	if more := len(a.Lines) - len(lines); more > 0 {
		fmt.Fprintf(w, "  and %d more: --json\n", more)
	}
	if a.Lost > 0 {
		fmt.Fprintf(w, "  and %d matches for which there was no room\n", a.Lost)
	}
	if len(except) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%sWhere a rule errs, and nowhere else, at guards.waf:%s\n\n  except:\n", p.dim, p.off)
	for _, line := range except {
		fmt.Fprintln(w, "    - "+strings.TrimSpace(line))
	}
}
