package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

func keyCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Show, rotate and recover the keys that everything stored is encrypted with",
		Long: `Show, rotate and recover the keys that everything stored is encrypted with.

One root key opens the keyring, the keyring's keys encrypt the store, one for each purpose. The document says what keeps
the root key (section key); without a word of it, it lies in your configuration directory. These commands work on the
machine itself only, through a socket that nobody but the gateway's own user can open.`,
	}
	c.AddCommand(keyStatusCommand(std), keyRotateCommand(std), keyRekeyCommand(std), keyRecoverCommand(std), keyShareCommand(std))
	return c
}

func keyStatusCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "status", Short: "Show which keys there are, never the keys",
		Example: "  gatehouse key status\n  gatehouse key status --json | jq '.purposes[].purpose'", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		s, err := ask[key.Status](ctx, a, "key.status", nothing{})
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { printKeys(w, s) })
	})
}

func printKeys(w io.Writer, s key.Status) {
	entry(w, "keyring", fmt.Sprintf("%s, installation %s, generation %d", s.Place, s.Installation, s.Generation))
	entry(w, "root key", s.Root.Kind+", "+s.Root.Where)
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PURPOSE\tVERSION\tSINCE\t")
	for _, p := range s.Purposes {
		for i, v := range p.Versions {
			note := ""
			if i > 0 {
				note = "opens what is not sealed anew yet; end it with: gatehouse key rotate " + p.Purpose
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", p.Purpose, v.Version, v.Created.Local().Format(time.DateTime), note)
		}
	}
	_ = t.Flush()
}

// rotation asks for new keys.
type rotation struct {
	Purposes []string `json:"purposes"` // none: all
}

func keyRotateCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "rotate [PURPOSE...]", Short: "Change keys, and encrypt what they encrypted anew",
		Long: `Change the keys of the named purposes, or of all but fleet, and encrypt anew what the old ones encrypted, while the gateway
serves. Old keys are destroyed when nothing needs them any more. Broken off at any point nothing is lost; the same command
goes on where it was.

The key of fleet stays: it encrypts nothing, but makes the names under which nodes keep what they share, so that Redis
learns no caller. A new one would forget which tokens were used.`,
		Example: "  gatehouse key rotate\n  gatehouse key rotate store", Args: cobra.ArbitraryArgs,
	}, func(ctx context.Context, a *asker, args []string) error {
		done, err := ask[[]key.Rotation](ctx, a, "key.rotate", rotation{args})
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) {
			for _, r := range done {
				text := fmt.Sprintf("now version %d", r.To)
				if !r.Done {
					text += fmt.Sprintf("; %d older still open what needs them", len(r.From))
				}
				entry(w, r.Purpose, text)
			}
			if len(args) == 0 {
				entry(w, forFleet, "not changed: "+whyFleetStays)
			}
		})
	})
}

// whyFleetStays is why there is no new key for what nodes share.
const whyFleetStays = "it seals nothing, and nodes that make names with another would not find what they share, such as which tokens were used"

// rotateKeys changes the keys of purposes, one after the other.
func (h *held) rotateKeys(ctx context.Context, q rotation, tell control.Progress) ([]key.Rotation, error) {
	for _, p := range q.Purposes {
		if !slices.Contains(purposes(), p) {
			return nil, fmt.Errorf("there is no key for %q; the purposes are %s", p, strings.Join(purposes(), ", "))
		}
	}
	if slices.Contains(q.Purposes, forFleet) {
		return nil, fmt.Errorf("the key of %s is not changed: %s", forFleet, whyFleetStays)
	}
	var done []key.Rotation
	for _, p := range purposes() {
		if len(q.Purposes) > 0 && !slices.Contains(q.Purposes, p) || p == forFile && h.file == nil || p == forFleet {
			continue
		}
		r, err := h.rotate(ctx, p, tell)
		if err != nil {
			return done, err
		}
		done = append(done, r)
	}
	return done, nil
}

