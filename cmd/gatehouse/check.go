package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

func checkCommand(std stdio) *cobra.Command {
	var file string
	var asJSON, strict bool
	c := &cobra.Command{
		Use:   "check --config FILE",
		Short: "List every mistake in a document, and what its APIs are protected by",
		Long: `List every mistake in a document and in the contracts that it names, with file, line and column, and what to write
instead; then print the protection table: every operation, what protects it, what is still open and the line that closes it.

Exit codes: 0 good; 1 a mistake; 2 something is open that must be said (an operation that OpenAPI would make public by
silence), and with --strict anything open.`,
		Example: `  gatehouse check --config gatehouse.yaml
  gatehouse check --strict --json | jq '.table.open[].what'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			table, err := check(file)
			var list mistake.List
			if err != nil && !errors.As(err, &list) {
				return err
			}
			if asJSON {
				if err := checkJSON(std.out, list, table); err != nil {
					return err
				}
			} else if list != nil {
				if err := config.Print(std.err, list, terminal(std.err)); err != nil {
					return err
				}
				fmt.Fprintf(std.err, "\n%s\n", count(len(list), "mistake"))
			} else {
				printTable(std.out, table, terminal(std.out))
			}
			switch {
			case list != nil:
				return exit(1)
			case table.Unsaid() || strict && len(table.Open) > 0:
				return exit(2)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "config", "c", "gatehouse.yaml", "the document")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&strict, "strict", false, "exit 2 for every open item of the table")
	return c
}

// check builds everything that serve would build, but binds no socket, asks no issuer and writes no event.
func check(file string) (pipeline.Table, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return pipeline.Table{}, fmt.Errorf("read the document: %w; write one with: gatehouse init", err)
	}
	state, err := stateDirectory()
	if err != nil {
		return pipeline.Table{}, err
	}
	n := newNode(state, slog.New(slog.DiscardHandler), waf.Load())
	defer n.close()
	if n.kept.dev, err = dev.Open(state, random()); err != nil {
		return pipeline.Table{}, err
	}
	l, err := n.load(file, data)
	var m mistake.List
	m.Under("", err)
	if l != nil {
		_, err = listen.New(l.listen, listen.Deps{
			Handler: n, Now: time.Now, StateDir: state, Development: l.development(), Rand: random(),
		})
		m.Under("", l.document.Place(err, "listen"))
	}
	if len(m) > 0 {
		return pipeline.Table{}, m
	}
	return l.gateway.Table(), nil
}

func checkJSON(w io.Writer, list mistake.List, table pipeline.Table) error {
	mistakes, err := config.JSON(list)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Mistakes json.RawMessage `json:"mistakes"`
		Table    pipeline.Table  `json:"table"`
	}{mistakes, table})
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
