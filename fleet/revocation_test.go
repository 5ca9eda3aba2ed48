package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// crew is some nodes in one bubble of time, over one store and one feed.
func crew(t *testing.T, n int, durable store.Durable, feed store.Feed) []*Revocations {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); synctest.Wait() })
	all := make([]*Revocations, n)
	for i := range all {
		all[i] = NewRevocations(RevocationConfig{LongestToken: time.Hour}, RevocationTools{Durable: durable, Feed: feed, Sealer: seal{}, Digest: []byte("k"), Now: time.Now})
		if err := all[i].Load(ctx); err != nil {
			t.Fatal(err)
		}
		go all[i].Run(ctx)
	}
	return all
}

func refused(t *testing.T, r *Revocations, issuer, subject, id string, issued time.Time) bool {
	t.Helper()
	yes, err := r.Revoked(issuer, subject, id, issued)
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

func TestWhatARevocationNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := crew(t, 1, newShelf(time.Now), nil)[0]
		noon := time.Now()
		for _, v := range []Revocation{
			{Kind: ByToken, Issuer: "a", Token: "1"},
			{Kind: BySubject, Issuer: "a", Subject: "ann", Before: noon},
			{Kind: ByTime, Issuer: "b", Before: noon},
		} {
			if got, err := r.Revoke(t.Context(), v); err != nil || !got.Kept {
				t.Fatalf("%+v: %+v %v", v, got, err)
			}
		}
		early, late, never := noon.Add(-time.Nanosecond), noon, time.Time{}
		for _, c := range []struct {
			issuer, subject, id string
			issued              time.Time
			want                bool
		}{
			{"a", "bob", "1", late, true}, {"a", "bob", "2", late, false}, {"b", "bob", "1", late, false}, {"a1", "bob", "", late, false},
			{"a", "ann", "", early, true}, {"a", "ann", "", never, true}, {"a", "ann", "2", late, false}, {"c", "ann", "", early, false},
			{"b", "eve", "", early, true}, {"b", "eve", "", never, true}, {"b", "eve", "", late, false}, {"c", "eve", "", never, false},
			{"a", "1", "ann", late, false}, // an id is no subject
		} {
			if got := refused(t, r, c.issuer, c.subject, c.id, c.issued); got != c.want {
				t.Errorf("%+v: %v", c, got)
			}
		}
		if _, err := r.Revoke(t.Context(), Revocation{Kind: ByTime, Before: noon}); err != nil || !refused(t, r, "c", "eve", "", early) || refused(t, r, "c", "eve", "", late) {
			t.Error("every issuer:", err)
		}
	})
}

