package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
)

func apikeyCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "apikey",
		Short: "Make, replace and revoke API keys, for callers that can't get tokens",
		Long: `Make, replace and revoke API keys, for callers that can't get tokens. A key has an owner, scopes, APIs and an end. It is
shown once; what is kept is a digest. Every node knows of a change within a second.

Only those APIs take keys whose document says in which header: guards.identity.api_keys.`,
		Example: `  gatehouse apikey create --owner billing --scope orders:read --api shop --expires 90d > billing.key
  gatehouse apikey list
  gatehouse apikey rotate mzxw6ytb --overlap 24h > billing.key
  gatehouse apikey revoke mzxw6ytb --why "stood in a log"`,
	}
	c.AddCommand(apikeyCreateCommand(std), apikeyListCommand(std), apikeyRotateCommand(std), apikeyRevokeCommand(std))
	return c
}

// onlyKeyOut is told in the help of each command that prints a key.
const onlyKeyOut = `The key is printed on standard output, this once and alone; everything else goes to standard error. It is nowhere else: who
loses it makes another.`

func apikeyCreateCommand(std stdio) *cobra.Command {
	var q keyAsked
	expires := ""
	c := &cobra.Command{
		Use:   "create --owner NAME --scope SCOPE --api NAME --expires DAY",
		Short: "Make a key and print it, this once",
		Long: `Make a key and print it, this once.

` + onlyKeyOut + `

The owner is the caller: events and rates count by it, and the server behind learns it. Several keys may have one owner.

Exit codes: 0 made; 1 nothing was made.`,
		Example: `  gatehouse apikey create --owner billing --scope orders:read --api shop --expires 90d > billing.key
  gatehouse apikey create --owner billing --scope orders:read,orders:write --role partner --api shop --expires 2027-01-31 --json | jq -r .key`,
		Args: noKeyInArguments,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) (err error) {
		if q.Expires, err = keyEnd(expires, time.Now()); err != nil {
			return err
		}
		q.By = whoAsks()
		done, err := ask[keyMade](ctx, a, "apikey.create", q)
		if err != nil {
			return err
		}
		return done.print(a)
	})
	f := c.Flags()
	f.StringVar(&q.Owner, "owner", "", "who calls with it")
	f.StringSliceVar(&q.Scopes, "scope", nil, "a scope; again, or comma-separated, for more")
	f.StringSliceVar(&q.Roles, "role", nil, "a role; again, or comma-separated, for more")
	f.StringSliceVar(&q.APIs, "api", nil, "an API that it opens; again, or comma-separated, for more")
	f.StringVar(&expires, "expires", "", "when it ends: a day such as 2027-01-31, or how long such as 90d; at most a year")
	f.StringVar(&q.Why, "why", "", "what it is for, for the record")
	return c
}

// keyEnd reads when a key is to end.
func keyEnd(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := untilOf(text, now)
	if err != nil {
		err = errors.New(strings.Replace(err.Error(), "--until", "--expires", 1))
	}
	return t, err
}

func apikeyRotateCommand(std stdio) *cobra.Command {
	var q keyRotation
	expires := ""
	c := &cobra.Command{
		Use:   "rotate ID --overlap TIME",
		Short: "Make a key in the place of another, which is good a while longer",
		Long: `Make a key in the place of another: with the same owner, scopes, roles and APIs, and a life as long. The old one is good for
--overlap, so that nothing stops while the new one is brought to its place; with 0s it is good for nothing any more, at once.

` + onlyKeyOut,
		Example: `  gatehouse apikey rotate mzxw6ytb --overlap 24h > billing.key
  gatehouse apikey rotate mzxw6ytb --overlap 0s --why "stood in a log" > billing.key`,
		Args: oneKeyID,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) (err error) {
		if !c.Flags().Changed("overlap") {
			return errors.New("for how long is the old key good beside the new one? write --overlap 24h, or --overlap 0s for not at all")
		}
		if q.Expires, err = keyEnd(expires, time.Now()); err != nil {
			return err
		}
		q.ID, q.By = args[0], whoAsks()
		done, err := ask[keyMade](ctx, a, "apikey.rotate", q)
		if err != nil {
			return err
		}
		return done.print(a)
	})
	f := c.Flags()
	f.DurationVar(&q.Overlap, "overlap", 0, "for how long the old key is good, such as 24h; never longer than it was")
	f.StringVar(&expires, "expires", "", "when the new one ends, if its life is not to be as long as the old one's")
	f.StringVar(&q.Why, "why", "", "the reason, for the record")
	return c
}

