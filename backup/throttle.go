package backup

import (
	"context"
	"io"
	"time"
)

// Progress is told how much is done, of how much (0 when nobody knows), and of what.
type Progress func(done, total int64, what string)

// pace bounds bytes a second. It belongs to one goroutine.
type pace struct {
	rate  int64
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	since time.Time
	done  int64
}

// take waits until n more bytes may pass. What was not used is not saved up: after a pause of a second it begins anew.
func (p *pace) take(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := p.now()
	behind := p.since.Add(time.Duration(float64(p.done) / float64(p.rate) * float64(time.Second))).Sub(now)
	if p.since.IsZero() || behind < -time.Second {
		p.since, p.done, behind = now, 0, 0
	}
	p.done += int64(n)
	if behind > 5*time.Millisecond {
		return p.sleep(ctx, behind)
	}
	return nil
}

// sleep waits, or ends with ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pacedReader reads no faster than its pace.
type pacedReader struct {
	ctx  context.Context
	from io.Reader
	pace *pace
}

func (r pacedReader) Read(b []byte) (int, error) {
	if err := r.pace.take(r.ctx, 0); err != nil {
		return 0, err
	}
	n, err := r.from.Read(b)
	r.pace.done += int64(n)
	return n, err
}
