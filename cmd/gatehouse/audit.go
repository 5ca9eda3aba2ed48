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
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/store"
)

func auditCommand(std stdio) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Tell whether the event log is what was written"}
	c.AddCommand(auditVerifyCommand(std), auditSettleCommand(std))
	return c
}

func auditVerifyCommand(std stdio) *cobra.Command {
	var q auditQuestion
	c := &cobra.Command{
		Use: "verify", Short: "Read the whole event log, and name the first entry that is not what was written",
		Long: `Read the whole event log: whether its entries follow from each other, and whether they bear out the signed checkpoints
that lie beside them, in the store and where audit.checkpoint_to says. The first bad entry of each chain is named by file
and line. The gateway may run meanwhile.

A log that lacked what was signed when a gateway started on it stays bad, whatever is written to it since, until somebody
has looked into it and says so: gatehouse audit settle.

Exit codes: 0 nothing is wrong; 1 something is.`,
		Example: "  gatehouse audit verify\n  gatehouse audit verify --directory /mnt/old/events --json | jq '.bad[]'", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) (err error) {
		if q.Directory != "" {
			if q.Directory, err = filepath.Abs(q.Directory); err != nil {
				return err
			}
		}
		r, err := ask[verifiedLog](ctx, a, "audit.verify", q)
		if err != nil {
			return err
		}
		return r.tell(std, a)
	})
	c.Flags().StringVar(&q.Directory, "directory", "", "directory of the event log; default: that of the document")
	return c
}

func auditSettleCommand(std stdio) *cobra.Command {
	var s settlement
	c := &cobra.Command{
		Use: "settle --reason TEXT", Short: "Say that a log which lacks what was signed was looked into",
		Long: `Say that a log which lacks what was signed was looked into. What speaks against it in the store is removed, so that
gatehouse audit verify judges by what was signed since, and an event tells who has settled it and why. The running gateway
writes that event. Put a copy of the event files away first.

Exit codes: 0 nothing else is wrong with the log; 1 something is, or nothing was settled.`,
		Example: `  gatehouse audit settle --reason "events restored from the backup of Monday, see INC-17"`, Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		if s.Why = strings.TrimSpace(s.Why); s.Why == "" {
			return errors.New("why is it settled? write --reason TEXT; it stands in the event log for whoever asks later")
		}
		s.By = whoAsks()
		r, err := ask[verifiedLog](ctx, a, "audit.settle", s)
		if err != nil {
			return err
		}
		return r.tell(std, a)
	})
	c.Flags().StringVar(&s.Why, "reason", "", "what was found, for the record")
	c.Flags().StringVar(&s.Node, "node", "", "whose log; default: that of the gateway that is asked")
	return c
}

// settlement is somebody's word that a log which lacks what was signed was looked into.
type settlement struct {
	Node string `json:"node"` // whose log; "": that of the gateway that is asked
	Why  string `json:"why"`
	By   string `json:"by"`
}

// verifiedLog is what was found of a log.
type verifiedLog struct {
	audit.Report
	Broken  []brokenWitness `json:"broken,omitempty"`  // what speaks against it until somebody settles it
	Settled []brokenWitness `json:"settled,omitempty"` // what was settled just now
	Outside []string        `json:"outside,omitempty"` // files with checkpoints that a settlement can't reach
}

// tell prints it.
func (r verifiedLog) tell(std stdio, a *asker) error {
	if err := a.print(r, func(w io.Writer) {
		for _, b := range r.Settled {
			entry(w, "settled", tame(b.String()))
		}
		printLog(w, r.Report)
	}); err != nil {
		return err
	}
	if r.OK {
		return nil
	}
	for _, b := range r.Bad {
		fmt.Fprintf(std.err, "gatehouse: %s\n", filepath.Join(r.Directory, b.Error()))
	}
	for _, b := range r.Broken {
		fmt.Fprintf(std.err, "gatehouse: %s\n", tame(b.String()))
	}
	switch {
	case len(r.Broken) > 0:
		fmt.Fprintf(std.err, "gatehouse: put a copy of the event files away and look into it; then run: %s\n", settleHint)
	case len(r.Settled) > 0 && len(r.Outside) > 0:
		fmt.Fprintf(std.err, "gatehouse: checkpoints that were kept outside still speak against the log; put these files away: %s\n", strings.Join(r.Outside, ", "))
	}
	return exit(1)
}

