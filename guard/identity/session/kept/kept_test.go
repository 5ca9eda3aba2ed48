package kept_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/record"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

var server *pgtest.Server

func TestMain(m *testing.M) {
	s, err := pgtest.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = s
	code := m.Run()
	s.Remove()
	os.Exit(code)
}

// world is a store and a clock that several nodes share.
type world struct {
	t     *testing.T
	open  func() store.Durable
	began time.Time
	after atomic.Int64
	key   []byte
}

func (w *world) now() time.Time { return w.began.Add(time.Duration(w.after.Load())) }

// lost is a store that can be out of reach.
type lost struct {
	store.Parts
	gone atomic.Bool
}

func (l *lost) Get(ctx context.Context, key string) (record.Record, error) {
	if l.gone.Load() {
		return record.Record{}, store.ErrUnavailable
	}
	return l.Parts.Get(ctx, key)
}

func (l *lost) WriteAll(ctx context.Context, all ...record.Write) error {
	if l.gone.Load() {
		return store.ErrUnavailable
	}
	return l.Parts.WriteAll(ctx, all...)
}

func (l *lost) Since(ctx context.Context, prefix, mark string) ([]record.Record, string, error) {
	if l.gone.Load() {
		return nil, "", store.ErrUnavailable
	}
	return l.Parts.Since(ctx, prefix, mark)
}

type node struct {
	*kept.Sessions
	store *lost
}

func (w *world) node() *node {
	w.t.Helper()
	n := &node{store: &lost{Parts: store.Parts{In: w.open()}}}
	n.Sessions = kept.New(n.store, store.PartErrors, kept.Options{Key: w.key, Rand: rand.Reader, Now: w.now})
	n.Set(kept.Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour, Most: 3}, nil)
	if err := n.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// each runs a test over each store that is durable.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	key := []byte(strings.Repeat("k", 32))
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		w, path := &world{t: t, began: time.Now().UTC().Truncate(time.Second), key: key}, filepath.Join(t.TempDir(), "store.db")
		fileKey, err := secret.New([]byte(strings.Repeat("f", 32)), "a test")
		if err != nil {
			t.Fatal(err)
		}
		w.open = func() store.Durable {
			db, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Key: func() (secret.Value, []secret.Value) { return fileKey, nil }, Now: w.now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		}
		test(t, w)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		w, config := &world{t: t, began: time.Now().UTC().Truncate(time.Second), key: key}, server.Database(t)
		w.open = func() store.Durable {
			db, err := postgres.Open(t.Context(), postgres.Options{Config: config})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		}
		test(t, w)
	})
}

var alice = session.Session{Provider: "corp", Issuer: "https://idp.example", Subject: "alice", Roles: []string{"customer"}}

func create(t *testing.T, n *node, q session.Session, g kept.Grant) (session.Session, string) {
	t.Helper()
	q, cookie, err := n.Create(t.Context(), q, "login.example", g)
	if err != nil {
		t.Fatal(err)
	}
	return q, cookie
}

func want(t *testing.T, n *node, host, cookie string, want error) *session.Entry {
	t.Helper()
	e, err := n.Find(t.Context(), host, cookie)
	if !errors.Is(err, want) || (err == nil) != (e != nil) {
		t.Errorf("%v, want %v", err, want)
	}
	return e
}

