package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
)

// rig is the real program on real sockets, for tests whose clients are real programs too.
type rig struct {
	t      *testing.T
	node   *node
	issuer *dev.Issuer
	plain  string // host:port without TLS
	secure string // host:port with TLS
	stop   context.CancelFunc
	done   chan error
	events []gate.Event // after end

	file     string // of the document
	document []byte
}

// newRig serves apis, the part of a document below "apis:". Files are what it names.
func newRig(t *testing.T, apis string, files map[string]string) *rig {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	document := "listen: {at: [\"http://127.0.0.1:0\", \"https://127.0.0.1:0\"], admin: \"http://127.0.0.1:0\"}\n" +
		"guards: {identity: {development: {accept_risk: a test}}, waf: {off: {accept_risk: a test of streams}}}\napis:\n" + apis
	r := &rig{t: t, node: newNode(filepath.Join(dir, "state"), slog.New(slog.DiscardHandler), crs()), done: make(chan error, 1)}
	var err error
	if r.issuer, err = dev.Open(r.node.state, random()); err != nil {
		t.Fatal(err)
	}
	r.node.kept.dev = r.issuer
	r.file, r.document = filepath.Join(dir, "gatehouse.yaml"), []byte(document)
	if err := os.WriteFile(r.file, r.document, 0o600); err != nil {
		t.Fatal(err)
	}
	bundle, err := r.node.open(t.Context(), r.file, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := r.node.load(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.node.start(l, true); err != nil {
		t.Fatal(err)
	}
	for _, a := range r.node.server.Addresses() {
		if at, ok := strings.CutPrefix(a, "https://"); ok {
			r.secure = at
		} else {
			r.plain = strings.TrimPrefix(a, "http://")
		}
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.done <- r.node.serve(ctx, 4*time.Second) }()
	t.Cleanup(func() {
		if r.events == nil {
			r.end()
		}
	})
	return r
}

// token is a credential of a caller that is good for some time.
func (r *rig) token(life time.Duration) string {
	r.t.Helper()
	token, err := r.issuer.Token("ann", []string{"customer"}, nil, time.Now(), life)
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

// bearer are the fields of a request with a credential.
func (r *rig) bearer(life time.Duration) http.Header {
	return http.Header{"Authorization": {"Bearer " + r.token(life)}}
}

// end stops the program and gives the events of exchanges and streams.
func (r *rig) end() []gate.Event {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		r.t.Error(err)
	}
	r.events = []gate.Event{}
	err := audit.Read(filepath.Join(r.node.state, "events"), func(e gate.Event) error {
		if e.Kind != gate.KindSystem {
			r.events = append(r.events, e)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.events
}

// rest waits until no request is in progress.
func (r *rig) rest() {
	r.t.Helper()
	for end := time.Now().Add(5 * time.Second); r.node.busy.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatal("requests are still in progress")
		}
	}
}

// closes gives the one event of a stream's end, and checks that it belongs to the one of its beginning.
func (r *rig) closes() gate.Event {
	r.t.Helper()
	var opened, closed []gate.Event
	for _, e := range r.end() {
		switch e.Kind {
		case gate.KindStreamOpen:
			opened = append(opened, e)
		case gate.KindStreamClose:
			closed = append(closed, e)
		}
	}
	if len(opened) != 1 || len(closed) != 1 || closed[0].Of != opened[0].ID || closed[0].ID == opened[0].ID || opened[0].Seq > closed[0].Seq {
		r.t.Fatalf("opened %+v\nclosed %+v", opened, closed)
	}
	return closed[0]
}

// two is a client that speaks HTTP/2 with TLS, and nothing else.
func (r *rig) two() *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a test
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// raw sends bytes and gives what comes until the other side closes, or until it says nothing for a while.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.plain)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		r.t.Fatal(err)
	}
	all, _ := io.ReadAll(c)
	return string(all)
}
