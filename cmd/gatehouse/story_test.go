package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	sessions "github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// Stories are the tests that anyone can read and an operator can contribute: a document, some requests, and what the event
// log says. They lie in folders named stories, beside what they tell about, and run through the real program: real
// sockets, the real pipeline, a server behind that records what it gets.
//
//	-- gatehouse.yaml --   the document; http://upstream stands for the server behind
//	-- FILE --             contracts and whatever else the document names
//	-- callers --          NAME role=a,b scope=c,d       one line for each caller with a token
//	                       NAME jws HEADER CLAIMS        a token with just these, signed ES256 with the key in keys.json
//	                       NAME forged HEADER CLAIMS     the same, signed with another key
//	-- sessions --         NAME provider=a role=b scope=c host=d   a session, SESSION:NAME in requests is its cookie; ended, if it
//	                       says so
//	-- keys --             NAME scope=a,b role=c api=d   an API key, KEY:NAME in requests; revoked, or unknown to the gateway, if
//	                       the line ends so
//	-- revocations --      optional: token ISSUER ID, subject ISSUER SUBJECT TIME or before ISSUER TIME, called back before
//	-- requests --         ADDRESS CALLER METHOD PATH [| Field: value]... [<<< body]
//	                       ... | dpop                    the token is shown with the scheme DPoP, without proof
//	                       ... | proof [CLAIMS [HEADER]] and with a proof, of which these are changed; null removes one
//	                       ... | theft [CLAIMS [HEADER]] and with one that is signed by another than the client
//	                       ADDRESS raw "bytes"           a Go string, sent as it is
//	                       ADDRESS held "bytes"          the same, and the client's side stays open
//	                       ADDRESS raw FILE              the file's lines are Go strings, sent as they are
//	-- answers --          PATH "bytes", PATH close or PATH hang: what the server behind does at this path
//	-- audit --            STATUS, or STATUS CODE by GUARD: REASON, one line for each exchange
//	-- upstream --         optional: what the server behind got, fields sorted, without those that change
//
// {{9*x}} stands for nine x, $DIR for the story's folder, $JKT for the
// client's key by its thumbprint, $THIEF for the other's as it is, $NONCE for a nonce of the gateway, NOW+60 and NOW-60 for a time, DAY+90 for a date.
func TestStories(t *testing.T) {
	rules := crs() // compiled once for all stories, as for all APIs
	for _, file := range stories(t) {
		name, _ := filepath.Rel("../..", file)
		t.Run(strings.TrimSuffix(name, ".txtar"), func(t *testing.T) {
			t.Parallel()
			runStory(t, file, rules)
		})
	}
}

func runStory(t *testing.T, file string, rules *waf.Rules) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.TrimSpace(string(archive.Comment))) < 20 {
		t.Error("a story begins with what it tells")
	}
	s := newStory(t, archive, rules)
	for _, line := range lines(s.files["requests"]) {
		s.request(line)
	}
	events := s.end()
	var told []string
	for _, e := range events {
		if e.Kind != gate.KindSystem {
			told = append(told, tell(e))
		}
	}
	compare(t, "audit", s.files["audit"], told)
	if want, ok := s.files["upstream"]; ok {
		compare(t, "upstream", want, s.server.told())
	}
}

// story is one story being told.
type story struct {
	t      *testing.T
	dir    string
	files  map[string]string
	server *recorder
	node   *node
	tokens map[string]string
	keys   map[string]string // API keys
	signed map[string]string // session cookies
	done   chan error
	cancel context.CancelFunc
	logged bytes.Buffer // what the process says of itself; read it after end
	key    *ecdsa.PrivateKey

	holders *holders
}

