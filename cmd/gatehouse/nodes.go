package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/kit/control"
)

// newIdentity is how this process is called among the nodes: by the name that the document gives, and an id of its own,
// since two processes may have one name.
func newIdentity(name string, now time.Time) fleet.Identity {
	return fleet.Identity{ID: newID(now), Name: name, Started: now}
}

// watchNodes makes the registry of nodes as this one sees it. What this node says of itself is known later, when it serves;
// a command that opened the state itself only looks.
func (h *held) watchNodes() {
	report := func() fleet.Report {
		if say := h.report.Load(); say != nil {
			return (*say)()
		}
		return fleet.Report{}
	}
	h.nodes = fleet.NewNodes(h.document.fleet, h.identity, fleet.NodeTools{Durable: h.durable, Now: h.now, Report: report, Log: h.log, Local: func() bool {
		file, _, _ := h.where()
		return file != nil
	}})
}

// schedule makes the jobs that one node of all runs.
func (h *held) schedule(jobs ...fleet.Job) (err error) {
	h.jobs, err = fleet.NewJobs(jobs, fleet.JobTools{Durable: h.durable, Node: h.identity, Now: h.now, Log: h.log})
	return err
}

// jobs is everything that is done every so often, by one node of all.
func (n *node) jobs() []fleet.Job {
	return n.held.copies.jobs()
}

// report is what this node says of itself to the others.
func (n *node) report() fleet.Report {
	h := n.held
	r := fleet.Report{
		Program: version(), Ready: n.ready.Load(), Keyring: h.ring.Status().Generation, Revocations: h.revocations.Status(), Shared: fleet.Shared{Kind: "memory"},
	}
	if d := n.serves.Load(); d != nil {
		r.Document = *d
	}
	if g := n.gateway.Load(); g != nil {
		r.Policy, r.CoreRules = g.Version(), strings.Join(g.CoreRules(), " and ")
	}
	if h.shared != nil {
		since, why := h.shared.State()
		r.Shared = fleet.Shared{Kind: "redis", Down: since}
		if why != nil {
			r.Shared.Error = why.Error()
		}
	}
	return r
}

func statusCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "status", Short: "Show the nodes, what each serves, and what is not as it should be",
		Long: `Show every node, the document that it serves, how far it is behind, the scheduled jobs, and in words what is not as it
should be. Exit code 2 when something isn't.`,
		Example: "  gatehouse status\n  gatehouse status --json | jq '.findings[]'", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		s, err := ask[fleet.Status](ctx, a, "status", nothing{})
		if err != nil {
			return err
		}
		if err := a.print(s, func(w io.Writer) { printStatus(w, s) }); err != nil {
			return err
		}
		if len(s.Findings) > 0 {
			return exit(2)
		}
		return nil
	})
}

func (h *held) status(ctx context.Context, _ nothing, _ control.Progress) (fleet.Status, error) {
	s, err := h.nodes.Status(ctx, h.jobs)
	if say := h.report.Load(); err != nil && say != nil { // the node that is asked knows itself
		own := fleet.Node{ID: h.identity.ID, Name: h.identity.Name, Started: h.identity.Started, Sent: h.now(), Report: (*say)(), Self: true}
		findings, _ := fleet.Findings([]fleet.Node{own}, h.now())
		findings = append([]string{"the other nodes and the jobs are not known: " + err.Error()}, findings...)
		return fleet.Status{Time: h.now().UTC(), Nodes: []fleet.Node{own}, Findings: append(findings, h.nearFindings()...)}, nil
	}
	if err == nil && len(s.Nodes) == 0 {
		s.Findings = append(s.Findings, "no gateway runs on this store; start one with: gatehouse serve")
	}
	if err == nil {
		s.Findings = append(s.Findings, h.nearFindings()...)
		s.Findings = append(s.Findings, h.keptFindings(ctx)...)
	}
	return s, err
}

// nearFindings is what isn't as it should be with this process alone, whatever the store says.
func (h *held) nearFindings() (list []string) {
	for _, s := range h.secrets.Statuses() {
		if !s.Usable && !s.Unwanted {
			text := "the secret " + s.Ref + " has ended, and what needs it is closed"
			if s.Failure != "" {
				text += ": " + s.Failure
			}
			list = append(list, text)
		}
	}
	if h.copies != nil {
		list = append(list, h.patchFindings(h.copies.n)...)
	}
	list = append(list, h.apikeys.Findings()...)
	if h.copies != nil && h.copies.n != nil {
		if err := h.copies.n.Err(); err != nil {
			list = append(list, "the event log can't be written: "+err.Error())
		}
	}
	return list
}