func TestDoors(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.node()
		q, cookie := create(t, n, alice, kept.Grant{})
		e := want(t, n, "login.example", cookie, nil)
		if e.Subject != "alice" || e.ID != q.ID || !e.Ends.Equal(w.now().Add(12*time.Hour)) {
			t.Errorf("%+v", e.Session)
		}
		want(t, n, "app.example", cookie, session.ErrUnknown)
		_, second, err := n.Open(t.Context(), q.ID, "app.example")
		if err != nil {
			t.Fatal(err)
		}
		want(t, n, "app.example", second, nil)
		want(t, n, "login.example", second, session.ErrUnknown)
		_, third, err := n.Open(t.Context(), q.ID, "app.example")
		if err != nil {
			t.Fatal(err)
		}
		want(t, n, "app.example", third, nil)
		want(t, n, "app.example", second, session.ErrUnknown) // another door stands there now
		want(t, n, "login.example", cookie, nil)

		id, secret, _ := strings.Cut(cookie, ".")
		for name, c := range map[string]string{
			"empty": "", "id": id, "no secret": id + ".", "no id": "." + secret, "cut": cookie[:len(cookie)-1], "long": cookie + "A", "padded": cookie + "=",
			"another alphabet": strings.ReplaceAll(cookie, id, strings.Repeat("+", 24)), "made up": strings.Repeat("A", 24) + "." + secret,
			"spare bits": cookie[:len(cookie)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", cookie[len(cookie)-1])^1]),
		} {
			if _, err := n.Find(t.Context(), "login.example", c); !errors.Is(err, session.ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		want(t, n, "login.example", id+"."+strings.Repeat("A", 43), session.ErrUnknown)

		for _, key := range []string{"session/" + q.ID} {
			r, err := n.store.Get(t.Context(), key)
			if err != nil || strings.Contains(string(r.Value), secret) {
				t.Errorf("%v; the record holds the cookie: %s", err, r.Value)
			}
		}
	})
}

// A session opens on every node as soon as the browser has its cookie, and is shut out on all of them in under a second.
func TestNodes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a, b := w.node(), w.node()
		ctx, end := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer end()
		q, cookie := create(t, a, alice, kept.Grant{})
		want(t, b, "login.example", cookie, nil) // which has not heard of it
		_, app, err := a.Open(t.Context(), q.ID, "app.example")
		if err != nil {
			t.Fatal(err)
		}
		want(t, b, "app.example", app, nil)
		for _, n := range []*node{a, b} {
			running.Go(func() { n.Run(ctx) })
		}
		if _, err := a.End(t.Context(), q.ID, "root", "a test"); err != nil {
			t.Fatal(err)
		}
		want(t, a, "app.example", app, session.ErrEnded)
		began := time.Now()
		for {
			_, err := b.Find(t.Context(), "app.example", app)
			if errors.Is(err, session.ErrEnded) {
				break
			}
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the other node still says %v", err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("refused on the other node after %s", time.Since(began).Round(time.Millisecond))
		if _, _, err := b.Open(t.Context(), q.ID, "app.example"); !errors.Is(err, kept.ErrGone) {
			t.Errorf("opened again: %v", err)
		}
	})
}

func TestEnds(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a, b := w.node(), w.node()
		_, cookie := create(t, a, alice, kept.Grant{})
		later := func(d time.Duration) {
			w.after.Add(int64(d))
			for _, n := range []*node{a, b} { // they hear of the store all the time
				if err := n.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 4 { // longer than it may be idle, but it is used
			later(10 * time.Minute)
			want(t, a, "login.example", cookie, nil)
		}
		if err := a.NoteUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, b, "login.example", cookie, nil) // which has to ask when it was used
		later(16 * time.Minute)
		want(t, a, "login.example", cookie, session.ErrEnded)
		want(t, b, "login.example", cookie, session.ErrEnded)

		q, cookie := create(t, a, alice, kept.Grant{})
		for range 12*6 - 1 {
			later(10 * time.Minute)
			want(t, a, "login.example", cookie, nil)
		}
		later(10 * time.Minute) // twelve hours: whatever happens
		if _, err := a.Find(t.Context(), "login.example", cookie); !errors.Is(err, session.ErrEnded) && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: %v", q.ID, err)
		}
	})
}

// A session that another node has seen used is idle as far as this one knows, and ends all the same when it is meant: by a
// provider, by a revocation, by somebody who asks.
func TestEndUsedElsewhere(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a, b := w.node(), w.node()
		q, cookie := create(t, a, alice, kept.Grant{})
		for range 2 {
			w.after.Add(int64(10 * time.Minute))
			for _, n := range []*node{a, b} {
				if err := n.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			want(t, a, "login.example", cookie, nil)
		}
		ended, err := b.EndAll(t.Context(), func(one session.Session) bool { return one.Subject == "alice" }, "root", "laptop stolen")
		if err != nil || len(ended) != 1 || ended[0].ID != q.ID {
			t.Errorf("%v %v", ended, err)
		}
		if err := a.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, a, "login.example", cookie, session.ErrEnded)
	})
}

