package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/backup"
)

func backupCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use: "backup", Short: "Make backups, prove them, and bring one back",
		Long: `Make backups, prove them, and bring one back.

A backup holds the store, the wrapped keys, the document with all that it is made of, and the event log. It is encrypted to
the recipients that the section backup names, signed, and restored into a scratch place as soon as it is made, to see that
it is whole. The root key is in no backup: keep it, or its recovery words, elsewhere.`,
	}
	c.AddCommand(backupCreateCommand(std), backupListCommand(std), backupVerifyCommand(std), backupRestoreCommand(std))
	return c
}

func backupCreateCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "create", Short: "Make a backup now, bring it to its place, and prove it",
		Long: `Make a backup now, bring it to its place, and prove it by restoring it. The gateway serves meanwhile.

Exit codes: 0 it is there and proven; 1 it waits since its place can't be reached, it could not be proven, or none was made.`,
		Example: "  gatehouse backup create\n  gatehouse backup create --json | jq .name", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		m, err := ask[madeBackup](ctx, a, "backup.create", nothing{})
		if err != nil {
			return err
		}
		if err := a.print(m, func(w io.Writer) { printMade(w, m) }); err != nil {
			return err
		}
		if m.Problem != "" {
			return errors.New(m.Problem)
		}
		return nil
	})
}

func printMade(w io.Writer, m madeBackup) {
	entry(w, "backup", m.Name)
	if m.Waiting {
		entry(w, "place", "it waits; "+m.Place+" can't be reached")
	} else {
		entry(w, "place", m.Place)
	}
	entry(w, "holds", fmt.Sprintf("%s, %s, %s encrypted, in %s", count(m.Parts, "part"), amount(m.Contents), amount(m.Size), m.Took.Round(time.Millisecond)))
	for _, absent := range m.Absent {
		entry(w, "without", absent.Name+": "+absent.Why)
	}
	if m.Proof != nil {
		printProof(w, *m.Proof)
	}
}

// amount writes a number of bytes for people.
func amount(bytes int64) string {
	switch {
	case bytes < 1<<10:
		return count(int(bytes), "byte")
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	case bytes < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

func printProof(w io.Writer, p backup.Proof) {
	for _, c := range p.Checks {
		verdict := "good: "
		if !c.OK {
			verdict = "BAD: "
		}
		entry(w, "  "+c.Name, verdict+tame(c.Said))
	}
	if p.OK {
		entry(w, "proof", fmt.Sprintf("restored and checked in %s", p.Took.Round(time.Millisecond)))
	}
}

func backupListCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "list", Short: "List the backups in their place, and those that wait for it",
		Example: "  gatehouse backup list\n  gatehouse backup list --json | jq -r '.backups[-1].name'", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		l, err := ask[listed](ctx, a, "backup.list", nothing{})
		if err != nil {
			return err
		}
		if err := a.print(l, func(w io.Writer) { printBackups(w, l.Backups) }); err != nil {
			return err
		}
		if l.Problem != "" {
			return errors.New(l.Problem)
		}
		return nil
	})
}

func printBackups(w io.Writer, all []backup.Listed) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There is no backup yet; make one with: gatehouse backup create")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tMADE\tSIZE\tPROOF")
	for _, b := range all {
		proof := "not proven"
		switch {
		case b.Waiting:
			proof = "waits for its place, in " + b.Where
		case b.Proof != nil && b.Proof.OK:
			proof = "good on " + b.Proof.At.Local().Format(time.DateTime)
		case b.Proof != nil && b.Proof.Flaw != nil:
			proof = "BAD: " + tame(b.Proof.Flaw.Error())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", tame(b.Name), b.Time.Local().Format(time.DateTime), amount(b.Size), proof)
	}
	_ = t.Flush()
}

func backupVerifyCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "verify [NAME]", Short: "Restore a backup into a scratch place, check it, and remove it again",
		Long: `Restore a backup into a scratch place, check it, and remove it again: every byte, the keyring, the store, one secret,
the event log against its signed checkpoints, the document as serve would load it. Without a name, the newest; that one must
also be as new as the document says.

Exit codes: 0 it is good; 1 it is not, and what is wrong stands there.`,
		Example: "  gatehouse backup verify\n  gatehouse backup verify gatehouse-20261122T120000Z-0a1b2c3d-1048576.age", Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, a *asker, args []string) error {
		var q oneBackup
		if len(args) > 0 {
			q.Name = args[0]
		}
		p, err := ask[backup.Proof](ctx, a, "backup.verify", q)
		if err != nil {
			return err
		}
		err = a.print(p, func(w io.Writer) {
			entry(w, "backup", tame(p.Backup))
			printProof(w, p)
		})
		if err == nil && p.Flaw != nil {
			err = p.Flaw
		}
		return err
	})
}