// keptFindings is what the store tells of the event logs and of backups.
func (h *held) keptFindings(ctx context.Context) (list []string) {
	all, err := h.brokenWitnesses(ctx)
	if err != nil {
		list = append(list, "whether the event log is what was signed is not known: "+err.Error())
	}
	for _, b := range all {
		list = append(list, b.String()+"; look into it with gatehouse audit verify, then run: "+settleHint)
	}
	cfg := h.document.backup
	if !cfg.On() {
		return list
	}
	entries, err := backup.Records{Store: h.durable}.All(ctx)
	if err != nil {
		return append(list, "whether there is a good backup is not known: "+err.Error())
	}
	proves := cfg.Proof == nil || *cfg.Proof
	return append(list, backupFindings(entries, cfg.Default(h.places.state).Every, proves, h.identity.Started, h.now())...)
}

// backupFindings judges what is known of backups, the oldest first. Without proofs it counts that one has reached its place.
func backupFindings(entries []backup.Entry, every time.Duration, proves bool, since, now time.Time) (list []string) {
	var good, judged backup.Entry
	for _, e := range entries {
		if e.Time.Before(since) {
			since = e.Time
		}
		if e.Proof != nil && !e.Time.Before(judged.Time) {
			judged = e
		}
		if (proves && e.Proof != nil && e.Proof.OK || !proves && !e.Delivered.IsZero()) && e.Time.After(good.Time) {
			good = e
		}
	}
	if judged.Proof != nil && !judged.Proof.OK {
		text := "the newest backup that was tried is no good: " + judged.Name
		if judged.Proof.Flaw != nil {
			text += ": " + judged.Proof.Flaw.What
		}
		list = append(list, text+"; see: gatehouse backup verify")
	}
	what := "was proven"
	if !proves {
		what = "has reached its place"
	}
	if !good.Time.IsZero() {
		since = good.Time
	}
	if now.Sub(since) > 2*every {
		list = append(list, fmt.Sprintf("no backup since %s %s; there should be one every %s; see: gatehouse backup list", since.UTC().Format(time.RFC3339), what, every))
	}
	return list
}

func printStatus(w io.Writer, s fleet.Status) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tREADY\tDOCUMENT\tSINCE\tPROGRAM\tSHARED\tREVOCATIONS\tSEEN")
	for _, n := range s.Nodes {
		name, ready, shared := tame(n.Name), "no", n.Shared.Kind
		if n.Self {
			name += " (asked)"
		}
		if n.Ready {
			ready = "yes"
		}
		if !n.Shared.Down.IsZero() {
			shared += " away since " + n.Shared.Down.Local().Format(time.TimeOnly)
		}
		document := shorten(n.Document.Hash)
		if n.Document.Version > 0 {
			document += fmt.Sprintf(" v%d", n.Document.Version)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d, %.1f s behind\t%.1f s ago\n", name, ready, document, n.Document.Loaded.Local().Format(time.DateTime),
			n.Program, shared, n.Revocations.Held, max(0, n.Revocations.Lag), float64(n.Seen))
	}
	_ = t.Flush()
	printCoreRules(w, s.Nodes)
	if len(s.Jobs) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "JOB\tLAST\tON\tOUTCOME\tNEXT")
		for _, j := range s.Jobs {
			if j.Last == nil {
				fmt.Fprintf(t, "%s\tnever\t\t\t%s\n", j.Name, j.Next.Local().Format(time.DateTime))
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", j.Name, j.Last.Began.Local().Format(time.DateTime), tame(j.Last.Node), strings.TrimSpace(string(j.Last.Outcome)+" "+tame(j.Last.Error)), j.Next.Local().Format(time.DateTime))
		}
		_ = t.Flush()
	}
	if len(s.Findings) == 0 {
		fmt.Fprintln(w, "\nEverything is as it should be.")
		return
	}
	fmt.Fprintln(w, "\nNot as it should be:")
	for _, f := range s.Findings {
		fmt.Fprintf(w, "  %s\n", tame(f))
	}
}

// printCoreRules tells by which core rules the nodes judge; by which of them, where they differ.
func printCoreRules(w io.Writer, nodes []fleet.Node) {
	var order []string
	by := map[string][]string{}
	for _, n := range nodes {
		if n.CoreRules == "" {
			continue
		}
		if by[n.CoreRules] == nil {
			order = append(order, n.CoreRules)
		}
		by[n.CoreRules] = append(by[n.CoreRules], n.Name)
	}
	if len(order) > 0 {
		fmt.Fprintln(w)
	}
	for _, rules := range order {
		text := rules
		if len(by[rules]) < len(nodes) {
			text += "  (" + strings.Join(by[rules], ", ") + ")"
		}
		entry(w, "core rules", tame(text))
	}
}

func shorten(hash string) string { return hash[:min(12, len(hash))] }
