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
	"unicode/utf8"

	"github.com/spf13/cobra"

	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
)

func secretCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "secret",
		Short: "Keep passwords and keys in the gateway's own encrypted store, and find those that lie elsewhere",
		Long: `Keep passwords and keys in the gateway's own encrypted store, for whoever has no other, and find those that lie in
documents and source trees.

A document refers to one by store:NAME, or store:NAME@VERSION for one that shall not change. A new version is in force
within five seconds, on every node, without a restart or a reload. Only those parts of the document may refer to a secret
that somebody has allowed: listen, guards, apis.NAME, or * for all.

Values are read from standard input and travel through a socket that nobody but the gateway's own user can open. They stand
in no argument, no event and no log.`,
		Example: `  openssl rand -hex 24 | gatehouse secret set shop/password --may-read apis.shop
  gatehouse secret list
  gatehouse secret rotate shop/password
  gatehouse secret scan .`,
	}
	c.AddCommand(secretSetCommand(std), secretGetCommand(std), secretListCommand(std), secretRotateCommand(std), secretRemoveCommand(std),
		secretAllowCommand(std), secretScanCommand(std))
	return c
}

// oneName takes the one argument of a command, and never repeats what else stands there: it may be the secret.
func oneName(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("which secret? write its name, such as: %s shop/password", c.CommandPath())
	case len(args) > 1 && c.Name() == "set":
		return fmt.Errorf("write nothing behind the name: a value in an argument is seen by every process of this machine and stays in the shell's history. " +
			"If that was one, take another value, and write it to standard input: gatehouse secret set NAME < file")
	case len(args) > 1:
		return fmt.Errorf("one name at a time; see: %s --help", c.CommandPath())
	}
	if err := owned.CheckName(args[0]); err != nil {
		return fmt.Errorf("the argument %w", err)
	}
	return nil
}

// expectation is which version a change replaces: a number, 0 for none, or any.
type expectation struct {
	said  bool
	value int64
}

func (e *expectation) String() string {
	switch {
	case !e.said:
		return ""
	case e.value == owned.Any:
		return "any"
	}
	return strconv.FormatInt(e.value, 10)
}

func (e *expectation) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case text == "any":
		n = owned.Any
	case err != nil || n < 0:
		return errors.New("write the version that is replaced, as gatehouse secret list shows it, 0 for none, or any")
	}
	*e = expectation{true, n}
	return nil
}

func (*expectation) Type() string { return "VERSION" }

// or gives what was said, or what holds when nothing was.
func (e *expectation) or(unsaid int64) int64 {
	if e.said {
		return e.value
	}
	return unsaid
}

func secretSetCommand(std stdio) *cobra.Command {
	var q secretSet
	var expect expectation
	c := &cobra.Command{
		Use:   "set NAME < FILE",
		Short: "Write a new version of a secret, from standard input",
		Long: `Write a new version of a secret, from standard input; one line end at its end is no part of it.

A name that is there already is replaced only when you say which version you replace (--expect), so that two people don't
undo each other's work without seeing it. A new secret may be read by nobody, unless --may-read says by whom.

Exit codes: 0 written; 1 nothing was changed.`,
		Example: `  gatehouse secret set shop/password --may-read apis.shop < password.txt
  gatehouse secret set tls/key --expect 3 < new.key
  pass show shop | gatehouse secret set shop/password --expect any`,
		Args: oneName,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) (err error) {
		q.Name, q.By, q.Expect = args[0], whoAsks(), expect.or(0)
		if err := owned.CheckReaders(q.MayRead); err != nil {
			return fmt.Errorf("--may-read: %w", err)
		}
		if q.Value, err = readSecret(ctx, a.io); err != nil {
			return err
		}
		done, err := ask[secretChanged](ctx, a, "secret.set", q)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { done.print(w) })
	})
	f := c.Flags()
	f.Var(&expect, "expect", "version that is replaced, or any; without it the secret must not be there yet")
	f.StringSliceVar(&q.MayRead, "may-read", nil, "parts of the document that may refer to it: listen, guards, apis.NAME, or *; comma-separated")
	return c
}

