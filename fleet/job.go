package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/store"
)

// Job is something that one of the nodes does every so often.
type Job struct {
	Name   string                      // as Config.Name may be
	Every  time.Duration               // from beginning to beginning, at least 1 s
	Jitter time.Duration               // each node waits up to so much longer, differently each time, so that not all begin at once
	Limit  time.Duration               // after which Run's context ends; 0: Every, at least 1 m
	Again  bool                        // a turn whose node died, or was stopped, is taken over; else it counts as lost
	Run    func(context.Context) error // must stop when its context ends: then another node may be doing it

	// Due tells when a job that only looks every so often will next do something, for those who ask; nil: at its next turn.
	Due func(context.Context) (time.Time, error)
}

// Outcome is what became of a turn.
type Outcome string

// The outcomes.
const (
	Running Outcome = "running"
	Done    Outcome = "done"
	Failed  Outcome = "failed" // Run gave an error
	Lost    Outcome = "lost"   // its node died or lost the store while it ran
)

// Turn is one run of a job. Turns are numbered without gaps; each is claimed by creating its record.
type Turn struct {
	Job     string    `json:"job"`
	Slot    int64     `json:"slot"`
	Attempt int       `json:"attempt"` // 1, more when it was taken over
	Node    string    `json:"node"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended,omitzero"`
	Outcome Outcome   `json:"outcome"`
	Error   string    `json:"error,omitempty"`
}

const (
	lastPrefix  = "job/last/" // the last turn of each job
	slotPrefix  = "job/slot/" // every turn
	jobLife     = 15 * time.Second
	maxAttempts = 3
	maxError    = 500
)

// JobTools is what Jobs need from outside.
type JobTools struct {
	Durable store.Durable
	Node    Identity
	Now     func() time.Time
	Log     *slog.Logger // nil: nothing is said
}

// Jobs sees to it that each turn of each job is run by one node.
type Jobs struct {
	jobs   []Job
	tools  JobTools
	leases *Leases
}

// NewJobs checks the jobs; the error is a mistake.List. Every node has the same.
func NewJobs(jobs []Job, tools JobTools) (*Jobs, error) {
	var wrong mistake.List
	if tools.Log == nil {
		tools.Log = slog.New(slog.DiscardHandler)
	}
	names := map[string]bool{}
	for i, j := range jobs {
		if !plainName(j.Name) || names[j.Name] || j.Every < time.Second || j.Jitter < 0 || j.Run == nil {
			wrong.Add(fmt.Sprintf("[%d]", i), "", "a job needs a name of its own, a time of at least 1s, and something to do")
		}
		names[j.Name] = true
	}
	return &Jobs{jobs: jobs, tools: tools, leases: NewLeases(tools.Durable, tools.Node.Name+"/"+tools.Node.ID, jobLife, tools.Now)}, wrong.Err()
}

// Run takes this node's turns until ctx ends; what runs then is told to stop and waited for.
func (j *Jobs) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, job := range j.jobs {
		w := &worker{job: job, jobs: j}
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
}

// worker is one job on this node.
type worker struct {
	job     Job
	jobs    *Jobs
	seen    Turn      // the last turn as this node has seen it
	due     time.Time // when this node would begin the next
	started bool
}

// run looks often, and begins when a turn is due. When that is, each node decides by its own clock and by when it saw the
// last turn begin: a clock that is wrong, or set, makes no turn run twice and stops none for long, and turns that were
// missed while nobody ran are one.
func (w *worker) run(ctx context.Context) {
	tick := time.NewTicker(min(max(w.job.Every/20, 100*time.Millisecond), jobLife/5))
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := w.look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrHeld) {
			w.jobs.tools.Log.Warn("a job cannot be looked after", "job", w.job.Name, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (w *worker) look(ctx context.Context) error {
	attempt, cancel := context.WithTimeout(ctx, jobLife/3)
	defer cancel()
	last, _, err := w.last(attempt)
	if err != nil {
		return err
	}
	w.observe(last)
	if last.Outcome != Running && w.jobs.tools.Now().Before(w.due) {
		return nil
	}
	// When one is running its node holds the lease, and trying to get it is how one sees that it has died. The lease
	// outlives ctx, so that the outcome of a turn that was stopped can be written.
	lease, err := w.jobs.leases.Acquire(context.WithoutCancel(ctx), "job/"+w.job.Name)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobLife/3)
		defer cancel()
		_ = lease.Release(end) // else it ends by itself
	}()
	return w.take(ctx, lease)
}

// last reads the last turn and its record's version; both are zero when there was none.
func (w *worker) last(ctx context.Context) (t Turn, version int64, err error) {
	r, err := w.jobs.tools.Durable.Get(ctx, lastPrefix+w.job.Name)
	if errors.Is(err, store.ErrNone) {
		return Turn{}, 0, nil
	}
	if err == nil && json.Unmarshal(r.Value, &t) != nil {
		err = fmt.Errorf("fleet: the record %s cannot be read", r.Key)
	}
	return t, r.Version, err
}

// observe notes when the next turn is due. Of a turn that began before this node looked, its own clock says how long ago.
func (w *worker) observe(last Turn) {
	now := w.jobs.tools.Now()
	changed := last.Slot != w.seen.Slot || last.Attempt != w.seen.Attempt
	if w.started && !changed && w.due.Sub(now) <= w.job.Every+w.job.Jitter {
		return
	}
	elapsed := time.Duration(0)
	switch {
	case last.Slot == 0:
		elapsed = w.job.Every
	case !w.started:
		elapsed = min(max(now.Sub(last.Began), 0), w.job.Every)
	}
	w.seen, w.started = last, true
	w.due = now.Add(w.job.Every - elapsed + w.jitter(last.Slot+1))
}