func TestWrongRevocations(t *testing.T) {
	now := time.Now()
	long := strings.Repeat("x", maxWord+1)
	for name, v := range map[string]Revocation{
		"nothing":            {},
		"unknown kind":       {Kind: "all"},
		"token, no issuer":   {Kind: ByToken, Token: "1"},
		"token, no id":       {Kind: ByToken, Issuer: "a"},
		"token and subject":  {Kind: ByToken, Issuer: "a", Token: "1", Subject: "ann"},
		"token and time":     {Kind: ByToken, Issuer: "a", Token: "1", Before: now},
		"subject, no issuer": {Kind: BySubject, Subject: "ann"},
		"subject and token":  {Kind: BySubject, Issuer: "a", Subject: "ann", Token: "1"},
		"time and subject":   {Kind: ByTime, Subject: "ann"},
		"far future":         {Kind: ByTime, Before: now.Add(time.Hour)},
		"over long ago":      {Kind: ByTime, Before: now.Add(-10000 * time.Hour)},
		"far end":            {Kind: ByToken, Issuer: "a", Token: "1", Until: now.Add(20 * 365 * 24 * time.Hour)},
		"ended":              {Kind: ByToken, Issuer: "a", Token: "1", Until: now},
		"long":               {Kind: ByToken, Issuer: "a", Token: long},
		"line end":           {Kind: ByToken, Issuer: "a", Token: "1\n"},
	} {
		if _, err := v.complete(now, 720*time.Hour); !errors.Is(err, ErrRevocation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is said of the end of one token holds, also when that lives longer than tokens may: one without iat would be good again
// in its last days.
func TestTheEndOfAToken(t *testing.T) {
	now := time.Now().UTC()
	for _, c := range []struct {
		kind      Kind
		says, end time.Duration
	}{{ByToken, 0, time.Hour + allowance}, {ByToken, time.Minute, time.Minute}, {ByToken, 5 * time.Hour, 5 * time.Hour}, {BySubject, 5 * time.Hour, time.Hour + allowance}} {
		v := Revocation{Kind: c.kind, Issuer: "a"}
		if c.kind == ByToken {
			v.Token = "1"
		} else {
			v.Subject = "ann"
		}
		if c.says > 0 {
			v.Until = now.Add(c.says)
		}
		v, err := v.complete(now, time.Hour)
		if err != nil || !v.Until.Equal(now.Add(c.end)) {
			t.Errorf("%+v: until %v, %v", c, v.Until.Sub(now), err)
		}
	}
}

// A revocation reaches every node in under a second: with everything there, with Redis gone, and with PostgreSQL gone.
func TestReach(t *testing.T) {
	for _, c := range []struct {
		name               string
		noFeed, noStore    bool
		feedGone, keptGone bool
	}{{name: "both"}, {name: "store alone", noFeed: true}, {name: "feed gone", feedGone: true}, {name: "store gone", keptGone: true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept, bell := newShelf(time.Now), newBells()
				var feed store.Feed = bell
				if c.noFeed {
					feed = nil
				}
				nodes := crew(t, 5, kept, feed)
				time.Sleep(time.Second)
				kept.setGone(c.keptGone)
				bell.setGone(c.feedGone)
				var lags []time.Duration
				for i := range 100 {
					id := fmt.Sprint("t", i)
					began := time.Now()
					_, err := nodes[i%5].Revoke(t.Context(), Revocation{Kind: ByToken, Issuer: "a", Token: id})
					if c.keptGone != errors.Is(err, ErrNotKept) || !c.keptGone && err != nil {
						t.Fatal(err)
					}
					for _, n := range nodes {
						for !refused(t, n, "a", "x", id, began) {
							time.Sleep(time.Millisecond)
						}
					}
					lags = append(lags, time.Since(began))
					time.Sleep(77 * time.Millisecond)
				}
				slices.Sort(lags)
				t.Logf("all 5 nodes refuse after p50 %s, p99 %s", lags[50], lags[99])
				if lags[99] >= time.Second {
					t.Errorf("p99 %s", lags[99])
				}
				if !c.keptGone {
					return
				}
				if s := nodes[0].Status(); s.Pending != 20 {
					t.Errorf("%+v", s)
				}
				kept.setGone(false)
				time.Sleep(time.Second)
				if list, err := kept.List(t.Context(), "revocation/token/", "", 1000); err != nil || len(list) != 100 {
					t.Errorf("after the store is back, %d are kept (%v)", len(list), err)
				}
				if s := nodes[0].Status(); s.Pending != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// I7: who cannot know refuses. One of the two is enough to know; neither is not; and a feed that was silent for longer than
// it remembers proves nothing.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, bell := newShelf(time.Now), newBells()
		r := NewRevocations(RevocationConfig{}, RevocationTools{Durable: kept, Feed: bell, Now: time.Now})
		if yes, err := r.Revoked("a", "b", "c", time.Now()); yes || !errors.Is(err, ErrStale) || r.Status().Lag != -1 {
			t.Error("before it was loaded:", yes, err)
		}
		r = crew(t, 1, kept, bell)[0]
		state := func(what string, want bool) {
			t.Helper()
			_, err := r.Revoked("a", "b", "c", time.Now())
			if got := errors.Is(err, ErrStale); got != want || r.Status().Stale != want {
				t.Errorf("%s: stale %v, %+v", what, got, r.Status())
			}
		}
		kept.setGone(true)
		time.Sleep(10 * time.Minute)
		state("feed alone", false)
		kept.setGone(false)
		bell.setGone(true)
		time.Sleep(10 * time.Minute)
		state("store alone", false)
		kept.setGone(true)
		time.Sleep(29 * time.Second)
		state("neither for 29 s", false)
		time.Sleep(2 * time.Second)
		state("neither for 31 s", true)
		if _, err := r.Revoke(t.Context(), Revocation{Kind: ByToken, Issuer: "a", Token: "gone"}); !errors.Is(err, ErrNotKept) {
			t.Error(err)
		}
		if yes, err := r.Revoked("a", "b", "gone", time.Now()); !yes || err != nil {
			t.Error("what is known to be called back is refused as such also when stale", yes, err)
		}
		bell.setGone(false)
		time.Sleep(10 * time.Second)
		state("feed back after a gap, store not", true)
		kept.setGone(false)
		time.Sleep(time.Second)
		state("store back", false)
	})
}

// A clock that is set forward or back closes for a moment, until the store was asked again, and opens nothing.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		offset := time.Duration(0)
		now := func() time.Time { return time.Now().Add(offset) }
		r := NewRevocations(RevocationConfig{}, RevocationTools{Durable: newShelf(time.Now), Now: now})
		for _, jump := range []time.Duration{time.Hour, -2 * time.Hour, time.Hour} {
			if err := r.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			offset += jump
			if _, err := r.Revoked("a", "b", "c", now()); !errors.Is(err, ErrStale) {
				t.Errorf("%s: %v", jump, err)
			}
			if err := r.Load(t.Context()); err != nil || refused(t, r, "a", "b", "c", now()) {
				t.Errorf("%s: after a poll: %v", jump, err)
			}
		}
	})
}