func newStory(t *testing.T, archive *txtar.Archive, rules *waf.Rules) *story {
	s := &story{t: t, dir: t.TempDir(), files: map[string]string{}, server: newRecorder(t), tokens: map[string]string{"-": ""}, keys: map[string]string{}, signed: map[string]string{}, done: make(chan error, 1), holders: newHolders(t)}
	for _, f := range archive.Files {
		text := s.expand(string(f.Data))
		s.files[f.Name] = text
		name := filepath.Join(s.dir, f.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s.key = writeKeys(t, s.dir)
	s.server.answers = answers(t, s.files["answers"])
	document := filepath.Join(s.dir, "gatehouse.yaml")
	text := s.files["gatehouse.yaml"]
	if !strings.Contains(text, "listen:") {
		text = "listen: {at: [\"http://127.0.0.1:0\"], admin: \"http://127.0.0.1:0\"}\n" + text
	}
	s.node = newNode(filepath.Join(s.dir, "state"), slog.New(slog.NewTextHandler(&s.logged, nil)), rules)
	issuer, err := dev.Open(s.node.state, random())
	if err != nil {
		t.Fatal(err)
	}
	s.node.kept.dev = issuer
	s.callers(issuer)
	bundle := source.Given(document, []byte(text))
	if err := s.node.hold(t.Context(), places{s.node.state, filepath.Join(s.dir, "config")}, bundle, &s.logged); err != nil {
		t.Fatal(err)
	}
	s.apiKeys()
	s.calledBack()
	if strings.Contains(text, "single_use") || strings.Contains(s.files["requests"], " | proof") {
		s.node.kept.once = longAgo{fleet.NewOnce(s.node.held.fast, time.Now)}
	}
	l, err := s.node.load(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.node.start(l, true); err != nil {
		t.Fatal(err)
	}
	s.sessions()
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go func() { s.done <- s.node.serve(ctx, 5*time.Second) }()
	return s
}

// longAgo is a memory of tokens that began before every token of the story was issued.
type longAgo struct{ *fleet.Once }

func (longAgo) Since() time.Time { return time.Now().Add(-time.Hour) }

// calledBack calls tokens back before the story begins.
func (s *story) calledBack() {
	for _, line := range lines(s.files["revocations"]) {
		words := strings.Fields(line)
		r := fleet.Revocation{Issuer: words[1]}
		before := ""
		switch words[0] {
		case "token":
			r.Kind, r.Token = fleet.ByToken, words[2]
		case "subject":
			r.Kind, r.Subject, before = fleet.BySubject, words[2], words[3]
		case "before":
			r.Kind, before = fleet.ByTime, words[2]
		default:
			s.t.Fatalf("revocations: %q", line)
		}
		if before != "" {
			seconds, err := strconv.ParseInt(before, 10, 64)
			if err != nil {
				s.t.Fatalf("revocations: %q: %v", line, err)
			}
			r.Before = time.Unix(seconds, 0)
		}
		if _, err := s.node.held.revocations.Revoke(s.t.Context(), r); err != nil {
			s.t.Fatal(err)
		}
	}
}

// apiKeys makes the API keys.
func (s *story) apiKeys() {
	for _, line := range lines(s.files["keys"]) {
		words := strings.Fields(line)
		k := apikey.Key{Owner: words[0], Expires: time.Now().Add(time.Hour), By: "a story"}
		state := ""
		for _, w := range words[1:] {
			switch key, value, _ := strings.Cut(w, "="); key {
			case "scope":
				k.Scopes = strings.Split(value, ",")
			case "role":
				k.Roles = strings.Split(value, ",")
			case "api":
				k.APIs = strings.Split(value, ",")
			case "revoked", "unknown":
				state = key
			default:
				s.t.Fatalf("keys: %q", w)
			}
		}
		made, key, err := s.node.held.apikeys.Create(s.t.Context(), k)
		switch {
		case err != nil:
		case state == "revoked":
			_, err = s.node.held.apikeys.Revoke(s.t.Context(), made.ID, "a story", "")
		case state == "unknown":
			_, key, err = apikey.Make(random())
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.keys[words[0]] = key
	}
}

// sessions opens the sessions.
func (s *story) sessions() {
	for _, line := range lines(s.files["sessions"]) {
		words := strings.Fields(line)
		q, host, ended := session.Session{Subject: words[0], Issuer: "https://id.test", SignedIn: time.Now()}, "api.test", false
		for _, w := range words[1:] {
			switch key, value, _ := strings.Cut(w, "="); key {
			case "provider":
				q.Provider = value
			case "scope":
				q.Scopes = strings.Split(value, ",")
			case "role":
				q.Roles = strings.Split(value, ",")
			case "host":
				host = value
			case "ended":
				ended = true
			default:
				s.t.Fatalf("sessions: %q", w)
			}
		}
		made, cookie, err := s.node.held.sessions.Create(s.t.Context(), q, host, sessions.Grant{})
		if err == nil && ended {
			_, err = s.node.held.sessions.End(s.t.Context(), made.ID, "a story", "")
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.signed[words[0]] = cookie
	}
}

// callers makes the tokens.
func (s *story) callers(issuer *dev.Issuer) {
	for _, line := range lines(s.files["callers"]) {
		words := strings.Fields(line)
		if len(words) == 4 {
			s.tokens[words[0]] = sign(s.t, s.key, words[2], words[3])
			if words[1] == "forged" {
				s.tokens[words[0]] = sign(s.t, stranger(s.t), words[2], words[3])
			}
			continue
		}
		var roles, scopes []string
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "role":
				roles = strings.Split(value, ",")
			case "scope":
				scopes = strings.Split(value, ",")
			default:
				s.t.Fatalf("callers: %q", w)
			}
		}
		token, err := issuer.Token(words[0], roles, scopes, time.Now(), time.Minute)
		if err != nil {
			s.t.Fatal(err)
		}
		s.tokens[words[0]] = token
	}
}

// request sends one request and waits until it is answered or the connection ends.
func (s *story) request(line string) {
	line = sessionOf.ReplaceAllStringFunc(line, func(m string) string { return session.Cookie + "=" + s.signed[m[len("SESSION:"):]] })
	line = keyOf.ReplaceAllStringFunc(line, func(m string) string { return s.keys[m[len("KEY:"):]] })
	words := strings.Fields(line)
	if len(words) < 3 {
		s.t.Fatalf("request %q", line)
	}
	var bytes string
	if (words[1] == "raw" || words[1] == "held") && strings.HasPrefix(words[2], `"`) {
		text, err := strconv.Unquote(line[strings.Index(line, `"`):])
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		bytes = text
	} else if words[1] == "raw" {
		for _, l := range lines(s.files[words[2]]) {
			text, err := strconv.Unquote(l)
			if err != nil {
				s.t.Fatalf("%s: %s: %v", words[2], l, err)
			}
			bytes += text
		}
	} else {
		bytes = s.compose(line, words[1])
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(words[0])}, Timeout: 5 * time.Second}
	c, err := dialer.Dial("tcp", strings.TrimPrefix(s.node.server.Addresses()[0], "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, bytes); err != nil {
		s.t.Fatal(err)
	}
	if words[1] == "raw" || words[1] == "held" {
		if words[1] == "raw" {
			_ = c.(*net.TCPConn).CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c)
		return
	}
	response, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: words[2]})
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
}

// compose writes the bytes of a request.
func (s *story) compose(line, caller string) string {
	head, body, hasBody := strings.Cut(line, " <<< ")
	parts := strings.Split(head, " | ")
	words := strings.Fields(parts[0])
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", words[2], words[3])
	if !strings.Contains(head, "| Host:") {
		b.WriteString("Host: api.test\r\n")
	}
	token, ok := s.tokens[caller]
	if !ok {
		s.t.Fatalf("caller %q has no line in callers", caller)
	}
	scheme := "Bearer"
	for _, field := range parts[1:] {
		switch word, _, _ := strings.Cut(strings.TrimSpace(field), " "); word {
		case "dpop":
			scheme = "DPoP"
		case "proof", "theft":
			scheme = "DPoP"
			b.WriteString(s.proof(field, words[2], words[3], token))
		default:
			b.WriteString(strings.TrimSpace(field) + "\r\n")
		}
	}
	if token != "" {
		fmt.Fprintf(&b, "Authorization: %s %s\r\n", scheme, token)
	}
	if hasBody {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
		if !strings.Contains(head, "Content-Type:") {
			b.WriteString("Content-Type: application/json\r\n")
		}
	}
	return b.String() + "\r\n" + body
}

// end stops the node and reads its events.
func (s *story) end() []gate.Event {
	s.cancel()
	if err := <-s.done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		s.t.Fatal(err)
	}
	var events []gate.Event
	directory := filepath.Join(s.node.state, "events")
	if err := audit.Read(directory, func(e gate.Event) error { events = append(events, e); return nil }); err != nil {
		s.t.Fatal(err)
	}
	report, err := audit.VerifyDirectory(context.Background(), directory, audit.Options{Keep: -1})
	if err := errors.Join(err, report.Err()); err != nil {
		s.t.Fatal(err)
	}
	return events
}

