package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// Copied is what Copy moved: the same is in both stores, which the sum proves to who compares it.
type Copied struct {
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"` // of their values
	Sum     string `json:"sum"`   // SHA-256 over keys, values and ends, in the order of keys
}

// rounds is how often Copy goes after what is written meanwhile.
const rounds = 50

// Copy moves everything from one store to another, which must be empty, and proves it by reading both again. The source may
// be in use: what is written meanwhile is followed until nothing differs; who wants nothing left behind ends the writers
// before that. Ends are kept, to the millisecond. Versions begin again at 1, so whoever held a version reads again; this is
// why a store whose values are sealed is copied through Sealed at both ends, and never past it: a seal names its version.
//
// A copy that breaks off leaves a target that is not empty: empty it and begin again.
func Copy(ctx context.Context, from, to Durable, progress Progress) (Copied, error) {
	if err := alike(ctx, from, to); err != nil {
		return Copied{}, err
	}
	c := copying{from: from, to: to, progress: progress}
	mark, err := c.start(ctx)
	if err != nil {
		return Copied{}, fmt.Errorf("copy store: %w", err)
	}
	for range rounds {
		if mark, err = c.follow(ctx, mark); err != nil {
			return Copied{}, fmt.Errorf("copy store: %w", err)
		}
		done, err := c.compare(ctx)
		if err != nil {
			return Copied{}, fmt.Errorf("copy store: %w", err)
		}
		if done != nil {
			return *done, nil
		}
	}
	return Copied{}, fmt.Errorf("%w: copy store: the source was changed faster than it could be followed %d times; end what writes to it, empty the target and begin again", ErrUnavailable, rounds)
}

// alike refuses what could not be a copy.
func alike(ctx context.Context, from, to Durable) error {
	_, opened := from.(*sealed)
	_, sealing := to.(*sealed)
	if opened != sealing {
		return errors.New("copy store: one end is sealed and the other isn't; hand in both through store.Sealed")
	}
	there, err := to.List(ctx, "", "", 1)
	if err != nil {
		return fmt.Errorf("copy store: target: %w", err)
	}
	if len(there) > 0 {
		return fmt.Errorf("copy store: the target is not empty, it has %q; give an empty one", there[0].Key)
	}
	return nil
}

type copying struct {
	from, to Durable
	progress Progress
	done     int64
}

func (c *copying) tell(n int, what string) {
	c.done += int64(n)
	if c.progress != nil {
		c.progress(c.done, 0, what)
	}
}

// start copies page by page what is there, and gives a mark from before.
func (c *copying) start(ctx context.Context) (mark string, err error) {
	if _, mark, err = c.from.Since(ctx, "~", ""); err != nil { // a mark holds for every prefix; few keys begin with ~
		return "", err
	}
	for after := ""; ; {
		list, err := c.from.List(ctx, "", after, page)
		if err != nil || len(list) == 0 {
			return mark, err
		}
		after = list[len(list)-1].Key
		if err := c.put(ctx, list, 0); err != nil {
			return "", err
		}
		c.tell(len(list), "copy")
	}
}

// put writes records to the target, together, over the given version.
func (c *copying) put(ctx context.Context, list []Record, version int64) error {
	latest := map[string]int{}
	var all []Write
	for _, r := range list {
		w := Write{Key: r.Key, Value: r.Value, Version: version, Expires: r.Expires}
		if i, twice := latest[r.Key]; twice {
			all[i] = w
			continue
		}
		latest[r.Key] = len(all)
		all = append(all, w)
	}
	for len(all) > 0 {
		n := min(page, len(all))
		if err := c.to.WriteAll(ctx, all[:n]...); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// follow copies what was written since mark, until it is quiet or has been followed often enough to compare.
func (c *copying) follow(ctx context.Context, mark string) (string, error) {
	for range rounds {
		changed, next, err := c.from.Since(ctx, "", mark)
		if err != nil {
			return "", err
		}
		mark = next
		if len(changed) == 0 {
			break
		}
		if err := c.put(ctx, changed, Any); err != nil {
			return "", err
		}
		c.tell(len(changed), "follow")
	}
	return mark, nil
}

// compare walks both stores side by side. What differs, because it was removed or written meanwhile, is put right, and the
// answer is nil: compare again.
func (c *copying) compare(ctx context.Context) (*Copied, error) {
	c.tell(0, "compare")
	a, b := &walk{store: c.from, sum: sha256.New()}, &walk{store: c.to, sum: sha256.New()}
	equal := true
	for {
		x, y, err := both(ctx, a, b)
		var right Write
		switch {
		case err != nil:
			return nil, err
		case x == nil && y == nil:
			if !equal {
				return nil, nil
			}
			if a.count != b.count || a.text() != b.text() {
				return nil, fmt.Errorf("%d records copied as %d, sum %s as %s", a.count, b.count, a.text(), b.text())
			}
			return &Copied{Records: a.count, Bytes: a.bytes, Sum: a.text()}, nil
		case y == nil || x != nil && x.Key < y.Key: // missing
			right = Write{Key: x.Key, Value: x.Value, Version: Any, Expires: x.Expires}
			a.next()
		case x == nil || y.Key < x.Key: // removed
			right = Write{Key: y.Key, Version: Any}
			b.next()
		default:
			a.next()
			b.next()
			if bytes.Equal(x.Value, y.Value) && sameEnd(x, y) {
				continue
			}
			right = Write{Key: x.Key, Value: x.Value, Version: Any, Expires: x.Expires}
		}
		equal = false
		if _, err := c.to.Write(ctx, right); err != nil {
			return nil, err
		}
	}
}

func sameEnd(x, y *Record) bool {
	return x.Expires.IsZero() == y.Expires.IsZero() && (x.Expires.IsZero() || x.Expires.UnixMilli() == y.Expires.UnixMilli())
}

// walk goes over a store in the order of keys and sums up what it passes.
type walk struct {
	store Durable
	list  []Record
	after string
	ended bool
	sum   hash.Hash
	count int64
	bytes int64
}

// both gives the records at which two walks stand, nil at an end.
func both(ctx context.Context, a, b *walk) (x, y *Record, err error) {
	if x, err = a.at(ctx); err == nil {
		y, err = b.at(ctx)
	}
	return x, y, err
}

func (w *walk) at(ctx context.Context) (*Record, error) {
	if len(w.list) == 0 && !w.ended {
		list, err := w.store.List(ctx, "", w.after, page)
		if err != nil {
			return nil, err
		}
		w.list, w.ended = list, len(list) == 0
	}
	if w.ended {
		return nil, nil
	}
	return &w.list[0], nil
}

func (w *walk) next() {
	r := w.list[0]
	w.after, w.list = r.Key, w.list[1:]
	w.count++
	w.bytes += int64(len(r.Value))
	head := binary.BigEndian.AppendUint64(nil, uint64(len(r.Key)))
	head = binary.BigEndian.AppendUint64(append(head, r.Key...), uint64(len(r.Value)))
	w.sum.Write(head)
	w.sum.Write(r.Value)
	end := int64(-1 << 63)
	if !r.Expires.IsZero() {
		end = r.Expires.UnixMilli()
	}
	w.sum.Write(binary.BigEndian.AppendUint64(nil, uint64(end)))
}

func (w *walk) text() string { return hex.EncodeToString(w.sum.Sum(nil)) }
