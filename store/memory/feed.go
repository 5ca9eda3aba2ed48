package memory

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// A topic keeps messages for a minute, and at most so many.
const (
	keptFor  = time.Minute
	keptMost = 1024
)

// Feed is a store.Feed within one process.
type Feed struct {
	now    func() time.Time
	mu     sync.Mutex
	topics map[string]*topic
}

// topic is what was published last. A position is the number of the next message.
type topic struct {
	next     int64
	messages []message     // the last of them has the number next-1
	rung     chan struct{} // closed by the next message
}

type message struct {
	at   time.Time
	data []byte
}

// NewFeed makes a feed. Topics are few, and named by the program.
func NewFeed(now func() time.Time) *Feed { return &Feed{now: now, topics: map[string]*topic{}} }

// topic gives a topic; the lock is held.
func (f *Feed) topic(name string) *topic {
	t := f.topics[name]
	if t == nil {
		t = &topic{rung: make(chan struct{})}
		f.topics[name] = t
	}
	return t
}

// Publish adds a message to a topic.
func (f *Feed) Publish(ctx context.Context, name string, data []byte) error {
	if err := usable(ctx, nil); err != nil {
		return err
	}
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topic(name)
	old := max(0, len(t.messages)+1-keptMost)
	for old < len(t.messages) && now.Sub(t.messages[old].at) > keptFor {
		old++
	}
	t.messages = append(t.messages[old:], message{now, bytes.Clone(data)})
	t.next++
	close(t.rung)
	t.rung = make(chan struct{})
	return nil
}

// Read waits for messages after a position, "" from now on.
func (f *Feed) Read(ctx context.Context, name, after string) ([][]byte, string, error) {
	from := int64(-1)
	if after != "" {
		var err error
		if from, err = strconv.ParseInt(after, 10, 64); err != nil || from < 0 {
			return nil, "", fmt.Errorf("%w: %q is no position in a feed", store.ErrInvalid, after)
		}
	}
	for {
		messages, next, rung := f.since(name, from)
		position := strconv.FormatInt(next, 10)
		if len(messages) > 0 {
			return messages, position, nil
		}
		from = next
		select {
		case <-rung:
		case <-ctx.Done():
			return nil, position, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		}
	}
}

// since gives copies of the messages from a number on, and what rings when there are more.
func (f *Feed) since(name string, from int64) (messages [][]byte, next int64, rung <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topic(name)
	if from >= 0 {
		first := t.next - int64(len(t.messages))
		for _, m := range t.messages[min(max(0, from-first), int64(len(t.messages))):] {
			messages = append(messages, bytes.Clone(m.data))
		}
	}
	return messages, t.next, t.rung
}
