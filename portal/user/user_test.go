package user_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/portal/user"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

// cheap is a cost for tests, at which the ways still differ if they differ.
var cheap = user.Cost{Memory: 1 << 10, Passes: 1}

type house struct {
	*user.Users
	store store.Durable
	now   time.Time
}

func open(t testing.TB) *house {
	t.Helper()
	h := &house{now: time.Now()}
	key, err := secret.New([]byte(strings.Repeat("f", 32)), "a test")
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return h.now }
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "store.db"), Key: func() (secret.Value, []secret.Value) { return key, nil }, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	h.store = db
	h.Users, err = user.New(store.Parts{In: db}, store.PartErrors, user.Options{Digest: []byte(strings.Repeat("d", 32)), Rand: rand.Reader, Now: clock, Cost: cheap, Counters: memory.NewCounters(1000, clock)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const good = "correct horse battery staple"

func (h *house) invite(t testing.TB, name string, roles ...string) (user.User, string) {
	t.Helper()
	u, link, err := h.Invite(t.Context(), name, roles, "a test")
	if err != nil {
		t.Fatal(err)
	}
	return u, link
}

func (h *house) member(t testing.TB, name string, roles ...string) user.User {
	t.Helper()
	_, link := h.invite(t, name, roles...)
	u, err := h.Choose(t.Context(), link, good)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func try(name, password, from string) user.Try {
	return user.Try{Name: name, Password: password, From: netip.MustParseAddr(from)}
}

func (h *house) in(t testing.TB, try user.Try) (user.User, error) {
	t.Helper()
	u, _, err := h.SignIn(t.Context(), try)
	return u, err
}

func TestLife(t *testing.T) {
	h := open(t)
	u, link := h.invite(t, " Alice ", "support", "customer", "support")
	if u.Name != "alice" || fmt.Sprint(u.Roles) != "[customer support]" || u.ID == "" || u.Invited == nil {
		t.Errorf("%+v", u)
	}
	if _, err := h.in(t, try("alice", "", "192.0.2.1")); !errors.Is(err, user.ErrWrong) {
		t.Errorf("in without a password: %v", err)
	}
	if _, _, err := h.Invite(t.Context(), "ALICE", nil, "a test"); !errors.Is(err, user.ErrExists) {
		t.Errorf("invited twice: %v", err)
	}
	if got, err := h.Invited(t.Context(), link); err != nil || got.ID != u.ID {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := h.Choose(t.Context(), link, "short"); err == nil {
		t.Error("a short password")
	}
	if got, err := h.Choose(t.Context(), link, good); err != nil || got.ID != u.ID || got.Invited != nil {
		t.Errorf("%+v %v", got, err)
	}
	for _, l := range []string{link, "", ".", link + "A", link[:len(link)-1], strings.Repeat("A", 43) + "." + strings.Repeat("A", 43)} {
		if _, err := h.Choose(t.Context(), l, good+"2"); !errors.Is(err, user.ErrLink) {
			t.Errorf("a link that is used or not whole: %v", err)
		}
	}
	for _, name := range []string{"alice", "Alice", "ALICE ", "\talice"} {
		if got, err := h.in(t, try(name, good, "192.0.2.1")); err != nil || got.ID != u.ID {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, password := range map[string]string{"alice": good + " ", "alice@dom": good, "bob": good, "": good, "alice\x00": good, "alicé": good} {
		if _, err := h.in(t, try(name, password, "192.0.2.2")); !errors.Is(err, user.ErrWrong) {
			t.Errorf("%q: %v", name, err)
		}
	}
	h.now = h.now.Add(time.Hour)
	again, link, err := h.Reset(t.Context(), "alice")
	if err != nil || again.ID != u.ID {
		t.Fatal(err)
	}
	if _, err := h.in(t, try("alice", good, "192.0.2.1")); !errors.Is(err, user.ErrWrong) {
		t.Errorf("in with a password that was taken away: %v", err)
	}
	h.now = h.now.Add(user.LinkTime)
	if _, err := h.Choose(t.Context(), link, good); !errors.Is(err, user.ErrLink) {
		t.Errorf("a link that is over: %v", err)
	}
	if _, err := h.Remove(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if other := h.member(t, "alice"); other.ID == u.ID {
		t.Error("another of the same name has the same id")
	}
	if list, err := h.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
}

// Nothing that was typed, and no name, is in the clear where the store's keys are not needed.
func TestRecords(t *testing.T) {
	h := open(t)
	h.member(t, "alice", "support")
	list, err := h.store.List(t.Context(), "", "", 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d records: %v", len(list), err)
	}
	if strings.Contains(list[0].Key, "alice") || strings.Contains(string(list[0].Value), good) || !strings.Contains(string(list[0].Value), "$argon2id$") {
		t.Errorf("%s: %s", list[0].Key, list[0].Value)
	}
}

// Guessing is slowed down by name and by network, in every spelling; the user's own browser is not (rows E18, E19).
func TestSlow(t *testing.T) {
	h := open(t)
	alice := h.member(t, "alice")
	slowed := func(spell func(i int) user.Try) int {
		for i := range 200 {
			if _, err := h.in(t, spell(i)); errors.Is(err, user.ErrSlow) {
				return i
			}
		}
		return 200
	}
	if n := slowed(func(i int) user.Try {
		return try([]string{"alice", "Alice", "ALICE ", " alice"}[i%4], "guess", fmt.Sprintf("2001:db8:%x::1", i))
	}); n != 10 {
		t.Errorf("a name can be tried %d times from everywhere", n)
	}
	if n := slowed(func(i int) user.Try {
		return try(fmt.Sprintf("user%d", i), "guess", fmt.Sprintf("2001:db8:ffff:1::%x", i+1))
	}); n != 30 {
		t.Errorf("a network can try %d names", n)
	}
	own := try("alice", good, "198.51.100.7")
	own.Known = user.Device{ID: "d1", User: alice.ID, Chosen: alice.Chosen}
	if _, err := h.in(t, own); err != nil {
		t.Errorf("the user's own browser is shut out: %v", err)
	}
	stranger := own
	stranger.Known.User = "another"
	if _, err := h.in(t, stranger); !errors.Is(err, user.ErrSlow) {
		t.Errorf("a browser of another user: %v", err)
	}
	own.Password = "guess"
	if n := slowed(func(int) user.Try { return own }); n != 4 {
		t.Errorf("a known browser can try %d times more", n)
	}
	h.now = h.now.Add(time.Minute)
	if _, wait, err := h.SignIn(t.Context(), try("alice", good, "198.51.100.8")); err != nil {
		t.Errorf("after a minute: %v, wait %s", err, wait)
	}
}

// Whoever comes while the password is taken away, or while two come, is let in or not, and nothing in between.
func TestAtOnce(t *testing.T) {
	h := open(t)
	alice := h.member(t, "alice")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			if _, err := h.in(t, user.Try{Name: "alice", Password: good, From: netip.MustParseAddr("192.0.2.1"), Known: user.Device{ID: fmt.Sprint(i), User: alice.ID, Chosen: alice.Chosen}}); err != nil {
				t.Errorf("two at once: %v", err)
			}
		})
	}
	all.Wait()
	for range 20 {
		h.now = h.now.Add(time.Hour)
		all.Go(func() { _, _ = h.in(t, try("alice", good, "192.0.2.1")) })
		_, link, err := h.Reset(t.Context(), "alice")
		all.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.in(t, try("alice", good, "192.0.2.1")); !errors.Is(err, user.ErrWrong) {
			t.Fatalf("the password that was taken away: %v", err)
		}
		if _, err := h.Choose(t.Context(), link, good); err != nil {
			t.Fatal(err)
		}
	}
}

// A flood of logins takes a bounded number of hashes at once; the others are told to come again.
func TestBusy(t *testing.T) {
	h := open(t)
	h.member(t, "alice")
	ctx, end := context.WithCancel(t.Context())
	end()
	if _, _, err := h.SignIn(ctx, try("alice", good, "192.0.2.1")); err == nil {
		t.Error("in without waiting")
	}
}

func TestPasswords(t *testing.T) {
	for password, ok := range map[string]bool{
		good: true, "elevenchars": false, "twelve chars": true, "пароль и ещё слова": true, strings.Repeat("ab", 20): false, "alice-in-chains": false,
		"Password1234": false, strings.Repeat("x y z w v ", 110): false, "a\xffbcdefghijklmnop": false, "alice is only a part of this long sentence": true,
	} {
		if got := user.CheckPassword("alice", password); (got == "") != ok {
			t.Errorf("%q: %q", password, got)
		}
	}
}

// A name that isn't there takes as long as a wrong password (row E35). The two are interleaved, and compared by the share of pairs
// in which one was slower.
func TestTiming(t *testing.T) {
	h := open(t)
	h.member(t, "alice")
	const rounds = 400
	times := map[string][]time.Duration{}
	for i := range rounds {
		pair := []string{"alice", "nobody"}
		if i%2 == 1 {
			slices.Reverse(pair)
		}
		for _, name := range pair {
			try := try(name, "a wrong password", "192.0.2.1")
			h.now = h.now.Add(time.Minute) // so that none is slowed
			began := time.Now()
			if _, err := h.in(t, try); !errors.Is(err, user.ErrWrong) {
				t.Fatal(err)
			}
			times[name] = append(times[name], time.Since(began))
		}
	}
	slower := 0
	for _, a := range times["alice"] {
		for _, b := range times["nobody"] {
			if a > b {
				slower++
			}
		}
	}
	share := float64(slower) / (rounds * rounds)
	medians := map[string]time.Duration{}
	for name, list := range times {
		slices.Sort(list)
		medians[name] = list[len(list)/2]
	}
	t.Logf("a wrong password was slower than an unknown name in %.1f %% of pairs; medians %v", 100*share, medians)
	if share > 0.7 || share < 0.3 {
		t.Errorf("the two can be told apart")
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"alice", "ALICE ", "a@b", "ａlice", "K", "\u212a", "-a", "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := user.Canonical(s)
		if !ok {
			return
		}
		if again, ok := user.Canonical(name); !ok || again != name || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' }) {
			t.Fatalf("%q becomes %q and then %q", s, name, again)
		}
	})
}