// reseal encrypts anew what a purpose's key encrypts, once no node seals with an older key any more.
func (h *held) reseal(purpose string, tell control.Progress) key.Reseal {
	return func(ctx context.Context, _ key.Rotation) error {
		if err := h.allHaveHeard(ctx, tell); err != nil {
			return err
		}
		switch purpose {
		case forStore:
			if err := h.awaitSealed(ctx, tell); err != nil {
				return err
			}
			_, err := store.Reseal(ctx, h.durable.now(), store.Progress(tell))
			return err
		case forFile:
			current, _ := fileKeys(h.ring)()
			return h.file.Rekey(ctx, current)
		case forAudit:
			return h.keepEventKeys(ctx)
		}
		return nil
	}
}

// left counts what still needs an older key: nodes that have not heard of the new one, and what was sealed again only now.
func (h *held) left(purpose string) key.Left {
	return func(ctx context.Context, _ key.Rotation) (int64, error) {
		behind, err := h.behind(ctx)
		if err != nil || len(behind) > 0 || purpose != forStore {
			return int64(len(behind)), err
		}
		return store.Reseal(ctx, h.durable.now(), nil)
	}
}

// behind names the nodes that seal with an older generation of the keyring than this one. An embedded store has no nodes
// but the processes of this machine, of which those that died need not be waited for.
func (h *held) behind(ctx context.Context) (names []string, err error) {
	if running, err := control.Find(h.places.control()); err == nil && len(running) <= 1 && h.file != nil {
		return nil, nil
	}
	generation := h.ring.Status().Generation
	nodes, err := h.nodes.List(ctx)
	for _, n := range nodes {
		if !n.Self && n.Keyring < generation {
			names = append(names, n.Name)
		}
	}
	return names, err
}

// allHaveHeard waits until every node has the newest generation of the keyring.
func (h *held) allHaveHeard(ctx context.Context, tell control.Progress) error {
	limit := h.now().Add(10 * keyringEvery)
	for {
		behind, err := h.behind(ctx)
		if err != nil || len(behind) == 0 {
			return err
		}
		if h.now().After(limit) {
			return fmt.Errorf("these nodes have not heard of the new key: %s; see to them, and rotate again", strings.Join(behind, ", "))
		}
		tell(0, 0, "waiting for "+strings.Join(behind, ", ")+" to hear of the new key")
		select {
		case <-time.After(keyringEvery / 10):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func keyRekeyCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "rekey", Short: "Put the keyring under the root key that the document names now",
		Long: `Put the keyring under the root key that the section key of the document names now, while the gateway runs under the
old one: change the document, run this, restart. The old root key no longer opens the keyring; it does open older copies of
it, such as the one in each backup made until now: whoever wants to restore one of those needs the old root key, or its
recovery words. A root key in your configuration directory that another there replaces is removed; any other is left where
it lies, and named.`,
		Example: "  gatehouse key rekey --config gatehouse.yaml", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		at, running, err := a.running()
		if err != nil || running == nil {
			return errors.Join(err, fmt.Errorf("no gateway runs on the state in %s, so the old root key is not at hand; start it with the document that names the old one, then run this again; if the old one is lost: gatehouse key recover", at.state))
		}
		b, err := readDocument(ctx, at, a.file)
		if err != nil {
			return fmt.Errorf("read the document that names the new root key: %w", err)
		}
		given, err := ask[handedOut](ctx, a, "key.rekey", newRoot{File: b.File, Document: string(b.Data)})
		if err != nil {
			return err
		}
		return a.print(given, func(w io.Writer) {
			entry(w, "root key", "now "+given.Root.Kind+", "+given.Root.Where)
			given.printOld(w)
			given.print(w)
		})
	})
}

// newRoot is the document whose section key names the new root.
type newRoot struct {
	File     string `json:"file"`
	Document string `json:"document"`
}

// handedOut is what people must write down or carry away. It goes through the control socket to whoever asked, and nowhere else.
type handedOut struct {
	Root      key.Description  `json:"root"`
	Old       *key.Description `json:"old,omitempty"`     // the root before
	OldFile   string           `json:"oldFile,omitempty"` // where its key still lies
	Words     string           `json:"words,omitempty"`
	Shares    []string         `json:"shares,omitempty"`
	Threshold int              `json:"threshold,omitempty"`
}

