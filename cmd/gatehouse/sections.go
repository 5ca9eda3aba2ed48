package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
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
	m.Under("", d.Unknown("", []string{"listen", "audit", "key", "store", "secret", "backup", "fleet", "guards", "apis"}))
	return m.Err()
}
