package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// stand is a gateway that knows the tour by heart: it stops the attacks it knows byte by byte and passes on the rest. It
// shows that the tour notices when one gets through, when a good request suffers, and when an answer proves nothing.
type stand struct {
	shop    shop
	off     string            // this guard is off
	known   map[string]attack // by the bytes of one message
	passes  map[string]bool   // bytes of good requests
	muddled string            // hole whose denial has no event id
	guessed atomic.Int64
}

// serve starts it on TLS and gives its address and a PEM file of its CA.
func (g *stand) serve(t *testing.T) (address, ca string) {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil)
	t.Cleanup(borrowed.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: borrowed.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: borrowed.TLS.Certificates, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.handle(c)
		}
	}()
	return l.Addr().String(), ca
}

// learn writes every message as the tour will.
func (g *stand) learn(t *testing.T, host string, only ...string) {
	t.Helper()
	g.known, g.passes = map[string]attack{}, map[string]bool{}
	w, err := newTour(g.shop, nil, host, gatehouse{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range goods() {
		raw, err := good.write(w.message)
		if err != nil {
			t.Fatal(err)
		}
		g.passes[string(raw)] = true
	}
	for _, a := range append(attacks(), open()...) {
		if len(only) > 0 && !strings.Contains(only[0], a.Hole) {
			continue
		}
		messages, err := a.Write(w.message)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range messages {
			g.known[string(raw)] = a
		}
	}
}

func (g *stand) handle(c net.Conn) {
	defer c.Close()
	var got bytes.Buffer
	buffer := make([]byte, 64<<10)
	for {
		n, err := c.Read(buffer)
		got.Write(buffer[:n])
		if a, ok := g.known[got.String()]; ok {
			g.answer(c, a, got.Bytes())
			return
		}
		if g.passes[got.String()] {
			g.pass(c, serviceOf(got.String()), got.Bytes())
			return
		}
		if err != nil {
			return
		}
	}
}

func serviceOf(raw string) string {
	base := strings.Split(raw, "/")[1]
	for name, b := range map[string]string{"orders": "shop", "invoice": "billing"} {
		if b == base {
			return name
		}
	}
	return base
}

func (g *stand) answer(c net.Conn, a attack, raw []byte) {
	guess := a.Guard == "rate" && g.guessed.Add(1) <= 100
	// The tour calls from a plain address here and from the hostile one; only that one is denied.
	friend := a.Guard == "address" && !strings.HasPrefix(c.RemoteAddr().String(), hostile)
	if a.Guard == "" || a.Guard == g.off || guess || friend {
		g.pass(c, a.Service, raw)
		return
	}
	status, event := a.Expect[0], `"01JEVENT"`
	if a.Hole == g.muddled {
		event = `""`
	}
	body := fmt.Sprintf(`{"title":"x","code":"some_code","event":%s}`, event)
	if status < 400 {
		body = "{}"
	}
	fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: %d\r\nRetry-After: 1\r\n\r\n%s", status, len(body), body)
}

func (g *stand) pass(c net.Conn, service string, raw []byte) {
	behind, err := net.Dial("tcp", g.shop[service])
	if err != nil {
		return
	}
	defer behind.Close()
	if _, err := behind.Write(raw); err != nil {
		return
	}
	if t, ok := behind.(*net.TCPConn); ok {
		t.CloseWrite()
	}
	io.Copy(c, behind)
}

// walkWith runs the command as a person would and gives its verdict and its steps.
func walkWith(t *testing.T, g *stand, more ...string) (bool, record) {
	t.Helper()
	g.shop = start(t)
	address, ca := g.serve(t)
	if i := slices.Index(more, "--only"); i >= 0 {
		g.learn(t, address, more[i+1])
	} else {
		g.learn(t, address)
	}
	dir := t.TempDir()
	text, err := json.Marshal(g.shop)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "addresses.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	claimed, err := run(append([]string{"--shop", list, "--gateway", "https://" + address, "--ca", ca, "--token-cmd", "", "--explain-cmd", "", "--json"}, more...), out)
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(said, &r); err != nil {
		t.Fatal(err)
	}
	if r.AsClaimed != claimed {
		t.Errorf("the JSON says %v, the exit status %v", r.AsClaimed, claimed)
	}
	return claimed, r
}

func unclaimed(r record) []string {
	var ids []string
	for _, s := range r.Steps {
		if !s.Claimed {
			ids = append(ids, s.Part+" "+s.Hole+" "+s.Guard+" "+s.Note)
		}
	}
	return ids
}

// A gateway that stops what it should, and nothing else, is found as claimed.
func TestThroughGateway(t *testing.T) {
	claimed, r := walkWith(t, &stand{})
	if !claimed {
		t.Errorf("%q", unclaimed(r))
	}
	if want := 2*len(goods()) + len(attacks()) + len(open()); len(r.Steps) != want {
		t.Errorf("%d steps, want %d", len(r.Steps), want)
	}
}

// With one guard off, exactly the attacks credited to it get through: the tour fails on these, and passes when told so.
func TestGuardOff(t *testing.T) {
	for _, guard := range []string{"waf", "canon"} {
		t.Run(guard, func(t *testing.T) {
			var mine []string
			for _, a := range attacks() {
				if a.Guard == guard && !slices.Contains(mine, a.Hole) {
					mine = append(mine, a.Hole)
				}
			}
			only := strings.Join(append(mine, "ORD-12", "ORD-01"), ",")
			claimed, r := walkWith(t, &stand{off: guard}, "--only", only)
			wrong := unclaimed(r)
			for _, s := range wrong {
				if !strings.Contains(s, " "+guard+" ") {
					t.Errorf("also wrong: %s", s)
				}
			}
			if claimed || len(wrong) < len(mine) {
				t.Errorf("claimed %v with %q", claimed, wrong)
			}
			if claimed, r := walkWith(t, &stand{off: guard}, "--only", only, "--without", guard); !claimed {
				t.Errorf("--without %s: %q", guard, unclaimed(r))
			}
			if claimed, _ := walkWith(t, &stand{}, "--only", only, "--without", guard); claimed {
				t.Errorf("--without %s passes although the guard is on", guard)
			}
		})
	}
}

// A denial without an event id is not as claimed: nobody could explain it.
func TestDenialNeedsEvent(t *testing.T) {
	claimed, r := walkWith(t, &stand{muddled: "CAT-03"}, "--only", "CAT-03,CAT-04")
	if wrong := unclaimed(r); claimed || len(wrong) != 1 || !strings.Contains(wrong[0], "no event id") {
		t.Errorf("claimed %v, wrong %q", claimed, wrong)
	}
}

// Words of explain that name another guard are not as claimed.
func TestCredits(t *testing.T) {
	for _, c := range []struct {
		guard, words string
		want         bool
	}{
		{"waf", "01J denied by waf: waf.score (attack)\n  why  rule 942100", true},
		{"waf", "01J denied by contract: contract.pattern (invalid_input)\n  why  waf", false},
		{"body", "01J denied by contract: body.duplicate_member (bad_request)", true},
		{"limits", "01J denied by waf: body.depth (bad_request)", true},
		{"limits", "01J denied by contract: coding.ratio (too_large)", true},
		{"access", "01J denied by identity: body.depth (bad_request)", false},
		{"access", "01J allowed", false},
		{"access", "", false},
	} {
		if got := credits(c.guard, c.words); got != c.want {
			t.Errorf("%q in %q: %v", c.guard, c.words, got)
		}
	}
}

// One line of the screen holds reason and detail; explain's own words stand in the JSON.
func TestEssence(t *testing.T) {
	words := "01J denied by access: access.role (not_allowed)\n  when        2026-01-01\n  why         none of the roles admin\n  rule        x\n"
	if got, want := essence(words), "access.role: none of the roles admin"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := essence("something\n else"); got != "something else" {
		t.Errorf("%q", got)
	}
}

// The commands of the templates are run as they stand, without a shell, and asked again when an event is still on its way.
func TestCommands(t *testing.T) {
	g := gatehouse{token: "echo {user} {role} {scopes}", explain: "echo why {id}"}
	got, err := g.tokens()("wendy")
	if err != nil || got != "wendy customer --scope orders:read" {
		t.Errorf("%q, %v", got, err)
	}
	if words, err := g.words("01J;x"); err != nil || words != "why 01J;x\n" {
		t.Errorf("%q, %v", words, err)
	}
	if _, err := g.tokens()("nobody"); err == nil {
		t.Error("a token for nobody")
	}
	marker := filepath.Join(t.TempDir(), "there")
	go func() { os.Mkdir(marker, 0o700) }()
	if _, err := (gatehouse{explain: "ls {id}"}).words(marker); err != nil {
		t.Errorf("did not ask again: %v", err)
	}
}

// Lines fit the terminal, and color ends where they are cut.
func TestCut(t *testing.T) {
	s := screen{width: 40, color: true}
	got := s.cut("plain " + s.paint("2", strings.Repeat("x", 60)))
	if !strings.HasSuffix(got, "…\x1b[0m") || strings.Count(got, "x") != 29 {
		t.Errorf("%q", got)
	}
	if s.width = 0; s.cut(strings.Repeat("x", 300)) != strings.Repeat("x", 300) {
		t.Error("cut although the width is not known")
	}
}

// Wrong uses say what to write instead.
func TestWrongUse(t *testing.T) {
	list := filepath.Join(t.TempDir(), "addresses.json")
	if err := os.WriteFile(list, []byte(`{"catalogue":"127.0.0.1:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"--shop":         nil,
		"start the shop": {"--shop", "missing.json"},
		"is not a URL":   {"--shop", list, "--gateway", "localhost"},
		"no certificate": {"--shop", list, "--gateway", "https://localhost:1", "--ca", list},
		"no gateway at":  {"--shop", list, "--gateway", "http://127.0.0.1:1"},
		"not defined":    {"--shop", list, "--gate", "https://localhost:1"},
	} {
		if _, err := run(args, os.Stdout); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
