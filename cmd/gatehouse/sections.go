package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/portal"
	secretsource "github.com/gatehouse-sec/gatehouse/secret/source"
	"github.com/gatehouse-sec/gatehouse/store"
)

// sections lists every section of the document: the folders of the same name, and the guards from pipeline/order.go. The
// JSON schema, the reference page and the check for unknown words are made from this list.
func sections() []config.Part {
	parts := []config.Part{
		{Name: "listen", Type: reflect.TypeFor[listen.Config](), Doc: "Sockets, TLS, certificates and the bounds of connections."},
		{Name: "audit", Type: reflect.TypeFor[audit.Config](), Doc: "The record of events."},
		{Name: "key", Type: reflect.TypeFor[key.Config](), Doc: "The root key, which opens everything that is stored."},
		{Name: "store", Type: reflect.TypeFor[store.Config](), Doc: "What survives a restart, and what nodes share."},
		{Name: "secret", Type: reflect.TypeFor[secretsource.Config](), Doc: "Where secrets lie, beside files, variables and the gateway's own store."},
		{Name: "backup", Type: reflect.TypeFor[backup.Config](), Doc: "Copies of everything that counts, proven by restoring them."},
		{Name: "portal", Type: reflect.TypeFor[portal.Config](), Doc: "Where users sign in with a browser, by whom they are vouched for, and how long sessions live."},
		{Name: "fleet", Type: reflect.TypeFor[fleet.Config](), Doc: "This node among others, and tokens that were called back."},
	}
	return append(parts, pipeline.Parts()...)
}

// misplaced names the place where a setting of connections belongs that stands among an API's limits: a connection carries
// requests to many APIs, and cannot be bounded for one of them.
func misplaced(list mistake.List) {
	bounds := reflect.TypeFor[listen.Limits]()
	for i := range list {
		section, key, _ := strings.Cut(list[i].Path, "guards.limits.")
		for f := range bounds.NumField() {
			if name, _, _ := strings.Cut(bounds.Field(f).Tag.Get("yaml"), ","); key == name && (section == "" || strings.HasPrefix(section, "apis[")) {
				list[i].What = fmt.Sprintf("%q bounds connections, which carry requests to every API; it belongs in listen.limits", key)
				list[i].Write = "listen: {limits: {" + key + ": ...}}"
			}
		}
	}
}

// known lists the mistakes that no section can see itself: words at the top that are no section.
func known(d *config.Document) error {
	var m mistake.List
	m.Under("", d.Unknown("", []string{"listen", "audit", "key", "store", "secret", "backup", "fleet", "portal", "guards", "apis"}))
	for i := range m {
		outdented(&m[i], d)
	}
	return m.Err()
}

// outdented names the section of a word at the top that is a key of just one: what belongs beside the URL of the store is
// easily written below its short form.
func outdented(m *mistake.Mistake, d *config.Document) {
	var in []string
	for _, p := range sections() {
		for f := range p.Type.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			inner := options == "inline" && slices.ContainsFunc(reflect.VisibleFields(f.Type), func(f reflect.StructField) bool { return f.Tag.Get("yaml") == m.Path })
			if (name == m.Path || inner) && !strings.Contains(p.Name, ".") {
				in = append(in, p.Name)
			}
		}
	}
	if len(in) != 1 || m.Write != "" {
		return
	}
	m.What = fmt.Sprintf("%q is no section; it belongs in %s", m.Path, in[0])
	m.Write = in[0] + ": {" + m.Path + ": ...}"
	if _, short := d.Value(in[0]).(string); short && in[0] == "store" {
		m.What += ", whose URL then has a name as well"
		m.Write = "store: {url: postgres://user@host/db, " + m.Path + ": ...}"
	}
}
