package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

func checkCommand(std stdio) *cobra.Command {
	var s service
	var asJSON, strict, fields bool
	c := &cobra.Command{
		Use:   "check --config FILE",
		Short: "List every mistake in a document, and what its APIs are protected by",
		Long: `List every mistake in a document and in the contracts that it names, with file, line and column, and what to write
instead; then print the protection table: every operation, what protects it, what is still open and the line that closes it.

Exit codes: 0 good; 1 a mistake; 2 something is open that must be said (an operation that OpenAPI would make public by
silence), and with --strict anything open.`,
		Example: `  gatehouse check --config gatehouse.yaml
  gatehouse check --strict --json | jq '.table.open[].what'
  gatehouse check --fields   # which values the rules of the WAF look at, and why`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := check(c.Context(), s, fields)
			var list mistake.List
			if err != nil && !errors.As(err, &list) {
				return err
			}
			switch {
			case asJSON:
				err = checkJSON(std.out, list, found)
			case list != nil:
				if err = config.Print(std.err, list, terminal(std.err)); err == nil {
					_, err = fmt.Fprintf(std.err, "\n%s in %s\n", count(len(list), "mistake"), s.place)
				}
			default:
				err = errors.Join(printTable(std.out, found.table, found.connections, terminal(std.out)), printFields(std.out, found.inspected))
			}
			switch {
			case list != nil:
				return errors.Join(err, exit(1))
			case err != nil:
				return err
			case found.table.Unsaid():
				fmt.Fprintln(std.err, "\ngatehouse: it is not said whether some operation is public; contract or document must say so")
				return exit(2)
			case strict && len(found.table.Open) > 0:
				fmt.Fprintf(std.err, "\ngatehouse: --strict, and %s\n", count(len(found.table.Open), "open item"))
				return exit(2)
			}
			return nil
		},
	}
	f := c.Flags()
	s.flags(f)
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&fields, "fields", false, "tell of each value in the contracts by which rules of the WAF it is inspected, and why; takes some seconds")
	f.BoolVar(&strict, "strict", false, "exit 2 for every open item of the table")
	return c
}

// checked is what a document without mistakes comes to.
type checked struct {
	table        pipeline.Table
	connections  listen.Limits
	remembering  remembering
	certificates []ca.Certificate
	inspected    []pipeline.Inspected // when it was asked for
}

// settled are the certificates without those of which only time and a gateway that serves decide: ACME obtains them, and the
// development authority makes them anew.
func (c checked) settled() (all []ca.Certificate) {
	for _, one := range c.certificates {
		if !strings.HasPrefix(one.Where, "listen.acme: ") && one.Where != "listen: development" {
			all = append(all, one)
		}
	}
	return all
}

// keyFindings tells what is open about the root key, without looking for it: it may lie elsewhere than where check runs.
func (r remembering) keyFindings(at places) []gate.Finding {
	if !r.store.IsEmbedded() {
		return nil // what it protects lies on another machine
	}
	installation := "*" // any that has its key here
	if belongs, err := at.belonging(); err == nil && belongs.known() {
		installation = belongs.Installation
	}
	root, err := key.NewRoot(r.key, installation, key.Options{ConfigDir: at.config, Credentials: os.Getenv(credentialsFolder), Rand: random()})
	if err != nil {
		return []gate.Finding{{ID: "key.no_place", What: err.Error(), Fix: "key: {root: tpm}", Place: "key.root"}}
	}
	return root.Describe().Findings(at.state)
}

// check builds everything that serve would build, but binds no socket, opens no store, asks no issuer and writes no event.
func check(ctx context.Context, s service, fields bool) (checked, error) {
	at, err := findPlaces()
	if err != nil {
		return checked{}, err
	}
	n := newNode(at.state, slog.New(slog.DiscardHandler), waf.Load())
	defer n.close()
	o := s.source(n, at)
	o.Keep = "" // what a server gave before is not what is asked about
	b, err := n.open(ctx, s.place, o)
	if err != nil {
		return checked{}, fmt.Errorf("read the document: %w", err)
	}
	found, err := checkBundle(n, b, fields)
	if err == nil {
		found.table.Open = append(found.table.Open, findingsOf(found.settled())...)
		found.table.Open = append(found.table.Open, found.remembering.keyFindings(at)...)
	}
	return found, err
}

// checkDocument is check for a document that was read.
func checkDocument(state, file string, data []byte, rules *waf.Rules) (checked, error) {
	n := newNode(state, slog.New(slog.DiscardHandler), rules)
	defer n.close()
	return checkBundle(n, source.Given(file, data), false)
}

// checkBundle is check for a document that was read, with a node that serves nothing.
func checkBundle(n *node, b *source.Bundle, fields bool) (found checked, err error) {
	if n.kept.dev, err = dev.Open(n.state, random()); err != nil {
		return found, err
	}
	l, err := n.load(b)
	var m mistake.List
	m.Under("", err)
	var server *listen.Server
	if l != nil {
		server, err = listen.New(l.listen, listen.Deps{
			Handler: n, Now: time.Now, StateDir: n.state, Development: l.development(), Rand: random(),
		})
		m.Under("", l.document.Place(err, "listen"))
	}
	if len(m) > 0 {
		return checked{}, inOrder(m)
	}
	table := l.gateway.Table()
	table.Risk = append(otherRisks(l.document), table.Risk...)
	found = checked{table: table, connections: l.listen.Limits.InForce()}
	if found.remembering, err = rememberingOf(l.document, n.now()); err != nil {
		return found, err
	}
	if fields {
		found.inspected = l.gateway.Inspected()
	}
	found.certificates = append(n.inventory(server, n.now()), n.named(l.document, found.remembering)...)
	return found, nil
}

// inOrder sorts mistakes as a reader of the document meets them. Where a value is missing, nothing more is said of that
// place than what to write there.
func inOrder(list mistake.List) mistake.List {
	slices.SortStableFunc(list, func(a, b mistake.Mistake) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	var out mistake.List
	for _, m := range list {
		last := len(out) - 1
		if last >= 0 && m.Line > 0 && out[last].Line == m.Line && out[last].Column == m.Column && out[last].File == m.File {
			if m == out[last] {
				continue
			}
			if strings.HasPrefix(out[last].What, "no value is given") {
				out[last].Write = cmp.Or(out[last].Write, m.Write)
				continue
			}
		}
		out = append(out, m)
	}
	return out
}

// checkJSON writes {"mistakes": [...], "table": {...}}, and "inspected" when it was asked for; without either when there is a
// mistake.
func checkJSON(w io.Writer, list mistake.List, found checked) error {
	mistakes, err := config.JSON(list)
	if err != nil {
		return err
	}
	said := struct {
		Mistakes  json.RawMessage      `json:"mistakes"`
		Table     *pipeline.Table      `json:"table,omitempty"`
		Inspected []pipeline.Inspected `json:"inspected,omitempty"`
	}{Mistakes: mistakes}
	if len(list) == 0 {
		said.Table, said.Inspected = &found.table, found.inspected
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(said)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