const settleHint = `gatehouse audit settle --reason "what was found"`

// settle writes down that witnesses against a log were looked into, and removes them.
func (h *held) settle(ctx context.Context, n *node, q settlement) (done []brokenWitness, err error) {
	if n == nil {
		return nil, errors.New("no gateway runs here that could write down who has settled it; start one and ask again; nothing was done")
	}
	if strings.TrimSpace(q.Why) == "" {
		return nil, errors.New("a settlement needs a reason; nothing was done")
	}
	if q.Node == "" {
		q.Node = n.written.signing.name
	}
	all, err := h.brokenWitnesses(ctx)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, b := range all {
		if b.Node == q.Node {
			done, words = append(done, b), append(words, b.String())
		}
	}
	if len(done) == 0 {
		return nil, fmt.Errorf("nothing speaks against the event log of %s that could be settled; gatehouse audit verify shows what is wrong with it", q.Node)
	}
	now := n.now()
	if err := n.Record(gate.Event{ID: newID(now), Time: now.UTC(), Kind: gate.KindSystem, Decision: gate.Decision{Verdict: "allow", Reason: "audit.settled"},
		Note: fmt.Sprintf("%s; settled by %s, because: %s", strings.Join(words, "; "), q.By, q.Why)}); err != nil {
		return nil, fmt.Errorf("the event that tells who has settled it can't be written: %w; nothing was done", err)
	}
	for _, b := range done {
		if _, err := h.durable.Write(ctx, store.Write{Key: b.record.Key, Version: b.record.Version}); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, fmt.Errorf("it is written down, but the store still keeps what speaks against the log: %w; ask again", err)
		}
	}
	return done, nil
}

// verifyOwn reads a log as verifyLog does, and holds it against the witnesses that were set aside as well. One of them
// speaks against the log that is written here also when its entry was rotated away since.
func (h *held) verifyOwn(ctx context.Context, cfg audit.Config, own bool, tell control.Progress) (r verifiedLog, err error) {
	all, err := h.brokenWitnesses(ctx)
	if err != nil {
		return r, err
	}
	var lines [][]byte
	for _, b := range all {
		lines = append(lines, b.line)
	}
	if r.Report, err = h.verifyLog(ctx, cfg, lines, tell); err != nil || !own {
		return r, err
	}
	name, err := h.signedAs(ctx, cfg.Directory)
	if err != nil {
		return r, err
	}
	for _, b := range all {
		if b.Node == name {
			r.Broken = append(r.Broken, b)
		}
	}
	if len(r.Broken) > 0 && len(r.Bad) == 0 {
		b := r.Broken[0]
		r.OK, r.Bad = false, []*audit.Bad{{Kind: audit.RolledBack, File: b.Chain + ".jsonl", Seq: b.Seq, What: b.String()}}
	}
	return r, nil
}

// auditQuestion asks for one log.
type auditQuestion struct {
	Directory string `json:"directory"` // with its whole path; "" is the one that is written here
}

// verifyAudit reads a log. What is wrong with it stands in the report.
func (h *held) verifyAudit(n *node) func(context.Context, auditQuestion, control.Progress) (verifiedLog, error) {
	return func(ctx context.Context, q auditQuestion, tell control.Progress) (verifiedLog, error) {
		cfg := h.document.audit.Default(h.places.state)
		if n != nil {
			n.current.Lock()
			cfg = n.written.config
			n.current.Unlock()
		}
		if q.Directory != "" {
			cfg.Directory = q.Directory
		}
		r, err := h.verifyOwn(ctx, cfg, q.Directory == "", tell)
		for _, p := range cfg.CheckpointTo {
			r.Outside = append(r.Outside, p.String())
		}
		return r, err
	}
}

// settleAudit settles what speaks against a log, and reads the one that is written here again.
func (h *held) settleAudit(n *node) func(context.Context, settlement, control.Progress) (verifiedLog, error) {
	return func(ctx context.Context, q settlement, tell control.Progress) (verifiedLog, error) {
		settled, err := h.settle(ctx, n, q)
		if err != nil {
			return verifiedLog{}, err
		}
		r, err := h.verifyAudit(n)(ctx, auditQuestion{}, tell)
		r.Settled = settled
		return r, err
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