func apikeyListCommand(std stdio) *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: "list", Short: "List the keys: owners, what they open, when they end and were used last; never the keys",
		Long: `List the keys in force, and those that have ended and were not replaced: owners, what they open, when they end, and when they
were used last on any node, to about an hour. With --all also those that were revoked or replaced in the last thirty days. Exit
code 2 when one has ended or ends soon.`,
		Example: "  gatehouse apikey list\n  gatehouse apikey list --json | jq -r '.keys[] | select(.last_use == null) | .id'", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		l, err := ask[keyList](ctx, a, "apikey.list", keyListQuestion{All: all})
		if err != nil {
			return err
		}
		if err := a.print(l, func(w io.Writer) { printAPIKeys(w, l) }); err != nil {
			return err
		}
		if len(l.Findings) > 0 {
			return exit(2)
		}
		return nil
	})
	c.Flags().BoolVar(&all, "all", false, "also those that were revoked or replaced")
	return c
}

func apikeyRevokeCommand(std stdio) *cobra.Command {
	var q keyRevocation
	c := &cobra.Command{
		Use: "revoke ID", Short: "Revoke a key before its end; every node refuses it within a second",
		Long: `Revoke a key before its end. Every node refuses it within a second, and streams that it opened end. It can't be taken back.

gatehouse token revoke --issuer gatehouse:apikey --subject OWNER revokes every key of an owner.`,
		Example: `  gatehouse apikey revoke mzxw6ytb --why "stood in a log"`,
		Args:    oneKeyID,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q.ID, q.By = args[0], whoAsks()
		k, err := ask[apikey.Key](ctx, a, "apikey.revoke", q)
		if err != nil {
			return err
		}
		return a.print(k, func(w io.Writer) {
			entry(w, "revoked", "API key "+k.ID+" of "+tame(k.Owner)+", on every node within a second")
		})
	})
	c.Flags().StringVar(&q.Why, "why", "", "the reason, for the record")
	return c
}

// oneKeyID takes the one argument of a command, and repeats nothing of it: it may be the key.
func oneKeyID(c *cobra.Command, args []string) error {
	if err := noKeyIn(args); err != nil {
		return err
	}
	if len(args) != 1 || !apikey.IsID(args[0]) {
		return fmt.Errorf("which key? write its id of eight letters, as gatehouse apikey list shows it: %s mzxw6ytb", c.CommandPath())
	}
	return nil
}

func noKeyInArguments(c *cobra.Command, args []string) error {
	if err := noKeyIn(args); err != nil {
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("write flags and nothing else; see: %s --help", c.CommandPath())
	}
	return nil
}

// noKeyIn refuses a key in an argument, where every process of this machine sees it.
func noKeyIn(args []string) error {
	if id, _, found := apikey.In(strings.Join(args, " ")); found {
		return fmt.Errorf("never write a key as an argument: every process of this machine sees it, and the shell's history keeps it; write its id, and replace it: gatehouse apikey rotate %s --overlap 0s", id)
	}
	return nil
}

// print prints the key alone on standard output, or all as JSON.
func (m keyMade) print(a *asker) error {
	for _, n := range m.Notes {
		entry(a.io.err, "note", tame(n))
	}
	if a.json {
		return a.print(struct { // without Format, which hides the key
			Key   string      `json:"key"`
			Made  apikey.Key  `json:"made"`
			Old   *apikey.Key `json:"old,omitempty"`
			Notes []string    `json:"notes,omitempty"`
		}(m), nil)
	}
	w := a.io.err
	entry(w, "key", m.Made.ID+" of "+tame(m.Made.Owner)+", shown this once")
	entry(w, "opens", tame(strings.Join(m.Made.APIs, ", ")+", with scopes "+strings.Join(m.Made.Scopes, " ")))
	if len(m.Made.Roles) > 0 {
		entry(w, "roles", tame(strings.Join(m.Made.Roles, ", ")))
	}
	entry(w, "until", m.Made.Expires.Local().Format(time.DateTime))
	if m.Old != nil {
		entry(w, "old key", m.Old.ID+", good until "+endOfKey(*m.Old).Local().Format(time.DateTime))
	}
	_, err := fmt.Fprintln(a.io.out, m.Key)
	return err
}

func printAPIKeys(w io.Writer, l keyList) {
	if len(l.Keys) == 0 {
		fmt.Fprintln(w, "There are no API keys. Make one with: gatehouse apikey create --owner NAME --scope SCOPE --api NAME --expires 90d")
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tOWNER\tSTATE\tUNTIL\tLAST USE\tAPIS\tSCOPES\tROLES")
		for _, k := range l.Keys {
			used := "never"
			if !k.LastUse.IsZero() {
				used = k.LastUse.Local().Format("2006-01-02 15h")
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, tame(k.Owner), tame(k.State), endOfKey(k.Key).Local().Format(time.DateOnly), used,
				tame(strings.Join(k.APIs, ",")), tame(strings.Join(k.Scopes, " ")), tame(strings.Join(k.Roles, ",")))
		}
		_ = t.Flush()
	}
	for _, f := range l.Findings {
		entry(w, "!", tame(f))
	}
}
