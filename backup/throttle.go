package backup

import (
	"context"
	"io"
	"time"
)

// Progress is told how much is done, of how much (0 when nobody knows), and of what.
type Progress func(done, total int64, what string)

// pace bounds bytes a second, and how much of a processor is taken for them. It belongs to one goroutine, whose work it cuts
// into slices of about a millisecond: what is done in one go holds up every request that comes meanwhile.
type pace struct {
	rate  int64
	share float64 // of one processor, for work between two takes; 0: all of it
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	since time.Time
	done  int64
	woke  time.Time     // when the work began that is now ending
	owed  time.Duration // of rest
}

const (
	// shortest is how long a sleep is at least; shorter ones cost more than they bring.
	shortest = time.Millisecond
	// mostOwed bounds what work owes, so that one that waited for a disk doesn't rest for as long.
	mostOwed = 20 * time.Millisecond
	// slowest is by how much rest may stretch what the rate alone takes: work also takes long when others have the
	// processors, and a backup must end.
	slowest = 3
)

// takenAtMost is the share of the machine's processors that making and proving backups may take.
const takenAtMost = 0.18

// processorShare is that of the one processor that works.
func processorShare(processors int) float64 { return min(0.9, takenAtMost*float64(processors)) }

// take waits until n more bytes may pass. What was not used is not saved up: after a pause of a second it begins anew.
func (p *pace) take(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := p.now()
	behind := p.since.Add(p.due(p.done)).Sub(now)
	if p.since.IsZero() || behind < -time.Second {
		p.since, p.done, p.owed, behind = now, 0, 0, 0
	} else if p.share > 0 && now.After(p.woke) {
		p.owed = min(p.owed+time.Duration(float64(now.Sub(p.woke))*(1/p.share-1)), mostOwed)
	}
	p.done += int64(n)
	p.woke = now
	if -behind > (slowest-1)*p.due(p.done)+time.Second/4 { // others take the processors
		p.owed = 0
	}
	rest := max(behind, p.owed)
	if rest < shortest {
		return nil
	}
	err := p.sleep(ctx, rest)
	p.woke = p.now()
	p.owed = max(0, p.owed-p.woke.Sub(now))
	return err
}

// twice is the pace of what is only read, at a fraction of the cost of what is packed.
func (p *pace) twice() *pace {
	p.rate *= 2
	return p
}

// due is how long so many bytes take at least.
func (p *pace) due(n int64) time.Duration {
	return time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
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
