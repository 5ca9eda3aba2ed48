package main

import (
	"reflect"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/pipeline"
)

// sections lists every section of the document: the folders of the same name, and the guards from pipeline/order.go. The
// JSON schema, the reference page and the check for unknown words are made from this list.
func sections() []config.Part {
	parts := []config.Part{
		{Name: "listen", Type: reflect.TypeFor[listen.Config](), Doc: "Sockets, TLS, certificates and the bounds of connections."},
		{Name: "audit", Type: reflect.TypeFor[audit.Config](), Doc: "The record of events."},
	}
	return append(parts, pipeline.Parts()...)
}

// known lists the mistakes that no section can see itself: words at the top that are no section.
func known(d *config.Document) error {
	var m mistake.List
	m.Under("", d.Unknown("", []string{"listen", "audit", "guards", "apis"}))
	return m.Err()
}
