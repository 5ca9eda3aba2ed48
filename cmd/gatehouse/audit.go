package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/kit/control"
)

func auditCommand(std stdio) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Tell whether the event log is what was written"}
	c.AddCommand(auditVerifyCommand(std))
	return c
}

func auditVerifyCommand(std stdio) *cobra.Command {
	var q auditQuestion
	c := &cobra.Command{
		Use: "verify", Short: "Read the whole event log, and name the first entry that is not what was written",
		Long: `Read the whole event log: whether its entries follow from each other, and whether they bear out the signed checkpoints
that lie beside them, in the store and where audit.checkpoint_to says. The first bad entry of each chain is named by file
and line. The gateway may run meanwhile.

Exit codes: 0 nothing is wrong; 1 something is.`,
		Example: "  gatehouse audit verify\n  gatehouse audit verify --directory /mnt/old/events --json | jq '.bad[]'", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) (err error) {
		if q.Directory != "" {
			if q.Directory, err = filepath.Abs(q.Directory); err != nil {
				return err
			}
		}
		r, err := ask[audit.Report](ctx, a, "audit.verify", q)
		if err != nil {
			return err
		}
		if err := a.print(r, func(w io.Writer) { printLog(w, r) }); err != nil {
			return err
		}
		if !r.OK {
			for _, b := range r.Bad {
				fmt.Fprintf(std.err, "gatehouse: %s\n", filepath.Join(r.Directory, b.Error()))
			}
			return exit(1)
		}
		return nil
	})
	c.Flags().StringVar(&q.Directory, "directory", "", "directory of the event log; default: that of the document")
	return c
}

// auditQuestion asks for one log.
type auditQuestion struct {
	Directory string `json:"directory"` // with its whole path; "" is the one that is written here
}

// verifyAudit reads a log. What is wrong with it stands in the report.
func (h *held) verifyAudit(n *node) func(context.Context, auditQuestion, control.Progress) (audit.Report, error) {
	return func(ctx context.Context, q auditQuestion, tell control.Progress) (audit.Report, error) {
		cfg := h.document.audit.Default(h.places.state)
		if n != nil {
			n.current.Lock()
			cfg = n.written.config
			n.current.Unlock()
		}
		if q.Directory != "" {
			cfg.Directory = q.Directory
		}
		return h.verifyLog(ctx, cfg, nil, tell)
	}
}

// verifyLog holds the log in a directory against every checkpoint that is known.
func (h *held) verifyLog(ctx context.Context, cfg audit.Config, witness [][]byte, tell func(done, total int64, what string)) (audit.Report, error) {
	keys, err := h.eventKeys(ctx)
	if err != nil {
		return audit.Report{}, err
	}
	known, err := h.checkpointsOf(ctx, "")
	if err != nil {
		return audit.Report{}, err
	}
	witness = append(witness, known...)
	if _, err := os.Stat(cfg.Directory); errors.Is(err, fs.ErrNotExist) && len(witness) == 0 {
		return audit.Report{Directory: cfg.Directory, OK: true}, nil // none was written yet
	}
	for _, p := range cfg.CheckpointTo {
		data, err := os.ReadFile(strings.TrimPrefix(p.String(), "file:"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return audit.Report{}, fmt.Errorf("checkpoints that were kept elsewhere: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			witness = append(witness, []byte(strings.TrimSuffix(line, "\n")))
		}
	}
	return audit.VerifyDirectory(ctx, cfg.Directory, audit.Options{Keys: keys, Witness: witness, Keep: cfg.Keep, Progress: tell, Now: h.now})
}

func printLog(w io.Writer, r audit.Report) {
	entry(w, "log", fmt.Sprintf("%s, %s, %s, read in %s", r.Directory, count(int(r.Entries), "event"), amount(r.Bytes), r.Took.Round(time.Millisecond)))
	for _, c := range r.Chains {
		text := fmt.Sprintf("%d to %d", c.First, c.Last)
		switch {
		case !c.Anchored:
			text += "; no signed checkpoint fixes them: they agree with each other, and that is all"
		case c.Sealed != nil:
			text += fmt.Sprintf("; signed up to %d on %s by %s", c.Sealed.Seq, c.Sealed.Time.Local().Format(time.DateTime), tame(c.Sealed.Node))
		}
		if c.Unsealed > 0 && c.Anchored {
			text += fmt.Sprintf("; %d since", c.Unsealed)
		}
		if c.RotatedAway > 0 {
			text += fmt.Sprintf("; %d went with the oldest files", c.RotatedAway)
		}
		entry(w, c.Name, text)
	}
	if r.OK {
		entry(w, "verdict", "nothing is wrong")
	}
}
