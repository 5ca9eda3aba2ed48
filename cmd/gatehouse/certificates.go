package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/ca"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

func certificatesCommand(std stdio) *cobra.Command {
	strict := false
	c := &cobra.Command{
		Use:   "certificates",
		Short: "List every certificate that the gateway shows or goes by, and what is wrong with it or will be",
		Long: `List every certificate that the gateway shows or goes by: those of its addresses, those that it shows to servers, to the
store and to Redis, the authorities that it verifies them with, and its own internal authority. And say what is wrong with
each or will be: one that ends soon, a weak key or signature, a chain that is not whole, one that cannot be read.

The gateway that runs here is asked. When none runs, the document is read: then ACME's certificates are those obtained so
far, secrets that only a gateway can ask for are left out, and so is the internal authority, which lies in the store.

Exit codes: 0 listed; 1 gone wrong; 2 with --strict, something is wrong with a certificate.`,
		Example: `  gatehouse certificates
  gatehouse certificates --strict || mail -s "certificates" ops@example.com
  gatehouse certificates --json | jq -r '.[] | select(.findings) | .where'`,
		Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		all, err := a.certificates(ctx)
		if err != nil {
			return err
		}
		if err := a.print(all, func(w io.Writer) { printCertificates(w, all, time.Now(), paintFor(terminal(w))) }); err != nil {
			return err
		}
		if n := len(findingsOf(all)); strict && n > 0 {
			fmt.Fprintf(a.io.err, "\ngatehouse: --strict, and %s\n", count(n, "finding"))
			return exit(2)
		}
		return nil
	})
	c.Flags().BoolVar(&strict, "strict", false, "exit 2 when something is wrong with a certificate")
	return c
}

// certificates asks the gateway that runs here, or reads the document.
func (a *asker) certificates(ctx context.Context) ([]ca.Certificate, error) {
	places, target, err := a.running()
	if err != nil {
		return nil, err
	}
	if target != nil {
		return control.Ask[[]ca.Certificate](ctx, target, "certificates", nothing{}, nil)
	}
	n := newNode(places.state, slog.New(slog.DiscardHandler), waf.Load())
	defer n.close()
	b, err := n.open(ctx, a.file, source.Options{})
	if err != nil {
		return nil, err
	}
	found, err := checkBundle(n, b, false)
	return found.certificates, err
}

// certificates are those that this process uses.
func (n *node) certificates(context.Context, nothing, control.Progress) ([]ca.Certificate, error) {
	n.current.Lock()
	defer n.current.Unlock()
	r := n.held.document
	if moved := n.held.changed.store.Load(); moved != nil {
		r.store = *moved
	}
	return append(n.inventory(n.server, n.now()), n.named(n.current.document, r)...), nil
}

// named are the certificates in files and secrets that other sections name.
func (n *node) named(d *config.Document, r remembering) []ca.Certificate {
	now := n.now()
	return append(identityAuthorities(d, now), storeCertificates(r.store, r.backup, n.kept.env.resolve, now)...)
}

// inventory is what sockets, pools and the internal authority have.
func (n *node) inventory(server *listen.Server, now time.Time) (all []ca.Certificate) {
	if server != nil {
		all = server.Inventory(now)
	}
	n.kept.pools.each(func(api string, pool *upstream.Pool) {
		for _, c := range pool.Certificates(now) {
			c.Where = "apis." + api + "." + c.Where
			if n.held != nil || !strings.HasSuffix(c.Where, "tls.client: internal") { // nobody will ever see this one
				all = append(all, c)
			}
		}
	})
	if n.held == nil {
		return all
	}
	for _, s := range n.held.authority.State() {
		s.Certificate.Where = "internal authority"
		if !s.Signing {
			s.Certificate.Where += ", signs from " + s.Signs.Local().Format(time.DateOnly)
		}
		all = append(all, s.Certificate)
	}
	return all
}