func handOut(root key.Description, h key.Handout) handedOut {
	out := handedOut{Root: root, Threshold: h.Threshold}
	if !h.Words.IsZero() {
		out.Words = string(h.Words.Reveal())
	}
	for _, s := range h.Shares {
		out.Shares = append(out.Shares, string(s.Reveal()))
	}
	return out
}

// printOld tells what the root before is still needed for.
func (h handedOut) printOld(w io.Writer) {
	if h.Old == nil {
		return
	}
	words := ""
	if h.Old.Kind == "own" || h.Old.Kind == "tpm" {
		words = " or its recovery words"
	}
	entry(w, "old root", h.Old.Kind+", "+h.Old.Where+"; it opens the keyring no more, but the copy of it in each backup made until now")
	switch {
	case h.OldFile != "":
		entry(w, "", "its key still lies in "+h.OldFile+": put a copy"+words+" away from this machine for as long as you keep those backups, then remove the file")
	case h.Old.Kind == "own":
		entry(w, "", "its file was removed: keep its recovery words for as long as you keep those backups, or make a new backup and drop them")
	default:
		entry(w, "", "keep it"+words+" for as long as you keep those backups")
	}
}

func (h handedOut) print(w io.Writer) {
	if h.Words != "" {
		fmt.Fprintf(w, "\nRecovery words: write them down now and keep them off this machine. They are not shown again.\n\n")
		words := strings.Fields(h.Words)
		for i := 0; i < len(words); i += 6 {
			fmt.Fprintf(w, "    %s\n", strings.Join(words[i:min(i+6, len(words))], " "))
		}
		fmt.Fprintln(w)
	}
	if len(h.Shares) > 0 {
		fmt.Fprintf(w, "\n%d shares, of which %d are needed at each start: one for each person. They are not shown again.\n\n", len(h.Shares), h.Threshold)
		for _, s := range h.Shares {
			fmt.Fprintf(w, "    %s\n", s)
		}
		fmt.Fprintln(w)
	}
}

func (h *held) rekey(ctx context.Context, q newRoot, _ control.Progress) (handedOut, error) {
	cfg, err := keySection(q.File, []byte(q.Document))
	if err != nil {
		return handedOut{}, err
	}
	root, err := key.NewRoot(cfg, h.ring.Status().Installation, h.keyOptions)
	if err != nil {
		return handedOut{}, err
	}
	var given key.Handout
	old := h.ring.Status().Root
	if err = h.ring.Rekey(ctx, root, func(out key.Handout) error { given = out; return nil }); err != nil {
		return handOut(root.Describe(), given), err
	}
	h.changed.key.Store(&cfg)
	out := handOut(root.Describe(), given)
	out.Old = &old
	if _, err := os.Lstat(old.File); old.File != "" && old.File != out.Root.File && err == nil {
		out.OldFile = old.File
	}
	return out, nil
}

func keySection(file string, text []byte) (cfg key.Config, err error) {
	d, err := config.Parse(file, text)
	var m mistake.List
	m.Under("", err)
	if d != nil {
		cfg, _, err = config.Section[key.Config](d, "key")
		m.Under("", err)
		m.Under("", d.Place(cfg.Check(), "key"))
	}
	return cfg, m.Err()
}

func keyRecoverCommand(std stdio) *cobra.Command {
	a := &asker{io: std}
	c := &cobra.Command{
		Use: "recover", Short: "Open the keyring with its recovery words, and put it under the root key of the document",
		Long: `Open the keyring with its recovery words, read from standard input, and put it under the root key that the section key
of the document names; without that section, under a new one in your configuration directory. No gateway may run meanwhile.`,
		Example: "  gatehouse key recover < words.txt", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			given, err := recoverKeys(c.Context(), a)
			if err != nil {
				return err
			}
			return a.print(given, func(w io.Writer) {
				entry(w, "root key", "now "+given.Root.Kind+", "+given.Root.Where)
				given.print(w)
			})
		},
	}
	a.flags(c)
	return c
}

