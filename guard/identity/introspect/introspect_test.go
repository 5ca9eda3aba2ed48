package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// server answers as told, and remembers what it was asked.
type server struct {
	*httptest.Server
	answer atomic.Pointer[func(http.ResponseWriter, *http.Request)]
	asked  atomic.Int64
}

func newServer(t *testing.T) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) does(f func(http.ResponseWriter, *http.Request)) { s.answer.Store(&f) }

func (s *server) says(status int, media, text string) {
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	})
}

func (s *server) asker(t *testing.T) *Asker {
	t.Helper()
	password, err := secret.New([]byte("p: w+d"), "a test")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a := New(Config{URL: s.URL, Client: "gate:house"}, client, func() (secret.Value, error) { return password, nil })
	a.limit = time.Minute // a machine may be slow
	return a
}

func TestWhatIsAsked(t *testing.T) {
	s := newServer(t)
	s.does(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || user != "gate%3Ahouse" || password != "p%3A+w%2Bd" || r.FormValue("token") != "opaque-1" ||
			r.FormValue("token_type_hint") != "access_token" || r.URL.RawQuery != "" {
			t.Errorf("%s %s, %q %q, %v", r.Method, r.URL, user, password, r.Form)
		}
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = w.Write([]byte(`{"active":true,"sub":"ann","exp":1700000000}`))
	})
	claims, err := s.asker(t).Ask(t.Context(), "opaque-1")
	if err != nil || claims["sub"] != "ann" || claims["exp"] != json.Number("1700000000") {
		t.Errorf("%v, %v", claims, err)
	}
}

// Only a token that is said to be active, in so many words, is good; everything else is inactive or unknown, and the two are
// told apart.
func TestAnswers(t *testing.T) {
	const media = "application/json"
	s := newServer(t)
	a := s.asker(t)
	for name, c := range map[string]struct {
		status      int
		media, text string
		want        string // of the error; "" for ErrInactive
	}{
		"inactive":          {200, media, `{"active":false}`, ""},
		"inactive with sub": {200, media, `{"active":false,"sub":"ann"}`, ""},
		"a word":            {200, media, `{"active":"true","sub":"ann"}`, "does not say"},
		"a number":          {200, media, `{"active":1}`, "does not say"},
		"null":              {200, media, `{"active":null}`, "does not say"},
		"nothing":           {200, media, `{}`, "does not say"},
		"twice":             {200, media, `{"active":false,"active":true}`, "the answer"},
		"other case":        {200, media, `{"Active":true}`, "does not say"},
		"a list":            {200, media, `[{"active":true}]`, "not an object"},
		"empty":             {200, media, ``, "the answer"},
		"more behind":       {200, media, `{"active":true}{}`, "the answer"},
		"a page":            {200, "text/html", `{"active":true}`, "something else"},
		"a signed answer":   {200, "application/token-introspection+jwt", `e30.e30.e30`, "something else"},
		"huge":              {200, media, `{"active":true,"x":"` + strings.Repeat("x", maxAnswer) + `"}`, "more than 64 KiB"},
		"deep":              {200, media, `{"active":true,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "the answer"},
		"our secret":        {401, media, `{"error":"invalid_client"}`, "does not take our client id"},
		"broken":            {500, media, `{"active":true}`, "answered 500"},
		"no content":        {204, media, ``, "answered 204"},
		"elsewhere":         {307, media, `{"active":true}`, "answered 307"},
	} {
		s.says(c.status, c.media, c.text)
		_, err := a.Ask(t.Context(), name)
		if c.want == "" && !errors.Is(err, ErrInactive) || c.want != "" && (err == nil || errors.Is(err, ErrInactive) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "p: w") || strings.Contains(err.Error(), "p%3A")) {
			t.Errorf("%s: the secret is told: %v", name, err)
		}
	}
}

// Many requests with one token ask once; requests with different tokens never share an answer (row E24).
func TestOneQuestionForEachToken(t *testing.T) {
	s := newServer(t)
	all := make(chan struct{})
	s.does(func(w http.ResponseWriter, r *http.Request) {
		<-all
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "sub": r.FormValue("token")})
	})
	a := s.asker(t)
	var done sync.WaitGroup
	for i := range 200 {
		token := string(rune('a' + i%10))
		done.Go(func() {
			if claims, err := a.Ask(t.Context(), token); err != nil || claims["sub"] != token {
				t.Errorf("%s: %v, %v", token, claims, err)
			}
		})
	}
	for s.asked.Load() < 10 {
		time.Sleep(time.Millisecond)
	}
	close(all)
	done.Wait()
	if n := s.asked.Load(); n < 10 || n > 200 {
		t.Errorf("asked %d times", n)
	}
}

// Whoever asked first and goes away takes nobody's answer along, and whoever doesn't wait isn't held up.
func TestWhoGoesAway(t *testing.T) {
	s := newServer(t)
	asked, all := make(chan struct{}, 1), make(chan struct{})
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-all
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"active":true}`))
	})
	a := s.asker(t)
	ctx, leave := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := a.Ask(ctx, "x"); first <- err }()
	<-asked
	go func() { _, err := a.Ask(t.Context(), "x"); second <- err }()
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(all)
	if err := <-second; err != nil {
		t.Errorf("%v", err)
	}
}

// A server that doesn't answer holds up so many questions, and no more.
func TestAServerThatHangs(t *testing.T) {
	s := newServer(t)
	var now, most atomic.Int64
	s.does(func(_ http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_ = r.ParseForm() // the server sees a client go only when the body was read
		<-r.Context().Done()
	})
	a := s.asker(t)
	a.limit = askTime / 2
	var done sync.WaitGroup
	var failed atomic.Int64
	for i := range 3 * atOnce {
		done.Go(func() {
			if _, err := a.Ask(t.Context(), strings.Repeat("x", i+1)); err != nil && !errors.Is(err, ErrInactive) {
				failed.Add(1)
			}
		})
	}
	done.Wait()
	if failed.Load() != 3*atOnce {
		t.Errorf("%d failed", failed.Load())
	}
	if len(a.turns) != 0 || most.Load() == 0 {
		t.Errorf("%d turns are taken, %d were asked at once", len(a.turns), most.Load())
	}
}

// A fault of ours while an issuer is asked is an error for those who asked, and ends nothing else.
func TestAFaultWhileAsking(t *testing.T) {
	a := New(Config{URL: "http://127.0.0.1:1/"}, http.DefaultClient, func() (secret.Value, error) { panic("a fault") })
	if _, err := a.Ask(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "fault of the gateway's own") || len(a.turns) != 0 {
		t.Errorf("%v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, d := range []time.Duration{-1, 2 * time.Minute} {
		if err := (Config{Cache: d}).Check(); err == nil || !strings.Contains(err.Error(), "between") {
			t.Errorf("%s: %v", d, err)
		}
	}
}

// FuzzRead: no answer makes it panic, and what it takes is an object.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"active":true}`, `{"active":false,"active":true}`, `[]`, ``, `{"a":{"b":[1,2.5e9,"\u0000"]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if claims, err := Read(data); err == nil && claims == nil {
			t.Errorf("%q is read as nothing", data)
		}
	})
}