// More uses than are written at once are all written, none is written again that is known, and a node that has just started
// lists what is used on another.
func TestUses(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a := w.node()
		a.Set(kept.Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour}, nil)
		cookies := make([]string, 502)
		for i := range cookies {
			_, cookies[i] = create(t, a, alice, kept.Grant{})
		}
		for range 2 {
			w.after.Add(int64(10 * time.Minute))
			if err := a.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, c := range cookies {
				want(t, a, "login.example", c, nil)
			}
		}
		if err := a.NoteUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := w.node()
		b.Set(kept.Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour}, nil)
		if err := b.LoadUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := b.List(false); len(list) != len(cookies) {
			t.Errorf("%d listed", len(list))
		}
		a.Set(kept.Limits{}, nil) // a document without a portal
		a.store.gone.Store(true)
		if err := a.NoteUses(t.Context()); err != nil {
			t.Errorf("written again: %v", err)
		}
	})
}

// A page that asks for many things at once of a node that has not seen its session used gets all of them: none is refused
// because another is looking into the store.
func TestIdleTogether(t *testing.T) {
	w := &world{t: t, began: time.Now().UTC().Truncate(time.Second), key: []byte(strings.Repeat("k", 32))}
	together := make(chan struct{})
	in := &slow{Records: nowhere{}, all: map[string]record.Record{}, wait: together}
	s := kept.New(in, record.Errors{None: store.ErrNone}, kept.Options{Key: w.key, Rand: rand.Reader, Now: w.now})
	s.Set(kept.Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour}, nil)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	q, cookie, err := s.Create(t.Context(), alice, "login.example", kept.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	w.after.Add(int64(20 * time.Minute))
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.all["session-use/"+q.ID] = record.Record{Key: "session-use/" + q.ID, Value: []byte(`{"at":"` + w.now().Add(-time.Minute).Format(time.RFC3339) + `"}`), Version: 1}
	answers := make(chan error, 4)
	for range cap(answers) {
		go func() { _, err := s.Find(t.Context(), "login.example", cookie); answers <- err }()
	}
	time.Sleep(50 * time.Millisecond)
	close(together)
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

// slow is a store whose answers wait.
type slow struct {
	kept.Records
	all  map[string]record.Record
	wait chan struct{}
}

func (s *slow) Get(_ context.Context, key string) (record.Record, error) {
	<-s.wait
	if r, ok := s.all[key]; ok {
		return r, nil
	}
	return record.Record{}, store.ErrNone
}

// When nothing is heard of the store a session may have been ended, so none opens anything.
func TestStoreLost(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.node()
		_, cookie := create(t, n, alice, kept.Grant{})
		n.store.gone.Store(true)
		want(t, n, "login.example", cookie, nil)
		w.after.Add(int64(11 * time.Second))
		want(t, n, "login.example", cookie, session.ErrUnavailable)
		n.store.gone.Store(false)
		if err := n.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, n, "login.example", cookie, nil)
	})
}

func TestMost(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.node()
		var cookies []string
		for range 5 {
			_, c := create(t, n, alice, kept.Grant{})
			cookies = append(cookies, c)
			w.after.Add(int64(time.Second))
		}
		bob := alice
		bob.Subject = "bob"
		_, other := create(t, n, bob, kept.Grant{})
		for i, c := range cookies {
			if i < 2 {
				want(t, n, "login.example", c, session.ErrEnded)
			} else {
				want(t, n, "login.example", c, nil)
			}
		}
		want(t, n, "login.example", other, nil)
		ended, err := n.EndAll(t.Context(), func(q session.Session) bool { return q.Subject == "alice" }, "root", "")
		if err != nil || len(ended) != 3 {
			t.Errorf("%d ended: %v", len(ended), err)
		}
		want(t, n, "login.example", cookies[4], session.ErrEnded)
		want(t, n, "login.example", other, nil)
		if l := n.List(false); len(l) != 1 || l[0].Subject != "bob" {
			t.Errorf("%+v", l)
		}
		if l := n.List(true); len(l) != 6 {
			t.Errorf("%d in all", len(l))
		}
	})
}

