package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Feed holds a feed to its promises. Each call of open gives a feed without messages.
func Feed(t *testing.T, open func(t *testing.T) store.Feed) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Feed)
	}{
		{"from a position", feedOrder},
		{"waits", feedWaits},
		{"topics apart", feedTopics},
		{"many readers, many writers", feedMany},
		{"ends with its context", feedEnds},
		{"bytes as they were", feedBytes},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func publish(t *testing.T, f store.Feed, topic string, message []byte) {
	t.Helper()
	if err := f.Publish(background(t), topic, message); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// read is one answer of Read.
type read struct {
	messages [][]byte
	next     string
	err      error
}

// begin starts to read from now on, and publishes bells until one is heard, so that a position is known.
func begin(t *testing.T, f store.Feed, topic string) string {
	t.Helper()
	answer := make(chan read, 1)
	go func() {
		messages, next, err := f.Read(background(t), topic, "")
		answer <- read{messages, next, err}
	}()
	for {
		select {
		case r := <-answer:
			if r.err != nil {
				t.Fatalf("read: %v", r.err)
			}
			return drain(t, f, topic, r.next)
		case <-time.After(5 * time.Millisecond):
			publish(t, f, topic, []byte("bell"))
		}
	}
}

// drain reads past the bells that are left, up to a message of its own.
func drain(t *testing.T, f store.Feed, topic, at string) string {
	t.Helper()
	publish(t, f, topic, []byte("end of bells"))
	for {
		messages, next, err := f.Read(background(t), topic, at)
		if err != nil || len(messages) == 0 || next == at {
			t.Fatalf("read: %d messages, from %q to %q, %v", len(messages), at, next, err)
		}
		at = next
		for i, m := range messages {
			if string(m) == "end of bells" && i == len(messages)-1 {
				return at
			}
		}
	}
}

func collect(t *testing.T, f store.Feed, topic, at string, n int) ([]string, string) {
	t.Helper()
	var got []string
	for len(got) < n {
		messages, next, err := f.Read(background(t), topic, at)
		if err != nil {
			t.Fatalf("read after %d of %d messages: %v", len(got), n, err)
		}
		if len(messages) == 0 {
			t.Fatal("read gave neither a message nor an error")
		}
		for _, m := range messages {
			got = append(got, string(m))
		}
		at = next
	}
	return got, at
}

func feedOrder(t *testing.T, f store.Feed) {
	at := begin(t, f, "t")
	publish(t, f, "t", []byte("one"))
	publish(t, f, "t", []byte("two"))
	publish(t, f, "t", []byte("three"))
	want := []string{"one", "two", "three"}
	got, next := collect(t, f, "t", at, 3)
	same(t, "in order", got, want)
	got, _ = collect(t, f, "t", at, 3)
	same(t, "and again from there", got, want)
	publish(t, f, "t", []byte("four"))
	got, _ = collect(t, f, "t", next, 1)
	same(t, "the next", got, []string{"four"})
}

func feedWaits(t *testing.T, f store.Feed) {
	at := begin(t, f, "t")
	answer := make(chan read, 1)
	go func() {
		messages, next, err := f.Read(background(t), "t", at)
		answer <- read{messages, next, err}
	}()
	select {
	case r := <-answer:
		t.Fatalf("read did not wait: %q, %v", r.messages, r.err)
	case <-time.After(60 * time.Millisecond):
	}
	sent := time.Now()
	publish(t, f, "t", []byte("ring"))
	r := <-answer
	if r.err != nil || len(r.messages) != 1 || string(r.messages[0]) != "ring" {
		t.Fatalf("got %q, %v", r.messages, r.err)
	}
	if took := time.Since(sent); took > time.Second {
		t.Errorf("a message took %v; a revocation must reach every node in under a second", took)
	}
}

func feedTopics(t *testing.T, f store.Feed) {
	at := begin(t, f, "a")
	publish(t, f, "b", []byte("not mine"))
	publish(t, f, "a/b", []byte("not mine either"))
	publish(t, f, "a", []byte("mine"))
	got, _ := collect(t, f, "a", at, 1)
	same(t, "topic a", got, []string{"mine"})
}

func feedMany(t *testing.T, f store.Feed) {
	const writers, each, readers = 8, 20, 6
	at := begin(t, f, "t")
	heard := make([]map[string]int, readers)
	together(writers+readers, func(i int) {
		if i < writers {
			for n := range each {
				if err := f.Publish(background(t), "t", fmt.Appendf(nil, "%d/%d", i, n)); err != nil {
					t.Error(err)
				}
			}
			return
		}
		mine, from := map[string]int{}, at
		for len(mine) < writers*each {
			messages, next, err := f.Read(background(t), "t", from)
			if err != nil {
				t.Errorf("a reader heard %d of %d: %v", len(mine), writers*each, err)
				return
			}
			for _, m := range messages {
				mine[string(m)]++
			}
			from = next
		}
		heard[i-writers] = mine
	})
	for i, mine := range heard {
		for m, times := range mine {
			if times != 1 {
				t.Errorf("reader %d heard %s %d times", i, m, times)
			}
		}
	}
}

func feedEnds(t *testing.T, f store.Feed) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	messages, _, err := f.Read(ctx, "silent", "")
	if err == nil {
		t.Fatalf("read gave %q where nothing was published", messages)
	}
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("read ended %v after its context", took)
	}
	ended, stop := context.WithCancel(context.Background())
	stop()
	if err := f.Publish(ended, "t", []byte("x")); err == nil {
		t.Error("published with an ended context")
	}
}

func feedBytes(t *testing.T, f store.Feed) {
	at := begin(t, f, "t")
	sent := [][]byte{{0, 1, 2, 0xff}, []byte("\r\n"), bytes.Repeat([]byte("x"), 64<<10)}
	var want []string
	for _, m := range sent {
		want = append(want, string(m))
		publish(t, f, "t", m)
		m[0] = 'X' // the feed has its own copy
	}
	got, _ := collect(t, f, "t", at, len(sent))
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d: %d bytes came back as %d", i, len(want[i]), len(got[i]))
		}
	}
}