// readSecret reads a value from standard input.
func readSecret(ctx context.Context, std stdio) ([]byte, error) {
	text, err := typedSecret(ctx, std)
	if err != nil {
		return nil, fmt.Errorf("read the secret from standard input: %w", err)
	}
	if n := len(text); n > 0 && text[n-1] == '\n' {
		if text = text[:n-1]; n > 1 && text[n-2] == '\r' {
			text = text[:n-2]
		}
	}
	switch {
	case len(text) == 0:
		return nil, errors.New("nothing was written to standard input, and an empty secret protects nothing")
	case len(text) > owned.MaxValue:
		return nil, fmt.Errorf("standard input is longer than a secret may be, which is %d bytes", owned.MaxValue)
	}
	return text, nil
}

func secretGetCommand(std stdio) *cobra.Command {
	var q secretGet
	c := &cobra.Command{
		Use:   "get NAME",
		Short: "Print the value of a secret, and nothing else",
		Long: `Print the value of a secret, and nothing else: byte for byte, with a line end only on a terminal. With --json it stands
beside its version, as "value", or, where it is no text, as "base64".`,
		Example: `  gatehouse secret get shop/password
  gatehouse secret get tls/key --version 2 > old.key`,
		Args: oneName,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q.Name = args[0]
		if q.Version < 0 {
			return errors.New("--version: write a version as gatehouse secret list --json shows it; without it you get the newest")
		}
		got, err := ask[secretValue](ctx, a, "secret.get", q)
		if err != nil {
			return err
		}
		if a.json {
			return a.print(got.readable(), nil)
		}
		if terminal(a.io.out) {
			got.Bytes = append(got.Bytes, '\n')
		}
		_, err = a.io.out.Write(got.Bytes)
		return err
	})
	c.Flags().Int64Var(&q.Version, "version", 0, "an older version; default: the newest")
	return c
}

// readable is what a program reads.
func (v secretValue) readable() any {
	type head struct {
		Name    string `json:"name"`
		Version int64  `json:"version"`
	}
	if utf8.Valid(v.Bytes) {
		return struct {
			head
			Value string `json:"value"`
		}{head{v.Name, v.Version}, string(v.Bytes)}
	}
	return struct {
		head
		Base64 []byte `json:"base64"`
	}{head{v.Name, v.Version}, v.Bytes}
}

func secretListCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "list", Short: "List the secrets: versions, who may read them and when they were used, never their values",
		Long: `List the secrets: their versions, which parts of the document may refer to them, and when the gateway used them last.
Never their values.`,
		Example: "  gatehouse secret list\n  gatehouse secret list --json | jq '.[] | select(.last_use == null) | .name'",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		all, err := ask[[]owned.Info](ctx, a, "secret.list", nothing{})
		if err != nil {
			return err
		}
		return a.print(all, func(w io.Writer) { printSecrets(w, all) })
	})
}

func printSecrets(w io.Writer, all []owned.Info) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There are no secrets. Write one with: gatehouse secret set NAME < FILE")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tVERSION\tKEPT\tCHANGED\tBY\tMAY READ\tLAST USE")
	for _, s := range all {
		kept, version := 0, strconv.FormatInt(s.Current, 10)
		changed, by := "", ""
		for _, v := range s.Versions {
			at, who := v.Created, v.By
			if v.Removed != nil {
				at, who = *v.Removed, v.Remover
			} else {
				kept++
			}
			changed, by = at.Local().Format(time.DateTime), who
		}
		if s.Current == 0 {
			version = "removed"
		}
		used := "never"
		if s.LastUse != nil {
			used = s.LastUse.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", s.Name, version, kept, changed, tame(by), readersOf(s.MayRead), used)
	}
	_ = t.Flush()
}

func readersOf(parts []string) string {
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, ", ")
}

