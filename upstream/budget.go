package upstream

import "sync/atomic"

// budget keeps retries at a share of requests (H15): each request earns a part of a retry, each retry spends a whole one.
// A burst is there from the start and is the most that can be saved up.
type budget struct {
	earn  int64 // hundredths of a retry earned by a request
	most  int64
	saved atomic.Int64
}

func newBudget(r Retry) *budget {
	b := &budget{earn: int64(r.Budget), most: int64(r.Burst) * 100}
	b.saved.Store(b.most)
	return b
}

// request earns its part. When the budget is full, which it nearly always is, nothing is written.
func (b *budget) request() {
	for {
		have := b.saved.Load()
		if have >= b.most || b.saved.CompareAndSwap(have, min(have+b.earn, b.most)) {
			return
		}
	}
}

// spend takes one retry, if there is one.
func (b *budget) spend() bool {
	for {
		have := b.saved.Load()
		if have < 100 {
			return false
		}
		if b.saved.CompareAndSwap(have, have-100) {
			return true
		}
	}
}
