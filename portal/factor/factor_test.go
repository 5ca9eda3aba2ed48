package factor_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/gatehouse-sec/gatehouse/portal/factor"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/memory"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

type house struct {
	*factor.Factors
	store store.Durable
	now   time.Time
}

func open(t testing.TB) *house {
	t.Helper()
	h := &house{now: time.Unix(1_800_000_000, 0)}
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
	h.Factors, err = factor.New(store.Parts{In: db}, store.PartErrors, factor.Options{Digest: []byte(strings.Repeat("d", 32)), Rand: rand.Reader, Now: clock, Counters: memory.NewCounters(1000, clock)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var alice = factor.Whose{Issuer: "https://idp.example", Subject: "alice"}

func code(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *house) enrol(t testing.TB) (secret string, recovery []string) {
	t.Helper()
	if err := h.Permit(t.Context(), alice, time.Minute); err != nil {
		t.Fatal(err)
	}
	secret, _, err := h.Draft("shop", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if recovery, err = h.Enrol(t.Context(), alice, secret, code(t, secret, h.now), false); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(time.Hour)
	return secret, recovery
}

func (h *house) shows(t testing.TB, code string) error {
	t.Helper()
	_, _, err := h.Show(t.Context(), alice, code)
	return err
}

func TestEnrol(t *testing.T) {
	h := open(t)
	secret, address, err := h.Draft("shop", "alice")
	if err != nil || !strings.HasPrefix(address, "otpauth://totp/shop:alice?") {
		t.Fatal(address, err)
	}
	if _, err := h.Enrol(t.Context(), alice, secret, code(t, secret, h.now), false); !errors.Is(err, factor.ErrPermit) {
		t.Errorf("without a permit: %v", err)
	}
	if err := h.Permit(t.Context(), alice, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Enrol(t.Context(), alice, secret, "000000", false); !errors.Is(err, factor.ErrWrong) && err != nil {
		t.Errorf("with a wrong code: %v", err)
	}
	h.now = h.now.Add(time.Minute)
	if _, err := h.Enrol(t.Context(), alice, secret, code(t, secret, h.now), false); !errors.Is(err, factor.ErrPermit) {
		t.Errorf("the permit is over: %v", err)
	}
	if has, permitted, err := h.Has(t.Context(), alice); has || permitted || err != nil {
		t.Errorf("%t %t %v", has, permitted, err)
	}
	_, recovery := h.enrol(t)
	if has, permitted, err := h.Has(t.Context(), alice); !has || permitted || err != nil || len(recovery) != factor.Recovery {
		t.Errorf("%t %t %v, %d recovery codes", has, permitted, err, len(recovery))
	}
	if has, _, _ := h.Has(t.Context(), factor.Whose{Issuer: "https://other.example", Subject: "alice"}); has {
		t.Error("another issuer's user has it too")
	}
	list, err := h.store.List(t.Context(), "", "", 10)
	if err != nil || len(list) != 1 || strings.Contains(list[0].Key, "alice") || strings.Contains(string(list[0].Value), recovery[0]) {
		t.Errorf("%v %v", list, err)
	}
	other, _, err := h.Draft("shop", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Permit(t.Context(), alice, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Enrol(t.Context(), alice, other, code(t, other, h.now), false); !errors.Is(err, factor.ErrPermit) {
		t.Errorf("one that is there is replaced by a permit: %v", err)
	}
	if _, err := h.Enrol(t.Context(), alice, other, code(t, other, h.now), true); err != nil {
		t.Errorf("replaced by who has shown it: %v", err)
	}
	if err := h.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), alice); !errors.Is(err, factor.ErrNone) {
		t.Errorf("removed twice: %v", err)
	}
	if err := h.shows(t, recovery[0]); !errors.Is(err, factor.ErrNone) {
		t.Errorf("after it was removed: %v", err)
	}
}

// A code counts once, and only as it is (row E20).
func TestShow(t *testing.T) {
	h := open(t)
	secret, recovery := h.enrol(t)
	c := code(t, secret, h.now)
	if err := h.shows(t, c); err != nil {
		t.Fatal(err)
	}
	if err := h.shows(t, c); !errors.Is(err, factor.ErrWrong) {
		t.Errorf("again: %v", err)
	}
	h.now = h.now.Add(time.Hour)
	earlier, later := code(t, secret, h.now.Add(-30*time.Second)), code(t, secret, h.now.Add(30*time.Second))
	if err := h.shows(t, later); err != nil {
		t.Errorf("a clock that is ahead: %v", err)
	}
	if err := h.shows(t, earlier); !errors.Is(err, factor.ErrWrong) {
		t.Errorf("a code of before the last one: %v", err)
	}
	for name, at := range map[string]time.Duration{"too early": -90 * time.Second, "too late": 90 * time.Second} {
		h.now = h.now.Add(time.Hour)
		if err := h.shows(t, code(t, secret, h.now.Add(at))); !errors.Is(err, factor.ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, spell := range []func(string) string{
		func(c string) string { return " " + c }, func(c string) string { return c + "\n" }, func(c string) string { return c[:3] + " " + c[3:] }, func(c string) string { return "0" + c },
		func(c string) string { return strings.Map(func(r rune) rune { return r - '0' + '٠' }, c) }, func(c string) string { return c[:5] }, func(string) string { return "" },
	} {
		h.now = h.now.Add(time.Hour)
		if c := spell(code(t, secret, h.now)); !errors.Is(h.shows(t, c), factor.ErrWrong) {
			t.Errorf("%q is taken", c)
		}
	}
	for i, spell := range []func(string) string{strings.ToUpper, func(c string) string { return strings.ReplaceAll(c, "-", "") }} {
		h.now = h.now.Add(time.Hour)
		if method, left, err := h.Show(t.Context(), alice, spell(recovery[i])); err != nil || method != "recovery" || left != factor.Recovery-1-i {
			t.Errorf("a recovery code: %s %d %v", method, left, err)
		}
		if err := h.shows(t, recovery[i]); !errors.Is(err, factor.ErrWrong) {
			t.Errorf("a recovery code again: %v", err)
		}
	}
}

// Five tries in five minutes, and then it goes on: nobody is locked out.
func TestTries(t *testing.T) {
	h := open(t)
	secret, _ := h.enrol(t)
	n := 0
	for ; n < 50; n++ {
		if err := h.shows(t, fmt.Sprintf("%06d", n)); errors.Is(err, factor.ErrSlow) {
			break
		}
	}
	if n != 5 {
		t.Errorf("%d tries", n)
	}
	if err := h.shows(t, code(t, secret, h.now)); !errors.Is(err, factor.ErrSlow) {
		t.Errorf("%v", err)
	}
	h.now = h.now.Add(time.Minute)
	if err := h.shows(t, code(t, secret, h.now)); err != nil {
		t.Errorf("after a minute: %v", err)
	}
}

// Of all who show one code at once, one is right.
func TestAtOnce(t *testing.T) {
	h := open(t)
	secret, _ := h.enrol(t)
	c := code(t, secret, h.now)
	var right atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if h.shows(t, c) == nil {
				right.Add(1)
			}
		})
	}
	all.Wait()
	if right.Load() != 1 {
		t.Errorf("%d are right", right.Load())
	}
}

func FuzzShow(f *testing.F) {
	h := open(f)
	secret, recovery := h.enrol(f)
	good := map[string]bool{}
	for _, d := range []int{-30, 0, 30} {
		good[code(f, secret, h.now.Add(time.Duration(d)*time.Second))] = true
	}
	for _, c := range []string{"000000", " 123456", "१२३४५६", recovery[0] + "x", "aaaa-bbbb-cccc-dddd", ""} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, c string) {
		if h.shows(t, c) == nil && !good[c] {
			t.Fatalf("%q is taken", c)
		}
	})
}