// What was called back twice keeps the later time and the later end, whichever came first.
func TestMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := newShelf(time.Now)
		nodes := crew(t, 2, kept, nil)
		noon := time.Now()
		for i, before := range []time.Time{noon, noon.Add(-time.Hour)} {
			got, err := nodes[i].Revoke(t.Context(), Revocation{Kind: BySubject, Issuer: "a", Subject: "ann", Before: before})
			if err != nil || !got.Before.Equal(noon) {
				t.Errorf("%+v %v", got, err)
			}
		}
		time.Sleep(time.Second)
		for _, n := range nodes {
			if !refused(t, n, "a", "ann", "", noon.Add(-time.Minute)) {
				t.Error("the earlier time won")
			}
		}
		all, next, err := nodes[0].List(t.Context(), "", 10)
		if err != nil || next != "" || len(all) != 1 || all[0].Subject != "ann" {
			t.Errorf("%+v %q %v", all, next, err)
		}
	})
}

// What is called back is forgotten when it has ended, here and in the store.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := newShelf(time.Now)
		r := crew(t, 1, kept, nil)[0]
		soon := time.Now().Add(10 * time.Minute)
		for i := range 50 {
			if _, err := r.Revoke(t.Context(), Revocation{Kind: ByToken, Issuer: "a", Token: fmt.Sprint(i), Until: soon}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Revoke(t.Context(), Revocation{Kind: ByTime}); err != nil || r.Status().Held != 51 {
			t.Fatal(err, r.Status())
		}
		time.Sleep(12 * time.Minute)
		if s := r.Status(); s.Held != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		if s := r.Status(); s.Held != 0 || refused(t, r, "a", "b", "", time.Time{}) {
			t.Errorf("%+v", s)
		}
		if list, _ := kept.List(t.Context(), "", "", 100); len(list) != 0 {
			t.Errorf("%d records", len(list))
		}
	})
}

