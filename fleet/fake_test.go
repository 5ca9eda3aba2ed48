package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// shelf is the smallest Durable: a map, with a switch that makes it unreachable.
type shelf struct {
	mu      sync.Mutex
	now     func() time.Time
	records map[string]store.Record
	changed map[string]int64 // key -> when, in writes
	writes  int64
	gone    bool
	page    int // most records that Since gives at once; 0: all
	before  func(key string)
}

func newShelf(now func() time.Time) *shelf {
	return &shelf{now: now, records: map[string]store.Record{}, changed: map[string]int64{}}
}

func (s *shelf) setGone(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = gone
}

func (s *shelf) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return errors.Join(store.ErrUnavailable, err)
	}
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return fmt.Errorf("%w: switched off", store.ErrUnavailable)
	}
	return nil
}

func (s *shelf) there(key string) (store.Record, bool) {
	r, ok := s.records[key]
	if ok && !r.Expires.IsZero() && !s.now().Before(r.Expires) {
		delete(s.records, key)
		return store.Record{}, false
	}
	r.Value = bytes.Clone(r.Value)
	return r, ok
}

func (s *shelf) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.enter(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	if r, ok := s.there(key); ok {
		return r, nil
	}
	return store.Record{}, store.ErrNone
}

func (s *shelf) Write(ctx context.Context, w store.Write) (int64, error) {
	if err := s.WriteAll(ctx, w); err != nil || w.Value == nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[w.Key].Version, nil
}

func (s *shelf) WriteAll(ctx context.Context, all ...store.Write) error {
	if s.before != nil {
		for _, w := range all {
			s.before(w.Key)
		}
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for _, w := range all {
		if r, _ := s.there(w.Key); w.Version != store.Any && w.Version != r.Version {
			return store.ErrConflict
		}
	}
	for _, w := range all {
		r, _ := s.there(w.Key)
		s.writes++
		if w.Value == nil {
			delete(s.records, w.Key)
			continue
		}
		s.records[w.Key] = store.Record{Key: w.Key, Value: bytes.Clone(w.Value), Version: r.Version + 1, Expires: w.Expires}
		s.changed[w.Key] = s.writes
	}
	return nil
}

func (s *shelf) List(ctx context.Context, prefix, after string, limit int) (list []store.Record, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for key := range s.records {
		if r, ok := s.there(key); ok && strings.HasPrefix(key, prefix) && key > after {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b store.Record) int { return strings.Compare(a.Key, b.Key) })
	return list[:min(len(list), limit)], nil
}

func (s *shelf) Since(ctx context.Context, prefix, mark string) (list []store.Record, next string, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, "", err
	}
	defer s.mu.Unlock()
	from, err := strconv.ParseInt(mark, 10, 64)
	if mark != "" && err != nil {
		return nil, "", store.ErrInvalid
	}
	last := s.writes
	for key, at := range s.changed {
		if r, ok := s.there(key); ok && at > from && strings.HasPrefix(key, prefix) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b store.Record) int { return int(s.changed[a.Key] - s.changed[b.Key]) })
	if s.page > 0 && len(list) > s.page {
		list = list[:s.page]
		last = s.changed[list[s.page-1].Key]
	}
	return list, strconv.FormatInt(last, 10), nil
}

func (s *shelf) Ping(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

func (s *shelf) Close() error { return nil }

// bells is the smallest Feed; each node has a line to it that can be cut.
type bells struct {
	mu       sync.Mutex
	messages [][]byte
	rung     chan struct{}
	gone     bool
}

func newBells() *bells { return &bells{rung: make(chan struct{})} }

func (b *bells) setGone(gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = gone
}

func (b *bells) Publish(_ context.Context, _ string, message []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return store.ErrUnavailable
	}
	b.messages = append(b.messages, bytes.Clone(message))
	close(b.rung)
	b.rung = make(chan struct{})
	return nil
}

func (b *bells) Read(ctx context.Context, _, after string) ([][]byte, string, error) {
	for {
		b.mu.Lock()
		if b.gone {
			b.mu.Unlock()
			return nil, "", store.ErrUnavailable
		}
		if after == "" {
			after = strconv.Itoa(len(b.messages))
		}
		from, _ := strconv.Atoi(after)
		if from < len(b.messages) {
			list := slices.Clone(b.messages[from:])
			b.mu.Unlock()
			return list, strconv.Itoa(from + len(list)), nil
		}
		rung := b.rung
		b.mu.Unlock()
		select {
		case <-rung:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
}

// seal is a Sealer that only shows whether it was used rightly.
type seal struct{}

func (seal) Seal(purpose string, plain, aad []byte) ([]byte, error) {
	out := []byte(fmt.Sprintf("sealed %q %q ", purpose, aad))
	for _, b := range plain {
		out = append(out, b^0x55)
	}
	return out, nil
}

func (seal) Open(purpose string, sealed, aad []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(fmt.Sprintf("sealed %q %q ", purpose, aad)))
	if !ok {
		return nil, errors.New("not sealed so")
	}
	out := bytes.Clone(rest)
	for i := range out {
		out[i] ^= 0x55
	}
	return out, nil
}

func (seal) Current(string, []byte) bool { return true }
