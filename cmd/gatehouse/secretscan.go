package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret/scan"
)

func secretScanCommand(std stdio) *cobra.Command {
	a := &asker{io: std}
	opt := scan.Options{MaxTime: 2 * time.Minute}
	most := unit.GiB
	c := &cobra.Command{
		Use:   "scan PATH...",
		Short: "Find secrets in documents, contracts and source trees",
		Long: `Find secrets in documents, contracts and source trees: tokens of known services, private keys, passwords in URLs,
literals under the names of secrets, and text that only chance writes. It asks no gateway, and prints no secret.

What was found is known to everybody who could read it: take another value, keep that one elsewhere (gatehouse secret set),
and refer to it. What is no secret is allowed by a comment on its line or the line before, with the reason:

    # gatehouse:allow-secret the example key of the specification

Files that can hold no comment are named in .gatehouse-scan-ignore of the folder that is looked at, a line for each:

    testdata/*.json [random text]: recorded answers of a test server

A line of it without a reason is a finding, and so is one that nothing needs any more.

Exit codes: 0 nothing was found; 1 something was, or the scan ended early.`,
		Example: `  gatehouse secret scan .
  gatehouse secret scan gatehouse.yaml contracts/ deploy/
  gatehouse secret scan --json src | jq -r '.findings[] | "\(.file):\(.line) \(.kind)"'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("what is to be looked at? write files or folders, such as: gatehouse secret scan .")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			opt.MaxTotal = int64(most)
			return scanAll(c.Context(), a, args, opt)
		},
	}
	f := c.Flags()
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.DurationVar(&opt.MaxTime, "max-time", opt.MaxTime, "end after this time")
	f.TextVar(&most, "max-total", most, "end after this much text")
	return c
}

// scanAll looks at each path, one after the other, until one ends early.
func scanAll(ctx context.Context, a *asker, paths []string, opt scan.Options) error {
	show := newProgress(a.io.err)
	opt.Progress = show.tell
	all := scan.Report{Findings: []scan.Finding{}}
	for _, path := range paths {
		r, err := scanOne(ctx, path, opt)
		if err != nil {
			show.end()
			return err
		}
		all.Findings, all.Left = append(all.Findings, r.Findings...), append(all.Left, r.Left...)
		all.Files, all.Bytes, all.Allowed, all.Stopped = all.Files+r.Files, all.Bytes+r.Bytes, all.Allowed+r.Allowed, r.Stopped
		if all.Stopped != "" {
			break
		}
	}
	show.end()
	if err := a.print(all, func(w io.Writer) { printScan(w, all) }); err != nil {
		return err
	}
	for _, l := range all.Left {
		fmt.Fprintf(a.io.err, "not looked at: %s: %s\n", tame(l.File), tame(l.Why))
	}
	if all.Stopped != "" {
		return fmt.Errorf("the scan ended early: it %s", all.Stopped)
	}
	if len(all.Findings) > 0 {
		return exit(1)
	}
	return nil
}

// scanOne looks at a file or a folder, and names what it finds as a person here would.
func scanOne(ctx context.Context, path string, opt scan.Options) (scan.Report, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return scan.Report{}, fmt.Errorf("scan: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return scan.Report{}, fmt.Errorf("scan: %w", err)
	}
	folder, root := real, "."
	named := func(name string) string { return filepath.Join(path, filepath.FromSlash(name)) }
	if !info.IsDir() {
		folder, root = filepath.Split(real)
		folder = filepath.Join(folder, ".")
		named = func(string) string { return path }
	}
	r, err := scan.Tree(ctx, os.DirFS(folder), root, opt)
	if err != nil {
		return r, err
	}
	for i := range r.Findings {
		r.Findings[i].File = named(r.Findings[i].File)
	}
	for i := range r.Left {
		r.Left[i].File = named(r.Left[i].File)
	}
	return r, nil
}

func printScan(w io.Writer, r scan.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s:%d:%d: %s\n    %s\n", tame(f.File), f.Line, f.Column, f.Kind, tame(f.Excerpt))
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(w)
	}
	text := fmt.Sprintf("%s in %s", count(len(r.Findings), "finding"), count(r.Files, "file"))
	if r.Allowed > 0 {
		text += fmt.Sprintf("; %d allowed with a reason", r.Allowed)
	}
	fmt.Fprintln(w, text)
}