// No token's id, no subject and no issuer stands in a key or, where there is a sealer, in a message.
func TestNothingPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, bell := newShelf(time.Now), newBells()
		r := crew(t, 1, kept, bell)[0]
		for _, v := range []Revocation{{Kind: ByToken, Issuer: "canary-i", Token: "canary-t"}, {Kind: BySubject, Issuer: "canary-i", Subject: "canary-s"}} {
			if got, err := r.Revoke(t.Context(), v); err != nil || !got.Told {
				t.Fatal(err, got)
			}
		}
		list, err := kept.List(t.Context(), "", "", 100)
		if err != nil || len(list) != 2 {
			t.Fatal(err, len(list))
		}
		for _, record := range list {
			if strings.Contains(record.Key, "canary") || len(record.Key) > store.MaxKey {
				t.Error(record.Key)
			}
		}
		bell.mu.Lock()
		defer bell.mu.Unlock()
		for _, m := range bell.messages {
			if strings.Contains(string(m), "canary") {
				t.Errorf("%s", m)
			}
		}
	})
}

// Who can write to the feed without the key can neither call back nor stop anything.
func TestForgedMessages(t *testing.T) {
	r := NewRevocations(RevocationConfig{}, RevocationTools{Durable: newShelf(time.Now), Sealer: seal{}, Now: time.Now})
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	plain := `{"kind":"before","before":"2100-01-01T00:00:00Z","until":"2100-01-01T00:00:00Z"}`
	sealed, _ := seal{}.Seal(sealPurpose, []byte(plain), feedContext("revocation/other"))
	r.heard([][]byte{nil, []byte("{"), []byte("null"), fmt.Appendf(nil, `{"key":"revocation/x","value":%q}`, plain),
		fmt.Appendf(nil, `{"key":"revocation/x","sealed":true,"value":"%x"}`, sealed)})
	if refused(t, r, "a", "b", "c", time.Time{}) || r.Status().Held != 0 {
		t.Error("a forged message was believed")
	}
}

func TestRecordsThatAreNotUnderstoodAreTold(t *testing.T) {
	kept := newShelf(time.Now)
	for i, value := range []string{"{", "{}", `{"kind":"colour","until":"2100-01-01T00:00:00Z"}`} {
		if _, err := kept.Write(t.Context(), store.Write{Key: fmt.Sprint("revocation/x/", i), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	r := NewRevocations(RevocationConfig{}, RevocationTools{Durable: kept, Now: time.Now})
	if err := r.Load(t.Context()); err != nil || r.Status().Unread != 3 {
		t.Error(err, r.Status())
	}
}

// Pages of Since, and ended records among them, hide nothing.
func TestLoadsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := newShelf(time.Now)
		kept.page = 7
		r := crew(t, 1, kept, nil)[0]
		for i := range 100 {
			v := Revocation{Kind: ByToken, Issuer: "a", Token: fmt.Sprint(i)}
			if i < 50 {
				v.Until = time.Now().Add(time.Minute)
			}
			if _, err := r.Revoke(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if s := crew(t, 1, kept, nil)[0].Status(); s.Held != 50 {
			t.Errorf("%+v", s)
		}
	})
}

// A restore calls back what may have been called back after the backup was made.
func TestRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := crew(t, 1, newShelf(time.Now), nil)[0]
		at := time.Now()
		time.Sleep(time.Minute)
		if _, err := r.Restored(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if !refused(t, r, "any", "ann", "1", at.Add(-time.Second)) || refused(t, r, "any", "ann", "1", at) {
			t.Error("not what was issued before")
		}
	})
}