// Whoever ends a session wins over all who change it at the same time (row E16).
func TestEndWins(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a, b := w.node(), w.node()
		rounds := 100
		if os.Getenv("GATEHOUSE_SOAK") == "1" {
			rounds = 1000
		}
		for i := range rounds {
			q, cookie := create(t, a, alice, kept.Grant{Refresh: "r"})
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := a.End(t.Context(), q.ID, "root", ""); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
			})
			all.Go(func() { _, _, _ = b.Open(t.Context(), q.ID, "app.example") })
			all.Go(func() { _, _, _ = b.Renew(t.Context(), q.ID, "login.example", alice, kept.Grant{Refresh: "s"}) })
			all.Go(func() { _ = a.Mapped(t.Context(), q.ID, []string{"admin"}, nil) })
			all.Wait()
			for _, n := range []*node{a, b} {
				if err := n.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := n.Find(t.Context(), "login.example", cookie); !errors.Is(err, session.ErrEnded) && !errors.Is(err, session.ErrUnknown) {
					t.Fatalf("round %d: %v", i, err)
				}
				if n.ByID(q.ID) != nil {
					t.Fatalf("round %d: it lives", i)
				}
			}
		}
	})
}

// A provider that doesn't let a user in any more is heard: beside requests while there is time, before them when there is none.
func TestConfirm(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.node()
		var asked atomic.Int64
		answer := make(chan error, 1)
		n.Set(kept.Limits{Idle: 10 * time.Hour, Absolute: 12 * time.Hour, Confirm: 5 * time.Minute, Most: 3}, func(_ context.Context, e *session.Entry) error {
			asked.Add(1)
			err := <-answer
			if err == nil {
				e.Confirm(w.now())
			}
			return err
		})
		_, plain := create(t, n, alice, kept.Grant{})
		_, cookie := create(t, n, alice, kept.Grant{Refresh: "r"})
		later := func(d time.Duration) {
			w.after.Add(int64(d))
			if err := n.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		later(4 * time.Minute)
		want(t, n, "login.example", cookie, nil)
		if asked.Load() != 0 {
			t.Error("asked before it was time")
		}
		later(2 * time.Minute)
		want(t, n, "login.example", cookie, nil) // and does not wait
		answer <- nil
		for deadline := time.Now().Add(20 * time.Second); asked.Load() != 1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		}
		for e := n.ByID(want(t, n, "login.example", cookie, nil).ID); !e.Confirmed().Equal(w.now()); time.Sleep(time.Millisecond) {
		}
		later(11 * time.Minute)
		answer <- errors.New("no answer")
		want(t, n, "login.example", cookie, session.ErrUnconfirmed)
		answer <- nil
		want(t, n, "login.example", cookie, nil)
		want(t, n, "login.example", plain, nil) // for which nobody can be asked
		if asked.Load() != 3 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// What a session has open ends with it, on every node, and when it is over or idle.
func TestWatch(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a, b := w.node(), w.node()
		q, cookie := create(t, a, alice, kept.Grant{})
		want(t, b, "login.example", cookie, nil)
		heard := make(chan string, 4)
		a.Watch(q.ID, func() { heard <- "a" })
		b.Watch(q.ID, func() { heard <- "b" })
		stop := b.Watch(q.ID, func() { heard <- "stopped" })
		stop()
		if _, err := a.End(t.Context(), q.ID, "root", ""); err != nil {
			t.Fatal(err)
		}
		if err := b.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for range 2 {
			select {
			case who := <-heard:
				got[who] = true
			case <-time.After(20 * time.Second):
			}
		}
		if !got["a"] || !got["b"] || got["stopped"] {
			t.Errorf("heard by %v", got)
		}

		q, _ = create(t, a, alice, kept.Grant{})
		a.Watch(q.ID, func() { heard <- "idle" })
		a.LookAfter(t.Context())
		select {
		case who := <-heard:
			t.Errorf("%s, and the session lives", who)
		default:
		}
		w.after.Add(int64(16 * time.Minute))
		if err := a.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.LookAfter(t.Context())
		select {
		case who := <-heard:
			if who != "idle" {
				t.Error(who)
			}
		case <-time.After(20 * time.Second):
			t.Error("an idle session goes on")
		}
	})
}

