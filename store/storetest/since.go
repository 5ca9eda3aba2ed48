package storetest

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// tail calls Since and gives the keys in order, each once.
func tail(t *testing.T, s store.Durable, prefix, mark string) ([]string, string) {
	t.Helper()
	changed, next, err := s.Since(background(t), prefix, mark)
	if err != nil {
		t.Fatalf("since %q: %v", mark, err)
	}
	got := keys(changed)
	sort.Strings(got)
	return slices.Compact(got), next
}

// latest moves the mark on until nothing is told again, as a follower does that is alone.
func latest(t *testing.T, s store.Durable, prefix, mark string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, next := tail(t, s, prefix, mark)
		if len(got) == 0 {
			return next
		}
		if time.Now().After(deadline) {
			t.Fatalf("since tells %q again and again", got)
		}
		mark = next
	}
}

func since(t *testing.T, s store.Durable, _ Env) {
	got, mark := tail(t, s, "f/", "")
	same(t, "at first", got, []string{})
	if mark == "" {
		t.Error(`the mark of an empty store is "", which means all`)
	}
	write(t, s, store.Write{Key: "f/1", Value: []byte("x")})
	write(t, s, store.Write{Key: "g/1", Value: []byte("x")})
	got, mark = tail(t, s, "f/", mark)
	same(t, "one", got, []string{"f/1"})
	mark = latest(t, s, "f/", mark)
	write(t, s, store.Write{Key: "f/1", Value: []byte("y"), Version: 1})
	write(t, s, store.Write{Key: "f/2", Value: []byte("x")})
	got, mark = tail(t, s, "f/", mark)
	same(t, "changed and new", got, []string{"f/1", "f/2"})
	mark = latest(t, s, "f/", mark)
	write(t, s, store.Write{Key: "f/2", Version: 1})
	got, _ = tail(t, s, "f/", mark)
	same(t, "removed", got, []string{})
	write(t, s, store.Write{Key: "f/2", Value: []byte("again")})
	got, _ = tail(t, s, "f/", mark)
	same(t, "made again", got, []string{"f/2"})
	got, _ = tail(t, s, "f/", "")
	same(t, "all", got, []string{"f/1", "f/2"})

	// A mark holds for every prefix: who begins with one that nothing has misses nothing of another afterwards.
	_, mark = tail(t, s, "none/", "")
	write(t, s, store.Write{Key: "f/3", Value: []byte("x")})
	if got, _ = tail(t, s, "f/", mark); !slices.Contains(got, "f/3") {
		t.Errorf("with another prefix' mark: %q", got)
	}
	// What is no mark is refused or taken for the beginning; it never hides a record.
	for _, bad := range []string{"nonsense", "999999999999", "-1", "1.2.3.4", "'"} {
		changed, _, err := s.Since(background(t), "f/", bad)
		if err == nil && len(changed) < 3 {
			t.Errorf("mark %q hides records: %q", bad, keys(changed))
		}
	}
}

// The ordering gap: numbers are given out in one order and transactions end in another. A follower that reads while many
// write must in the end have seen the last version of each record.
func sinceConcurrent(t *testing.T, s store.Durable, _ Env) {
	const writers, each = 12, 25
	stop := make(chan struct{})
	seen := map[string]int64{}
	mark := ""
	follow := func() bool {
		changed, next, err := s.Since(context.Background(), "w/", mark)
		if err != nil {
			t.Errorf("since: %v", err)
			return false
		}
		for _, r := range changed {
			seen[r.Key] = max(seen[r.Key], r.Version)
		}
		mark = next
		return true
	}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		for follow() {
			select {
			case <-stop:
				follow()
				return
			default:
			}
		}
	}()
	together(writers, func(i int) {
		for n := range each {
			all := []store.Write{{Key: fmt.Sprintf("w/%d/%d", i, n), Value: []byte("x")}}
			if n%3 == 0 { // longer transactions among short ones
				for k := range 20 {
					all = append(all, store.Write{Key: fmt.Sprintf("w/%d/%d/%d", i, n, k), Value: []byte("x")})
				}
			}
			all = append(all, store.Write{Key: fmt.Sprintf("w/%d", i), Value: []byte{byte(n)}, Version: store.Any})
			if err := s.WriteAll(context.Background(), all...); err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	close(stop)
	<-followed
	all, err := s.List(background(t), "w/", "", 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if want := writers * (1 + each + (each+2)/3*20); len(all) != want {
		t.Errorf("%d records, want %d", len(all), want)
	}
	missed := 0
	for _, r := range all {
		if seen[r.Key] < r.Version {
			missed++
		}
	}
	if missed > 0 {
		t.Errorf("the follower missed %d of %d records", missed, len(all))
	}
}