// tell is an event as stories write it.
func tell(e gate.Event) string {
	if e.Decision.Verdict == "allow" {
		text := strconv.Itoa(e.Result.Status)
		for _, w := range e.Decision.DryRun {
			text += fmt.Sprintf(" although %s would: %s", w.Guard, w.Reason)
		}
		return text
	}
	return fmt.Sprintf("%d %s by %s: %s", e.Result.Status, e.Decision.Code, e.Decision.Guard, e.Decision.Reason)
}

func compare(t *testing.T, what, want string, got []string) {
	t.Helper()
	wanted := lines(want)
	for i := range max(len(wanted), len(got)) {
		w, g := "(nothing)", "(nothing)"
		if i < len(wanted) {
			w = wanted[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Errorf("%s line %d:\n got  %s\n want %s", what, i+1, g, w)
		}
	}
}

// lines are the lines that say something.
func lines(text string) []string {
	var list []string
	for _, l := range strings.Split(text, "\n") {
		if l = strings.TrimRight(l, " "); l != "" && !strings.HasPrefix(l, "#") {
			list = append(list, l)
		}
	}
	return list
}

// recorder is a server that writes down the bytes it gets. A path that ends in a number from 400 to 599 is answered with
// that status; everything else with 200 and a small JSON body.
type recorder struct {
	listener net.Listener
	answers  map[string]string // by path; set before the first request
	mu       sync.Mutex
	got      [][]byte
}

func newRecorder(t *testing.T) *recorder {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

func (r *recorder) url() string { return "http://" + r.listener.Addr().String() }

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	var seen bytes.Buffer
	reader := bufio.NewReader(io.TeeReader(c, &seen))
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, request.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.got = append(r.got, bytes.Clone(seen.Bytes()[:seen.Len()-reader.Buffered()]))
		r.mu.Unlock()
		seen.Next(seen.Len() - reader.Buffered())
		if answer, ok := r.answers[request.URL.Path]; ok {
			if answer == "hang" {
				_, _ = io.Copy(io.Discard, c)
			} else if answer != "close" {
				_, _ = io.WriteString(c, answer)
			}
			return
		}
		status := 200
		if n, err := strconv.Atoi(filepath.Base(request.URL.Path)); err == nil && n >= 400 && n < 600 {
			status = n
		}
		fmt.Fprintf(c, "HTTP/1.1 %d x\r\nContent-Type: application/json\r\nServer: shop/1.0\r\nContent-Length: 2\r\n\r\n", status)
		if request.Method != http.MethodHead {
			fmt.Fprint(c, "{}")
		}
	}
}

var volatile = regexp.MustCompile(`(?m)^(Traceparent|Gatehouse-Event): .*$`)

// told is what the server got, as stories write it.
func (r *recorder) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, raw := range r.got {
		head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		fields := strings.Split(head, "\r\n")
		sort.Strings(fields[1:])
		for i, f := range fields {
			if i == 0 || !volatile.MatchString(f) {
				list = append(list, f)
			}
		}
		if body != "" {
			list = append(list, body)
		}
	}
	return list
}
