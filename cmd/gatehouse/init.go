package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/listen"
)

// initial is what the flags of init say.
type initial struct {
	out, listen      string
	to               []string
	issuer, audience string
	cert, key        string
}

func initCommand(std stdio) *cobra.Command {
	var q initial
	c := &cobra.Command{
		Use:   "init CONTRACT...",
		Short: "Write a document from contracts",
		Long: `Write a document from contracts: one API for each, in the order in which they are given, with --to for each in the
same order. It asks nothing. What no flag says is a line to fill in, and check names each of them.`,
		Example: `  gatehouse init orders.yaml --to http://10.0.0.7:9001 --issuer https://id.example/realms/shop --audience orders
  gatehouse check`,
		Args: func(_ *cobra.Command, contracts []string) error {
			if len(contracts) == 0 {
				return errors.New("which APIs? add the file of each contract, such as: gatehouse init orders.yaml")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, contracts []string) error {
			text, err := q.document(contracts)
			if err != nil {
				return err
			}
			if q.out == "-" {
				_, err := fmt.Fprint(std.out, text)
				return err
			}
			if err := writeNew(q.out, text); err != nil {
				return err
			}
			_, err = fmt.Fprintf(std.err, "wrote %s; next: gatehouse check --config %s\n", q.out, q.out)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&q.out, "out", "gatehouse.yaml", "file to write; - prints")
	f.StringArrayVar(&q.to, "to", nil, "URL of the server behind; once for each contract, in the same order")
	f.StringVar(&q.listen, "listen", "https://localhost:8443", "address to serve on")
	f.StringVar(&q.issuer, "issuer", "", "URL of the OIDC issuer whose tokens are accepted")
	f.StringVar(&q.audience, "audience", "", "audience that its tokens must name")
	f.StringVar(&q.cert, "cert", "", "file with the certificate and its chain, PEM")
	f.StringVar(&q.key, "key", "", "reference to its key: file:/path or env:NAME")
	return c
}

// writeNew writes a file that is not there yet.
func writeNew(name, text string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // no secret stands in a document, and the user who serves by it must read it
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten; write elsewhere with --out FILE, or print with --out -", name)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// document writes the document. A key without a value is a mistake wherever it stands, so that nothing that still has to
// be filled in can be served.
func (q initial) document(contracts []string) (string, error) {
	if len(q.to) > len(contracts) {
		return "", fmt.Errorf("%s for %s: give --to once for each contract, in the same order; further servers are added in the document", count(len(q.to), "--to"), count(len(contracts), "contract"))
	}
	address, err := listen.ParseAddress(q.listen)
	if err != nil {
		return "", fmt.Errorf("--listen: %w", err)
	}
	var b strings.Builder
	b.WriteString("# What this gateway serves and by which rules. Every key: gatehouse schema --reference\n")
	fmt.Fprintf(&b, "listen:\n  at: [%s]\n", scalar(q.listen))
	if address.Secure() {
		b.WriteString("  certificates:\n")
		fmt.Fprintf(&b, "    - cert:%s\n", value(q.cert, "file with the certificate and its chain, PEM"))
		fmt.Fprintf(&b, "      key:%s\n", value(q.key, "reference to its key: file:/path or env:NAME"))
	}
	b.WriteString("guards:\n  identity:\n    issuers:\n")
	fmt.Fprintf(&b, "      - issuer:%s\n", value(q.issuer, "URL of the OIDC issuer whose tokens are accepted"))
	fmt.Fprintf(&b, "        audience:%s\n", value(q.audience, "what its tokens for these APIs name as aud"))
	b.WriteString("apis:\n")
	names := map[string]int{}
	for i, contract := range contracts {
		if _, err := os.Stat(contract); err != nil {
			return "", fmt.Errorf("read the contract: %w", err)
		}
		server := ""
		if i < len(q.to) {
			server = q.to[i]
			if u, err := url.Parse(server); err != nil || u.Host == "" {
				return "", fmt.Errorf("--to: %q is not the URL of a server; write it as http://10.0.0.7:9001", server)
			}
		}
		fmt.Fprintf(&b, "  - name: %s\n    contract: %s\n    to:%s\n", scalar(unlike(names, nameOf(contract))), scalar(q.relative(contract)), servers(server))
	}
	return b.String(), nil
}

func servers(url string) string {
	if url == "" {
		return " # [URL of the server behind]"
	}
	return " [" + scalar(url) + "]"
}

// value is what a flag says, or nothing and a comment that says what is wanted.
func value(said, wanted string) string {
	if said == "" {
		return " # " + wanted
	}
	return " " + scalar(said)
}

// scalar writes a text so that it is read as that text.
func scalar(text string) string {
	out, err := yaml.Marshal(text)
	if err != nil || strings.ContainsAny(text, ",[]{}\n") {
		return fmt.Sprintf("%q", text)
	}
	return strings.TrimSpace(string(out))
}

// unlike makes names differ: contracts of two folders may be called the same.
func unlike(names map[string]int, name string) string {
	names[name]++
	if n := names[name]; n > 1 {
		return fmt.Sprintf("%s-%d", name, n)
	}
	return name
}

// relative is the contract's file as the document names it: from the document's own folder.
func (q initial) relative(contract string) string {
	if filepath.IsAbs(contract) || q.out == "-" {
		return contract
	}
	folder, err := filepath.Abs(filepath.Dir(q.out))
	if err != nil {
		return contract
	}
	full, err := filepath.Abs(contract)
	if err != nil {
		return contract
	}
	if short, err := filepath.Rel(folder, full); err == nil {
		return short
	}
	return full
}