// jitter differs from node to node and from turn to turn.
func (w *worker) jitter(slot int64) time.Duration {
	if w.job.Jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d", w.jobs.tools.Node.ID, w.job.Name, slot)
	return time.Duration(h.Sum64() % uint64(w.job.Jitter))
}

// take decides under the lease what there is to do: a turn that its node left, or the next.
func (w *worker) take(ctx context.Context, lease *Lease) error {
	last, version, err := w.last(ctx)
	if err != nil {
		return err
	}
	now := w.jobs.tools.Now().UTC()
	turn := Turn{Job: w.job.Name, Slot: last.Slot + 1, Attempt: 1}
	switch {
	case last.Outcome == Running && w.job.Again && last.Attempt < maxAttempts:
		turn.Slot, turn.Attempt = last.Slot, last.Attempt+1
	case last.Outcome == Running:
		last.Outcome, last.Error = Lost, "the node that ran it is gone"
		last.Ended = now
		return w.write(ctx, lease, last, version)
	case last.Slot != w.seen.Slot || last.Attempt != w.seen.Attempt:
		return nil // another has just done it
	}
	turn.Node, turn.Began, turn.Outcome = w.jobs.tools.Node.Name, now, Running
	if err := w.write(ctx, lease, turn, version); err != nil {
		return err
	}
	w.observe(turn)
	return w.perform(ctx, lease, turn, version+1)
}

// write keeps a turn, as the last and in its own record, while the lease is held. The record of a new turn must not be
// there: this is what makes two runs of one turn impossible, whatever leases and clocks do.
func (w *worker) write(ctx context.Context, lease *Lease, t Turn, version int64) error {
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	keep := min(max(20*w.job.Every, 24*time.Hour), 400*24*time.Hour)
	own := store.Write{Key: fmt.Sprintf("%s%s/%020d", slotPrefix, t.Job, t.Slot), Value: value, Version: store.Any, Expires: w.jobs.tools.Now().Add(keep)}
	if t.Outcome == Running && t.Attempt == 1 {
		own.Version = 0
	}
	return lease.WriteAll(ctx, own, store.Write{Key: lastPrefix + t.Job, Value: value, Version: version})
}

// perform does the work and writes what became of it.
func (w *worker) perform(ctx context.Context, lease *Lease, t Turn, version int64) error {
	limit := w.job.Limit
	if limit <= 0 {
		limit = max(w.job.Every, time.Minute)
	}
	work, cancel := context.WithTimeout(lease.Context(), limit)
	stop := context.AfterFunc(ctx, cancel)
	err := w.call(work)
	stop()
	cancel()
	if lease.Context().Err() != nil {
		return fmt.Errorf("turn %d of %s: %w", t.Slot, t.Job, ErrLost)
	}
	if err != nil && ctx.Err() != nil && w.job.Again {
		return nil // this node stops: another takes the turn over as soon as the lease is released
	}
	t.Outcome, t.Ended = Done, w.jobs.tools.Now().UTC()
	if err != nil {
		t.Outcome, t.Error = Failed, err.Error()[:min(len(err.Error()), maxError)]
		w.jobs.tools.Log.Error("a job has failed", "job", t.Job, "turn", t.Slot, "error", err)
	}
	for {
		end, cancel := context.WithTimeout(lease.Context(), jobLife/3)
		err := w.write(end, lease, t, version)
		cancel()
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		select { // what was done shall not count as lost because the store hiccups
		case <-time.After(jobLife / 15):
		case <-lease.Context().Done():
			return err
		}
	}
}

// call makes a panic an error: a job must not end the process.
func (w *worker) call(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.job.Run(ctx)
}

// JobStatus is one job as the store knows it.
type JobStatus struct {
	Name  string    `json:"name"`
	Every Seconds   `json:"every"`
	Last  *Turn     `json:"last,omitempty"` // nil: it never ran
	Next  time.Time `json:"next"`           // about when it will do something

	turn time.Time // when its next turn is
}

// Status tells of every job when it ran last, where, how that ended, and when it is due.
func (j *Jobs) Status(ctx context.Context) ([]JobStatus, error) {
	list := make([]JobStatus, 0, len(j.jobs))
	for _, job := range j.jobs {
		s := JobStatus{Name: job.Name, Every: Seconds(job.Every.Seconds()), turn: j.tools.Now().UTC()}
		last, _, err := (&worker{job: job, jobs: j}).last(ctx)
		if err != nil {
			return nil, err
		}
		if last.Slot > 0 {
			s.Last, s.turn = &last, last.Began.Add(job.Every)
		}
		s.Next = s.turn
		if job.Due != nil {
			due, err := job.Due(ctx)
			if err != nil {
				return nil, err
			}
			if due.After(s.Next) {
				s.Next = due.UTC()
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// findings are what is not as it should be with a job.
func (s JobStatus) findings(now time.Time) (list []string) {
	if s.Last == nil {
		return nil
	}
	switch s.Last.Outcome {
	case Failed:
		list = append(list, fmt.Sprintf("job %s has failed %s ago on node %s: %s", s.Name, ago(now, s.Last.Ended), s.Last.Node, s.Last.Error))
	case Lost:
		list = append(list, fmt.Sprintf("job %s was lost %s ago with node %s", s.Name, ago(now, s.Last.Ended), s.Last.Node))
	}
	if late := now.Sub(s.turn); s.Last.Outcome != Running && late > max(time.Minute, time.Duration(float64(s.Every)*float64(time.Second))) {
		list = append(list, fmt.Sprintf("job %s is %s late: no node runs it", s.Name, short(late)))
	}
	return list
}
