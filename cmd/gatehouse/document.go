package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/secret"
)

func documentCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "document",
		Short: "Sign documents, so that a gateway takes no other and no old one",
		Long: `Sign documents, so that a gateway takes no other and no old one.

A note beside the document (gatehouse.yaml.sig) has its version, the day on which it ends, and the digest of the document
and of every file that it names. A gateway that is started with --signed-by puts nothing in force that stands in no note of a
pinned key, nor anything older than what it accepted before.`,
		Example: `  gatehouse document keygen --name shop-2026 --out signing.key
  gatehouse document sign --config gatehouse.yaml --key file:signing.key --expires 90d
  gatehouse serve --config gatehouse.yaml --signed-by 'shop-2026+1f2e3d4c+Aa...'`,
	}
	c.AddCommand(documentKeygenCommand(std), documentSignCommand(std), documentVerifyCommand(std))
	return c
}

func documentKeygenCommand(std stdio) *cobra.Command {
	var name, out string
	c := &cobra.Command{
		Use: "keygen --name NAME --out FILE", Short: "Make a key to sign documents with, and print what --signed-by pins",
		Example: "  gatehouse document keygen --name shop-2026 --out signing.key", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if name == "" || out == "" {
				return errors.New("add --name NAME, which tells people which installation and which key, and --out FILE for the secret")
			}
			signer, verifier, err := source.GenerateKey(random(), name)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // a key that is there is never replaced
			if err != nil {
				return fmt.Errorf("write the signing key: %w", err)
			}
			_, err = fmt.Fprintln(f, signer)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return err
			}
			fmt.Fprintf(std.err, "The signing key is in %s: keep it where documents are approved, never on a gateway. Pin this:\n", out)
			_, err = fmt.Fprintln(std.out, verifier)
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the key")
	c.Flags().StringVar(&out, "out", "", "file for the secret; it must not exist")
	return c
}

func documentSignCommand(std stdio) *cobra.Command {
	var file string
	var ref secret.Ref
	var version int64
	var life time.Duration
	c := &cobra.Command{
		Use: "sign --config FILE --key REF", Short: "Check a document and write its note",
		Long: `Check a document and write its note: version, end, and the digest of the document and of every file that it names. The
version is one more than that of the note that is there, unless --version says otherwise.`,
		Example: "  gatehouse document sign --config gatehouse.yaml --key file:signing.key", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := ref.Resolve()
			if err != nil {
				return fmt.Errorf("--key: %w", err)
			}
			if version, err = nextVersion(file+source.NoteSuffix, version); err != nil {
				return err
			}
			files, err := filesOf(file)
			if err != nil {
				return err
			}
			expires := time.Now().Add(life)
			note, err := source.Sign(filepath.Dir(file), filepath.Base(file), files, version, expires, strings.TrimSpace(string(key.Reveal())))
			if err != nil {
				return err
			}
			if err := replaceFile(file+source.NoteSuffix, note); err != nil {
				return err
			}
			fmt.Fprintf(std.err, "%s: version %d, %s, until %s\n", file+source.NoteSuffix, version, count(len(files), "file"), expires.Local().Format(time.DateTime))
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "config", "c", "gatehouse.yaml", "the document")
	f.TextVar(&ref, "key", secret.Ref{}, "reference to the signing key, such as file:signing.key")
	f.Int64Var(&version, "version", 0, "version of the document; default: one more than that of the note that is there")
	life = 90 * 24 * time.Hour
	f.Var((*lifetime)(&life), "expires", "how long it may be put in force, such as 90d or 12h")
	return c
}

// lifetime is a time on the command line that may be given in days.
type lifetime time.Duration

// Set reads 90d, 12h, 1h30m.
func (l *lifetime) Set(text string) error {
	days, whole := strings.CutSuffix(text, "d")
	n, err := strconv.ParseUint(days, 10, 16)
	if whole && err == nil {
		*l = lifetime(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no time; write days or hours, such as 90d or 12h", text)
	}
	*l = lifetime(d)
	return nil
}

func (l *lifetime) String() string {
	if d := time.Duration(*l); d%(24*time.Hour) != 0 {
		return d.String()
	}
	return fmt.Sprintf("%dd", time.Duration(*l)/(24*time.Hour))
}

// Type is what the help calls the value.
func (*lifetime) Type() string { return "time" }

// nextVersion is the version asked for, or one more than that of a note that is there. No key is needed to read it.
func nextVersion(note string, asked int64) (int64, error) {
	if asked > 0 {
		return asked, nil
	}
	text, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var v int64
		if n, _ := fmt.Sscanf(line, "version %d", &v); n == 1 {
			return v + 1, nil
		}
	}
	return 0, fmt.Errorf("%s is no note; remove it, or say which --version this is", note)
}

// filesOf checks a document and lists what it was made of, relative to its folder.
func filesOf(file string) ([]string, error) {
	s, err := source.Open(file, source.Options{})
	if err != nil {
		return nil, err
	}
	b, err := s.Read(context.Background())
	if err != nil {
		return nil, err
	}
	at, err := findPlaces()
	if err != nil {
		return nil, err
	}
	n := newNode(at.state, slog.New(slog.DiscardHandler), waf.Load())
	defer n.close()
	if n.kept.dev, err = dev.Open(at.state, random()); err != nil {
		return nil, err
	}
	if _, err := n.load(b); err != nil {
		return nil, err
	}
	return b.Files(), nil
}

// replaceFile writes a file that is either wholly there or as it was.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func documentVerifyCommand(std stdio) *cobra.Command {
	a := &asker{io: std}
	var file string
	var keys []string
	c := &cobra.Command{
		Use: "verify --config FILE --signed-by KEY", Short: "Tell whether a document is what its note says, and whether the note is by a pinned key",
		Example: "  gatehouse document verify --config gatehouse.yaml --signed-by \"$(cat shop.pub)\"", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := os.ReadFile(file + source.NoteSuffix)
			if err != nil {
				return fmt.Errorf("read the note: %w; sign the document with: gatehouse document sign", err)
			}
			note, err := source.Verify(text, keys)
			if err != nil {
				return fmt.Errorf("%s: %w", file+source.NoteSuffix, err)
			}
			folder := filepath.Dir(file)
			differs := note.Differs(func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(folder, filepath.FromSlash(name))) })
			err = a.print(note, func(w io.Writer) {
				entry(w, "note", fmt.Sprintf("version %d of %s, until %s", note.Version, note.Document, note.Expires.Local().Format(time.DateTime)))
				entry(w, "signed by", strings.Join(note.SignedBy, ", "))
				entry(w, "files", fmt.Sprint(len(note.Files)))
			})
			switch {
			case err != nil:
				return err
			case len(differs) > 0:
				return fmt.Errorf("not what was signed: %s; put the signed files back, or sign the document again", strings.Join(differs, ", "))
			case !note.Expires.After(time.Now()):
				return fmt.Errorf("the note ended on %s; sign the document again", note.Expires.Local().Format(time.DateTime))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "config", "c", "gatehouse.yaml", "the document")
	f.StringArrayVar(&keys, "signed-by", nil, "pinned key, as gatehouse document keygen printed it; again for more")
	f.BoolVar(&a.json, "json", false, "print JSON")
	return c
}