func secretRotateCommand(std stdio) *cobra.Command {
	var q secretRotate
	var expect expectation
	c := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Write a new, random version of a secret",
		Long: `Write a new, random version of a secret. It is told to nobody; gatehouse secret get reads it. Whoever checks the secret on
the other side must take the new one as well: change it there first, or use set.

--alphabet is letters (letters and digits), hex, base64url, symbols (letters, digits and signs), or the characters
themselves.`,
		Example: `  gatehouse secret rotate shop/password
  gatehouse secret rotate shop/password --length 48 --alphabet symbols --expect 3
  gatehouse secret rotate shop/new --expect 0`,
		Args: oneName,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q.Name, q.By = args[0], whoAsks()
		if expect.said {
			q.Expect = &expect.value
		}
		done, err := ask[secretChanged](ctx, a, "secret.rotate", q)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { done.print(w) })
	})
	f := c.Flags()
	f.IntVar(&q.Length, "length", 32, "how many characters")
	f.StringVar(&q.Alphabet, "alphabet", "letters", "letters, hex, base64url, symbols, or the characters themselves")
	f.Var(&expect, "expect", "version that is replaced, or 0 to make a new secret; without it whatever version is there")
	return c
}

func secretRemoveCommand(std stdio) *cobra.Command {
	var q secretRemove
	var expect expectation
	c := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a secret, or one version of it",
		Long: `Remove a secret, or one version of it. What refers to it serves on for one minute, since a rotation may remove first, and
is then closed: an API whose key is gone is answered with 502 or 503, a certificate whose key is gone is shown to nobody,
until there is a new one. Numbers of versions are never used again.`,
		Example: `  gatehouse secret rm shop/password
  gatehouse secret rm tls/key --version 2`,
		Args: oneName,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		if c.Flags().Changed("version") && q.Version <= 0 {
			return errors.New("--version: write a version as gatehouse secret list --json shows it; without it all are removed")
		}
		q.Name, q.By, q.Expect = args[0], whoAsks(), expect.or(owned.Any)
		done, err := ask[secretChanged](ctx, a, "secret.rm", q)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { done.print(w) })
	})
	f := c.Flags()
	f.Int64Var(&q.Version, "version", 0, "only this version; default: all")
	f.Var(&expect, "expect", "newest version as you know it; without it whatever is there is removed")
	return c
}

func secretAllowCommand(std stdio) *cobra.Command {
	var q secretAllow
	nobody := false
	c := &cobra.Command{
		Use:   "allow NAME --reader PART",
		Short: "Say which parts of the document may refer to a secret",
		Long: `Say which parts of the document may refer to a secret, instead of those before: listen, guards, apis.NAME, or * for all. A part
that is no longer among them goes on until the next load of a document, which is refused while it refers to the secret, and
does not start again.`,
		Example: `  gatehouse secret allow shop/password --reader apis.shop
  gatehouse secret allow tls/key --reader listen --reader apis.shop
  gatehouse secret allow old/key --nobody`,
		Args: oneName,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		if nobody == (len(q.MayRead) > 0) {
			return errors.New("who may read it? add --reader apis.NAME, --reader listen, or --nobody")
		}
		if err := owned.CheckReaders(q.MayRead); err != nil {
			return fmt.Errorf("--reader: %w", err)
		}
		q.Name = args[0]
		done, err := ask[secretChanged](ctx, a, "secret.allow", q)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { done.print(w) })
	})
	f := c.Flags()
	f.StringSliceVar(&q.MayRead, "reader", nil, "a part of the document: listen, guards, apis.NAME, or *; again, or comma-separated, for more")
	f.BoolVar(&nobody, "nobody", false, "no part may refer to it")
	return c
}

func (s secretChanged) print(w io.Writer) {
	version := fmt.Sprintf("version %d", s.Version)
	if s.Version == 0 {
		version = "removed"
	}
	entry(w, "secret", s.Name+", "+version)
	entry(w, "may read", readersOf(s.MayRead))
	if len(s.MayRead) == 0 && s.Version > 0 {
		entry(w, "", "to allow a part of the document: gatehouse secret allow "+s.Name+" --reader apis.NAME")
	}
	for _, reader := range s.Unknown {
		entry(w, "", "the document in force has no "+reader)
	}
	if s.Version > 0 {
		entry(w, "refer to it", "store:"+s.Name)
	}
}
