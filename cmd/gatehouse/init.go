package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

func initCommand(std stdio) *cobra.Command {
	var out, issuer, audience, listen string
	var to []string
	c := &cobra.Command{
		Use:   "init CONTRACT...",
		Short: "Write a document from contracts",
		Long: `Write a document from contracts: one API for each, in the order in which they are given, with --to for each in the
same order. What is not said by a flag is written as a line to fill in, which check then names.`,
		Example: `  gatehouse init orders.yaml --to http://10.0.0.7:9001 --issuer https://id.example/realms/shop --audience orders
  gatehouse check`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, contracts []string) error {
			if len(to) > len(contracts) {
				return fmt.Errorf("%s for %s: give --to once for each contract, in the same order; further servers are added in the document", count(len(to), "--to"), count(len(contracts), "contract"))
			}
			text, err := document(contracts, to, listen, issuer, audience)
			if err != nil {
				return err
			}
			if out == "-" {
				_, err := fmt.Fprint(std.out, text)
				return err
			}
			file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s is there already and is not overwritten; write elsewhere with --out FILE, or print with --out -", out)
			}
			if err != nil {
				return err
			}
			_, err = file.WriteString(text)
			if err = errors.Join(err, file.Close()); err != nil {
				return err
			}
			fmt.Fprintf(std.err, "wrote %s; next: gatehouse check --config %s\n", out, out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "gatehouse.yaml", "file to write; - prints")
	f.StringArrayVar(&to, "to", nil, "URL of the server behind; once for each contract, in the same order")
	f.StringVar(&listen, "listen", "https://localhost:8443", "address to serve on")
	f.StringVar(&issuer, "issuer", "", "URL of the OIDC issuer whose tokens are accepted")
	f.StringVar(&audience, "audience", "", "audience that its tokens must name")
	return c
}

// document writes the document for init.
func document(contracts, to []string, listen, issuer, audience string) (string, error) {
	who := map[string]string{"issuer": orFill(issuer, "https://id.example/realms/shop"), "audience": orFill(audience, "the name of this API at the issuer")}
	certificate := yaml.MapSlice{{Key: "cert", Value: "/etc/gatehouse/tls.crt"}, {Key: "key", Value: "file:/etc/gatehouse/tls.key"}}
	var apis []any
	for i, contract := range contracts {
		server := ""
		if i < len(to) {
			server = to[i]
		}
		api := yaml.MapSlice{{Key: "name", Value: nameOf(contract)}, {Key: "contract", Value: contract}, {Key: "to", Value: []string{orFill(server, "http://127.0.0.1:8080")}}}
		apis = append(apis, api)
	}
	text, err := yaml.MarshalWithOptions(yaml.MapSlice{
		{Key: "listen", Value: yaml.MapSlice{{Key: "at", Value: []string{listen}}, {Key: "certificates", Value: []any{certificate}}}},
		{Key: "guards", Value: yaml.MapSlice{{Key: "identity", Value: map[string]any{"issuers": []any{who}}}}},
		{Key: "apis", Value: apis},
	}, yaml.IndentSequence(true))
	head := "# What this gateway serves and by which rules. Every key: gatehouse schema --reference\n"
	return head + strings.TrimLeft(string(text), "\n"), err
}

func orFill(said, example string) string {
	if said != "" {
		return said
	}
	return example
}
