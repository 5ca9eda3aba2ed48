package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func random() io.Reader { return rand.Reader }

// quick is what the flags of run say.
type quick struct {
	contract string
	to       []string
	listen   string
	issuer   string
	audience string
	rate     string
	show     bool
}

func runCommand(io stdio) *cobra.Command {
	var q quick
	c := &cobra.Command{
		Use:   "run --openapi FILE --to URL",
		Short: "Protect one API now, without a configuration file",
		Long: `Protect one API now, without a configuration file.

Everything that the contract does not declare is refused: paths, methods, parameters, properties, media types, missing and
bad tokens. The WAF inspects what is left; sizes and rates are limited. A table says what protects each operation, what is
still open, and the line that closes it.

Without --issuer a development issuer is on, for this machine only: gatehouse token prints its tokens.`,
		Example: `  gatehouse run --openapi orders.yaml --to http://127.0.0.1:9001
  curl --cacert <(gatehouse ca) -H "Authorization: Bearer $(gatehouse token --as alice)" https://localhost:8443/orders
  gatehouse run --openapi orders.yaml --to http://127.0.0.1:9001 --issuer https://id.example/realms/shop --audience orders`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return q.run(c.Context(), io) },
	}
	f := c.Flags()
	f.StringVar(&q.contract, "openapi", "", "the contract: a file with OpenAPI 3.0 or 3.1")
	f.StringArrayVar(&q.to, "to", nil, "URL of the server behind; again for each further server")
	f.StringVar(&q.listen, "listen", "https://localhost:8443", "address to serve on; http:// only on loopback")
	f.StringVar(&q.issuer, "issuer", "", "URL of the OIDC issuer whose tokens are accepted")
	f.StringVar(&q.audience, "audience", "", "audience that its tokens must name")
	f.StringVar(&q.rate, "rate", "50/s burst 200", "requests from one address")
	f.BoolVar(&q.show, "show-config", false, "print the document that these flags stand for, and stop")
	return c
}

func (q quick) run(ctx context.Context, io stdio) error {
	text, err := q.document()
	if err != nil {
		return err
	}
	if q.show {
		_, err := fmt.Fprint(io.out, text)
		return err
	}
	state, err := stateDirectory()
	if err != nil {
		return err
	}
	n := newNode(state, logger(io), waf.Load())
	if n.kept.dev, err = dev.Open(state, random()); err != nil {
		return err
	}
	l, err := n.load("(flags of run)", []byte(text))
	if err != nil {
		return unplaced(err)
	}
	if q.issuer == "" {
		for _, a := range l.listen.At {
			if !a.Loopback() {
				return fmt.Errorf("%s is not a loopback address, and without --issuer everybody on this machine can make tokens; add --issuer URL --audience NAME", a)
			}
		}
	}
	if err := n.start(l, true); err != nil {
		return unplaced(err)
	}
	if err := printTable(io.err, l.gateway.Table(), l.listen.Limits.InForce(), terminal(io.err)); err != nil {
		return err
	}
	q.greet(io.err, n)
	return n.live(ctx)
}

// document writes the document that the flags stand for. It is the same kind that serve reads: run knows no other way.
func (q quick) document() (string, error) {
	switch {
	case q.contract == "":
		return "", errors.New("which API? add --openapi FILE")
	case len(q.to) == 0:
		return "", errors.New("where is the server? add --to URL, such as --to http://127.0.0.1:9001")
	case q.issuer != "" && q.audience == "":
		return "", errors.New("--issuer without --audience would accept tokens made for any other API of that issuer; add --audience NAME")
	case q.issuer == "" && q.audience != "":
		return "", errors.New("--audience belongs to an issuer; add --issuer URL")
	}
	identity := map[string]any{"development": map[string]any{"accept_risk": "gatehouse run without --issuer, on loopback only"}}
	if q.issuer != "" {
		identity = map[string]any{"issuers": []any{map[string]any{"issuer": q.issuer, "audience": q.audience}}}
	}
	doc := yaml.MapSlice{
		{Key: "listen", Value: map[string]any{"at": []string{q.listen}, "admin": "http://127.0.0.1:0"}},
		{Key: "guards", Value: yaml.MapSlice{{Key: "identity", Value: identity}, {Key: "rate", Value: map[string]any{"per_address": q.rate}}}},
		{Key: "apis", Value: []any{yaml.MapSlice{{Key: "name", Value: nameOf(q.contract)}, {Key: "contract", Value: q.contract}, {Key: "to", Value: q.to}}}},
	}
	text, err := yaml.MarshalWithOptions(doc, yaml.IndentSequence(true))
	return string(text), err
}

// nameOf names an API after its contract's file.
func nameOf(file string) string {
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	name := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9-]+`).ReplaceAllString(base, "-"), "-")
	if name == "" {
		return "api"
	}
	return name
}

// unplaced tells mistakes without the place in a document that nobody has written.
func unplaced(err error) error {
	var list mistake.List
	if !errors.As(err, &list) {
		return err
	}
	for i := range list {
		if list[i].File == "(flags of run)" {
			list[i].File, list[i].Line, list[i].Column, list[i].Excerpt = "", 0, 0, ""
		}
	}
	return list
}

// greet says what to try first.
func (q quick) greet(w io.Writer, n *node) {
	at := q.listen
	if u, err := url.Parse(q.listen); err == nil && u.Port() == "0" {
		at = n.server.Addresses()[0]
	}
	fmt.Fprintf(w, "\nServing %s -> %s\n", at, strings.Join(q.to, ", "))
	fmt.Fprintf(w, "  health and metrics  http://%s\n", n.admin.Addr)
	fmt.Fprintf(w, "  events              %s   (gatehouse explain ID)\n", filepath.Join(n.state, "events"))
	if q.issuer == "" {
		fmt.Fprintf(w, "  a token             gatehouse token --as alice --role customer\n")
	} else {
		fmt.Fprintf(w, "  tokens from         %s for audience %s\n", q.issuer, q.audience)
	}
	curl := "curl "
	if strings.HasPrefix(at, "https:") {
		curl += "--cacert <(gatehouse ca) "
	}
	fmt.Fprintf(w, "  the server behind   learns the caller from Gatehouse-Subject, -Roles, -Scopes; the token stays here\n")
	fmt.Fprintf(w, "\nTry: %s-H \"Authorization: Bearer $(gatehouse token --as alice)\" %s/...\n\n", curl, at)
}