// storeCertificates are those that stand in the sections store and backup.
func storeCertificates(s store.Config, b backup.Config, resolve func(secret.Ref) (secret.Value, error), now time.Time) (all []ca.Certificate) {
	file := func(where, name string) {
		if name != "" {
			data, err := os.ReadFile(name)
			all = append(all, inspected(where+": "+name, data, err, now)...)
		}
	}
	shown := func(where string, ref secret.Ref) {
		if ref.IsZero() {
			return
		}
		v, err := resolve(ref)
		if errors.Is(err, secret.ErrElsewhere) {
			return
		}
		var data []byte
		if err == nil {
			data = v.Reveal()
		}
		all = append(all, inspected(where+": "+ref.String(), data, err, now)...)
	}
	file("store.ca", s.CA)
	shown("store.client_cert", s.ClientCert)
	file("store.shared.ca", s.Shared.CA)
	shown("store.shared.client_cert", s.Shared.ClientCert)
	file("backup.s3.ca", b.S3.CA)
	return all
}

// inspected looks at what was read, or tells why nothing was.
func inspected(where string, data []byte, err error, now time.Time) []ca.Certificate {
	if err != nil {
		return []ca.Certificate{{Where: where, Findings: []ca.Finding{{ID: ca.Missing, What: err.Error()}}}}
	}
	return ca.Inspect(where, data, nil, now)
}

// identityAuthorities are those that guards verify issuers with.
func identityAuthorities(d *config.Document, now time.Time) (all []ca.Certificate) {
	for _, section := range guardSections(d) {
		for i := range d.Len(section + ".issuers") {
			path := fmt.Sprintf("%s.issuers[%d].ca", section, i)
			if name, ok := d.Value(path).(string); ok && name != "" {
				data, err := os.ReadFile(name)
				all = append(all, inspected(path+": "+name, data, err, now)...)
			}
		}
	}
	return all
}

func guardSections(d *config.Document) []string {
	all := []string{"guards.identity"}
	for i := range d.Len("apis") {
		all = append(all, fmt.Sprintf("apis[%d].guards.identity", i))
	}
	return all
}

// findingsOf are what is wrong with certificates, as check tells it.
func findingsOf(all []ca.Certificate) (open []gate.Finding) {
	for _, c := range all {
		for _, f := range c.Findings {
			open = append(open, gate.Finding{ID: f.ID, What: c.Where + ": " + f.What})
		}
	}
	return open
}

func printCertificates(w io.Writer, all []ca.Certificate, now time.Time, p paint) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There are no certificates: nothing is served or reached with TLS.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CERTIFICATE\tKEY\tENDS\tIN\tWHERE")
	for _, c := range all {
		if c.NotAfter.IsZero() {
			fmt.Fprintf(t, "-\t-\t-\t-\t%s\n", tame(c.Where))
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", tame(nameOfCertificate(c)), c.Key, c.NotAfter.Local().Format(time.DateOnly), daysUntil(c.NotAfter, now), tame(c.Where))
	}
	_ = t.Flush()
	open := findingsOf(all)
	if len(open) == 0 {
		fmt.Fprintln(w, "\nNothing is wrong with them.")
	}
	p.findings(w, "Findings", p.yellow, "close it", open)
}

func nameOfCertificate(c ca.Certificate) string {
	names := c.Names
	if len(names) == 0 {
		return orDash(c.Subject)
	}
	if len(names) > 2 {
		return strings.Join(names[:2], ", ") + fmt.Sprintf(" and %d more", len(names)-2)
	}
	return strings.Join(slices.Clone(names), ", ")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func daysUntil(end, now time.Time) string {
	left := end.Sub(now)
	switch {
	case left < 0:
		return "over"
	case left < 48*time.Hour:
		return fmt.Sprintf("%dh", int(left.Hours()))
	}
	return fmt.Sprintf("%dd", int(left.Hours()/24))
}