func recoverKeys(ctx context.Context, a *asker) (given handedOut, err error) {
	at, err := findPlaces()
	if err != nil {
		return given, err
	}
	if running, err := control.Find(at.control()); err != nil || len(running) > 0 {
		return given, cmp.Or(err, fmt.Errorf("a gateway runs on the state in %s, so its keyring is open; put it under another root with: gatehouse key rekey", at.state))
	}
	if terminal(a.io.err) {
		fmt.Fprintln(a.io.err, "Type the 24 recovery words, which the screen shows, then Enter and Ctrl-D:")
	}
	text, err := io.ReadAll(io.LimitReader(a.io.in, 1<<10))
	if err != nil {
		return given, err
	}
	words, err := secret.New(text, "of recovery words")
	if err != nil {
		return given, errors.New("no words were given; write the 24 recovery words to standard input")
	}
	root, err := key.FromWords(words, random())
	if err != nil {
		return given, err
	}
	document, err := sectionsOf(ctx, at, a.file, time.Now())
	if err != nil {
		return given, err
	}
	o := opening{places: at, document: document, log: logger(a.io), now: time.Now, root: root}
	h := &held{opening: o}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := o.openStore(ctx, h); err != nil {
		return given, err
	}
	options := h.keyOptions
	options.Root = nil
	next, err := key.NewRoot(document.key, h.ring.Status().Installation, options)
	if err != nil {
		return given, err
	}
	var out key.Handout
	err = h.ring.Rekey(ctx, next, func(o key.Handout) error { out = o; return nil })
	return handOut(next.Describe(), out), err
}

func keyShareCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "share", Short: "Give one share of the root key to a gateway that waits for it",
		Long: `Give one share of the root key, read from standard input, to a gateway that waits for shares. After a wrong one the
next must wait, longer each time.`,
		Example: "  gatehouse key share < my-share.txt", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *asker, _ []string) error {
		if people(a.io.err) {
			fmt.Fprintln(a.io.err, "Type the share, which the screen shows, then Enter and Ctrl-D; or give a file: gatehouse key share < my-share.txt")
		}
		text, err := io.ReadAll(io.LimitReader(a.io.in, 4<<10))
		if err != nil {
			return err
		}
		p, err := ask[key.Progress](ctx, a, "key.share", share{strings.TrimSpace(string(text))})
		if err != nil {
			return err
		}
		return a.print(p, func(w io.Writer) { entry(w, "shares", fmt.Sprintf("%d of %d are missing", p.Missing, p.Needed)) })
	})
}

type share struct {
	Text string `json:"text"`
}

// giveShare hands a share to the start that waits.
func giveShare(c *key.Collector) func(context.Context, share, control.Progress) (key.Progress, error) {
	return func(_ context.Context, q share, _ control.Progress) (key.Progress, error) {
		v, err := secret.New([]byte(q.Text), "share")
		if err != nil {
			return key.Progress{}, errors.New("no share was given; write it to standard input")
		}
		return c.Give("control socket", v)
	}
}

// tellFirst tells what must be written down when a keyring was made just now: on a terminal, since words in a log are words
// that everybody reads.
func tellFirst(w io.Writer, first *key.FirstStart) {
	if first == nil {
		return
	}
	made := slices.Contains([]string{"own", "tpm", "shares"}, first.Root.Kind)
	if !people(w) {
		what := "everything stored here is encrypted under the root key"
		if made {
			what = "made a root key"
		}
		fmt.Fprintf(w, "gatehouse: %s (%s, %s). Back it up apart from this machine.\n", what, first.Root.Kind, first.Root.Where)
		if !first.Words.IsZero() {
			fmt.Fprintln(w, "gatehouse: its recovery words are not shown here, where they would stay in a log; to get some, and write them down: gatehouse key rekey --config DOCUMENT")
		}
		return
	}
	when := ""
	if made {
		when = " was made just now"
	}
	fmt.Fprintf(w, "\nEverything stored here is encrypted. Its root key%s: %s.\n", when, first.Root.Where)
	handOut(first.Root, first.Handout).print(w)
}