func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRevocations(RevocationConfig{Most: 10}, RevocationTools{Durable: newShelf(time.Now), Now: time.Now})
		if err := r.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 11 {
			_, err := r.Revoke(t.Context(), Revocation{Kind: ByToken, Issuer: "a", Token: fmt.Sprint(i)})
			if i < 10 && err != nil || i == 10 && !errors.Is(err, ErrFull) {
				t.Error(i, err)
			}
		}
		var more []Revocation // by other nodes, at the same time
		for i := range 10 {
			more = append(more, Revocation{Kind: ByToken, Issuer: "b", Token: fmt.Sprint(i), Until: time.Now().Add(time.Hour)})
		}
		r.learn(more)
		if yes, err := r.Revoked("c", "c", "c", time.Now()); yes || !errors.Is(err, ErrFull) {
			t.Error("more than can be held, and open:", yes, err)
		}
	})
}

// A stream of a caller who is called back ends within a second; others go on; what ended is forgotten.
func TestStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := crew(t, 2, newShelf(time.Now), nil)
		ended := make(chan string, 10)
		watch := func(subject string) func() {
			return nodes[1].Watch("a", subject, "", time.Now(), func() { ended <- subject })
		}
		stopAnn, stopBob, stopEve := watch("ann"), watch("bob"), watch("eve")
		defer stopAnn()
		defer stopEve()
		stopBob()
		time.Sleep(time.Minute)
		began := time.Now()
		for _, subject := range []string{"ann", "bob"} {
			if _, err := nodes[0].Revoke(t.Context(), Revocation{Kind: BySubject, Issuer: "a", Subject: subject}); err != nil {
				t.Fatal(err)
			}
		}
		if who := <-ended; who != "ann" || time.Since(began) >= time.Second {
			t.Error(who, time.Since(began))
		}
		time.Sleep(time.Minute)
		if len(ended) > 0 || len(nodes[1].watches.all) != 1 {
			t.Error("others ended", len(nodes[1].watches.all))
		}
		nodes[1].Watch("a", "ann", "", began.Add(-time.Minute), func() { ended <- "late" })
		if who := <-ended; who != "late" {
			t.Error(who)
		}
	})
}

func TestLookingUpAllocatesNothing(t *testing.T) {
	r := million(t, 1000)
	issued := time.Now()
	if n := testing.AllocsPerRun(1000, func() { _, _ = r.Revoked("https://idp.example.com/realms/shop", "ann", "an-id-of-a-token", issued) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func million(t testing.TB, n int) *Revocations {
	t.Helper()
	r := NewRevocations(RevocationConfig{Most: 2_000_000}, RevocationTools{Durable: newShelf(time.Now), Now: time.Now})
	if err := r.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	all := make([]Revocation, n)
	for i := range all {
		all[i] = Revocation{Kind: ByToken, Issuer: "https://idp.example.com/realms/shop", Token: fmt.Sprint("token-", i), Until: time.Now().Add(time.Hour)}
	}
	r.learn(all)
	if int(r.Status().Held) != n {
		t.Fatal(r.Status())
	}
	return r
}

func BenchmarkRevoked(b *testing.B) {
	r := million(b, 1_000_000)
	issued := time.Now()
	b.Run("of a million", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = r.Revoked("https://idp.example.com/realms/shop", "ann", "an-id-of-a-token", issued)
			}
		})
	})
	b.Run("one more", func(b *testing.B) {
		for i := range b.N {
			r.learn([]Revocation{{Kind: ByToken, Issuer: "b", Token: fmt.Sprint(i), Until: issued.Add(time.Hour)}})
		}
	})
}

// A store that was moved to another kind while it is used does not know the marks of the old one.
func TestMarksOfAnotherStore(t *testing.T) {
	r := NewRevocations(RevocationConfig{}, RevocationTools{Durable: newShelf(time.Now), Now: time.Now})
	r.mark = "of another store"
	if _, err := r.Revoke(t.Context(), Revocation{Kind: ByTime}); err != nil {
		t.Fatal(err)
	}
	if err := r.Load(t.Context()); err != nil || r.mark != "1" {
		t.Error(err, r.mark)
	}
}