func TestGrant(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a, b := w.node(), w.node()
		q, _ := create(t, a, alice, kept.Grant{Refresh: "secret-refresh"})
		g, version, err := b.GrantOf(t.Context(), q.ID)
		if err != nil || g.Refresh != "secret-refresh" || strings.Contains(fmt.Sprintf("%v %+v %#v", g, g, g), "secret-refresh") {
			t.Fatalf("%v %v", g, err)
		}
		g.Refresh = "next"
		if err := b.SetGrant(t.Context(), q, g, version); err != nil {
			t.Fatal(err)
		}
		if err := a.SetGrant(t.Context(), q, g, version); !errors.Is(err, kept.ErrTaken) {
			t.Errorf("two nodes have the word: %v", err)
		}
		if _, err := a.End(t.Context(), q.ID, "root", ""); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.GrantOf(t.Context(), q.ID); !errors.Is(err, kept.ErrGone) {
			t.Errorf("what the provider gave outlives the session: %v", err)
		}
		if err := b.SetGrant(t.Context(), q, g, version+1); !errors.Is(err, kept.ErrTaken) {
			t.Errorf("and comes back: %v", err)
		}
	})
}

// nowhere is a store that keeps nothing: what is measured is memory.
type nowhere struct{}

func (nowhere) Get(context.Context, string) (record.Record, error) {
	return record.Record{}, store.ErrNone
}
func (nowhere) WriteAll(context.Context, ...record.Write) error { return nil }
func (nowhere) Since(_ context.Context, _, mark string) ([]record.Record, string, error) {
	return nil, mark, nil
}

// BenchmarkLive is what 100,000 sessions take of memory, and what finding one of them costs (issue 4).
func BenchmarkLive(b *testing.B) {
	const sessions = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := kept.New(nowhere{}, store.PartErrors, kept.Options{Key: []byte(strings.Repeat("k", 32)), Rand: rand.Reader, Now: time.Now})
	s.Set(kept.Limits{Idle: time.Hour, Absolute: 12 * time.Hour}, nil)
	if err := s.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	cookies := make([]string, 0, 100)
	for i := range sessions {
		q := alice
		q.Subject, q.Name, q.Address = fmt.Sprintf("248289761001-%d", i), fmt.Sprintf("user%d@example.com", i), "2001:db8::1234"
		q.Agent, q.Scopes, q.Methods = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", []string{"openid", "profile"}, []string{"pwd"}
		_, cookie, err := s.Create(b.Context(), q, "login.example.com", kept.Grant{})
		if err != nil {
			b.Fatal(err)
		}
		if i%1000 == 0 {
			cookies = append(cookies, cookie)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			_ = s.Load(b.Context()) // or it was not heard of the store
		}
		if _, err := s.Find(b.Context(), "login.example.com", cookies[i%len(cookies)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
	runtime.KeepAlive(s)
}

// FuzzFind: whatever a browser sends, only the cookie that was made opens the session.
func FuzzFind(f *testing.F) {
	s := kept.New(nowhere{}, store.PartErrors, kept.Options{Key: []byte(strings.Repeat("k", 32)), Rand: rand.Reader, Now: time.Now})
	s.Set(kept.Limits{Idle: time.Hour, Absolute: 12 * time.Hour}, nil)
	q, cookie, err := s.Create(f.Context(), alice, "login.example", kept.Grant{})
	if err != nil {
		f.Fatal(err)
	}
	id, _, _ := strings.Cut(cookie, ".")
	for _, c := range []string{cookie, id + ".", "." + id, strings.ToUpper(cookie), cookie + "=", cookie + "\n"} {
		f.Add("login.example", c)
	}
	f.Fuzz(func(t *testing.T, host, c string) {
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		e, err := s.Find(t.Context(), host, c)
		if opens := host == "login.example" && c == cookie; opens != (err == nil) || opens && e.ID != q.ID {
			t.Fatalf("%q at %q: %v", c, host, err)
		}
	})
}
