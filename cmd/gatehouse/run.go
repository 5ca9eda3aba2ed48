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

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/harden"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

// madeUp is the name of the document that flags stand for.
const madeUp = "(flags of run)"

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
	hardened := harden.Process()
	at, err := findPlaces()
	if err != nil {
		return err
	}
	n := newNode(at.state, logger(io), waf.Load())
	if hardened != nil {
		n.log.Warn("others on this machine may look into this process", "error", hardened)
	}
	if n.kept.dev, err = dev.Open(at.state, random()); err != nil {
		return err
	}
	bundle := source.Given(madeUp, []byte(text))
	if err := n.hold(ctx, at, bundle, io.err); err != nil {
		return err
	}
	l, err := n.load(bundle)
	if err != nil {
		return errors.Join(unplaced(err), n.release())
	}
	if q.issuer == "" {
		for _, a := range l.listen.At {
			if !a.Loopback() {
				return errors.Join(n.release(), fmt.Errorf("--listen: %s is beyond this machine, and without --issuer whoever has an account on it can make tokens; add --issuer URL --audience NAME", a))
			}
		}
	}
	if err := n.start(l, true); err != nil {
		return unplaced(err)
	}
	if err := printTable(io.err, l.gateway.Table(), l.listen.Limits.InForce(), terminal(io.err)); err != nil {
		return err
	}
	q.greet(io.err, n, l.gateway.Table())
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

// flagFor gives the flag of run that fills in a place of the document, or "".
func flagFor(path string) string {
	for _, f := range [][2]string{
		{"listen.at[0]", "--listen"}, {"apis[0].contract", "--openapi"}, {"apis[0].to", "--to"}, {"guards.rate.per_address", "--rate"},
		{"guards.identity.issuers[0].issuer", "--issuer"}, {"guards.identity.issuers[0].audience", "--audience"},
	} {
		if rest, ok := strings.CutPrefix(path, f[0]); ok && !strings.HasPrefix(rest, ".") {
			return f[1]
		}
	}
	return ""
}

// unplaced tells mistakes by their flags: nobody has written the document in which they stand.
func unplaced(err error) error {
	var list mistake.List
	if !errors.As(err, &list) {
		return err
	}
	for i := range list {
		m := &list[i]
		if m.File != madeUp {
			continue
		}
		m.File, m.Line, m.Column, m.Excerpt = "", 0, 0, ""
		if flag := flagFor(m.Path); flag != "" {
			m.Path, m.Write = flag, asFlag(flag, m.Write)
		}
		if strings.Contains(m.Write, "certificates:") || m.Path == "listen.certificates" {
			m.Write = "gatehouse init, and certificates in its document: run has no flag for them"
		}
	}
	return list
}

// asFlag writes a suggestion for the document as one for the command line.
func asFlag(flag, write string) string {
	if key, rest, ok := strings.Cut(write, ": "); ok && "--"+key == flag {
		write = strings.Trim(rest, "[]")
	}
	if write == "" || strings.Contains(write, ": ") {
		return write
	}
	return flag + " " + write
}

// greet says what to try first.
func (q quick) greet(w io.Writer, n *node, t pipeline.Table) {
	at := q.listen
	if u, err := url.Parse(q.listen); err == nil && u.Port() == "0" {
		at = n.server.Addresses()[0]
	}
	fmt.Fprintf(w, "\nServing %s -> %s\n", at, strings.Join(q.to, ", "))
	if q.issuer != "" {
		entry(w, "tokens", "of "+q.issuer+" for audience "+q.audience)
	} else {
		entry(w, "tokens", "gatehouse token --as NAME --role ROLE --scope SCOPE   (for this machine only)")
	}
	entry(w, "events", filepath.Join(n.state, "events")+"   (gatehouse explain ID)")
	entry(w, "health", "http://"+n.admin.Addr+"/readyz, and /metrics")
	fmt.Fprintf(w, "\nTry:  %s\n\n", q.try(at, t))
}

// try is a first request that can succeed: the first plain one of the table, by a caller who may.
func (q quick) try(at string, t pipeline.Table) string {
	row, plain := pipeline.Row{Path: "/...", Callers: "any caller"}, false
	for _, r := range t.Rows {
		if r.Method == "GET" && !strings.Contains(r.Path, "{") && r.Callers != "nobody" {
			row, plain = r, true
			break
		}
	}
	curl := "curl "
	if strings.HasPrefix(at, "https:") {
		curl += "--cacert <(gatehouse ca) "
	}
	switch {
	case plain && row.Callers == "public":
	case q.issuer != "":
		curl += `-H "Authorization: Bearer $TOKEN" `
	default:
		token := "gatehouse token --as alice"
		for _, role := range row.Roles {
			token += " --role " + role
		}
		for _, scope := range row.Scopes {
			token += " --scope " + scope
		}
		curl += `-H "Authorization: Bearer $(` + token + `)" `
	}
	return curl + strings.TrimSuffix(at, "/") + row.Path
}
