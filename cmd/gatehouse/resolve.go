package main

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/upstream/authority"
)

// resolveTime bounds how long the first look at a secret may take, when a document is read.
const resolveTime = 15 * time.Second

// resolver gives the present value of what a part of the document ("listen", "apis.shop") refers to. After the first time it
// waits for nothing: the value is followed. Without an opened state, as in check, only what lies on this machine is looked at.
func (n *node) resolver(reader string) func(secret.Ref) (secret.Value, error) {
	return func(ref secret.Ref) (secret.Value, error) {
		if n.held == nil {
			return ref.Resolve()
		}
		ctx, end := context.WithTimeout(context.Background(), resolveTime)
		defer end()
		live, err := n.held.secrets.Live(ctx, ref, reader)
		if err != nil {
			return secret.Value{}, err
		}
		return live.Value()
	}
}

// referredTo are the secrets that a document refers to: they are followed while it is in force, others are forgotten.
func referredTo(d *config.Document) (refs []secret.Ref) {
	eachText(d.Value(""), func(text string) {
		var ref secret.Ref
		if ref.UnmarshalText([]byte(text)) == nil {
			refs = append(refs, ref)
		}
	})
	return refs
}

// eachText calls with for every text in a value of the document.
func eachText(v any, with func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			eachText(inner, with)
		}
	case []any:
		for _, inner := range v {
			eachText(inner, with)
		}
	case string:
		with(v)
	}
}

// shownBy is the certificate that this node shows to servers which answer to the gateway only.
type shownBy struct{ n *node }

// ClientCertificate gives one of the internal authority; in a command that serves nothing, one that nobody will see.
func (s shownBy) ClientCertificate() (*tls.Certificate, error) {
	if h := s.n.held; h != nil {
		return h.authority.Client("gateway").ClientCertificate()
	}
	a, err := authority.Open(context.Background(), authority.Deps{Place: authority.InMemory(), Domain: "check.gatehouse.internal", Now: s.n.now, Rand: random()})
	if err != nil {
		return nil, err
	}
	return a.Client("gateway").ClientCertificate()
}
