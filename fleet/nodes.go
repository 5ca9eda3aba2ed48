package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

const (
	nodePrefix = "node/"
	lifeBeats  = 7 // a node that is silent for so many heartbeats is gone
	quietBeats = 5 // a node without company tells of itself so much less often
	maxNodes   = 1000
	forgetNode = 24 * time.Hour   // until the record of a node that died goes by itself
	removeNode = 10 * time.Minute // until others remove it
)

// Document is what a node serves.
type Document struct {
	Hash    string    `json:"hash"`              // of everything that it is made of
	Version int64     `json:"version,omitempty"` // of a signed document; 0 for others
	Loaded  time.Time `json:"loaded"`            // since when this node serves it
	Refused string    `json:"refused,omitempty"` // why a newer one was not taken; "" when none was refused
}

// Shared is how a node sees the state that nodes share quickly.
type Shared struct {
	Kind  string    `json:"kind"`            // memory or redis
	Down  time.Time `json:"down,omitzero"`   // since when it cannot be reached; zero: it can
	Error string    `json:"error,omitempty"` // without secrets
}

// Report is what a node says of itself.
type Report struct {
	Program     string           `json:"program"`  // version of the program
	Document    Document         `json:"document"` //
	Policy      string           `json:"policy,omitempty"`
	CoreRules   string           `json:"core_rules,omitempty"` // of the WAF, by which it judges
	Ready       bool             `json:"ready"`
	Keyring     int64            `json:"keyring,omitempty"` // generation that it seals with; an older one is needed while a node has it
	Shared      Shared           `json:"shared"`
	Revocations RevocationStatus `json:"revocations"`
}

// Node is one process, as it was last heard of.
type Node struct {
	ID      string    `json:"id"`      // of this start
	Name    string    `json:"name"`    //
	Started time.Time `json:"started"` //
	Sent    time.Time `json:"sent"`    // by its own clock
	Beat    Seconds   `json:"beat"`    // between two heartbeats
	Report

	Self  bool    `json:"self,omitempty"` // the node that was asked
	Seen  Seconds `json:"seen"`           // how long ago, by the clock of the node that was asked
	Clock Seconds `json:"clock"`          // how far its clock is ahead of the asked one's; within the time that a heartbeat takes to be seen
}

// Seconds is a time span as JSON writes it.
type Seconds float64

// Identity is how a node is called.
type Identity struct {
	ID      string // random, new with each start; letters and digits
	Name    string // Config.Name
	Started time.Time
}

// NodeTools is what Nodes need from outside.
type NodeTools struct {
	Durable store.Durable
	Now     func() time.Time
	Report  func() Report // called for every heartbeat; must not wait
	// Local tells that only processes of this machine can be on the list: then a node that is alone on it, and has nothing
	// new to say, tells so five times less often. Every sign of life is a write that waits for the disk. nil: false.
	Local func() bool
	Log   *slog.Logger // nil: nothing is said
}

// Nodes tells the others of this node, and knows them. A node that only looks needs no Run.
type Nodes struct {
	cfg   Config
	self  Identity
	tools NodeTools
	count atomic.Int64
	mu    sync.Mutex
	known map[string]acquaintance
	heard time.Time // when the list was last read; zero: never
	told  told      // Run's own
}

// told is what this node has said of itself last, and how many others there were.
type told struct {
	at     time.Time
	what   Report
	others int
}

// acquaintance is what this node has seen of another: when its record last changed, and how its clock differs.
type acquaintance struct {
	version int64
	since   time.Time
	clocks  []time.Duration // the latest differences, at most ten; delays make them smaller, so that the largest is the best
	node    Node
}

// NewNodes makes the registry as one node sees it.
func NewNodes(cfg Config, self Identity, tools NodeTools) *Nodes {
	if tools.Log == nil {
		tools.Log = slog.New(slog.DiscardHandler)
	}
	n := &Nodes{cfg: cfg.WithDefaults(nil), self: self, tools: tools, known: map[string]acquaintance{}}
	n.count.Store(1)
	return n
}

// Count is how many nodes are ready, this one included: at least 1, and for shares of a limit. While the store cannot be
// read it stays what it was.
func (n *Nodes) Count() int { return int(n.count.Load()) }

// Run tells of this node until ctx ends, and then takes it off the list.
func (n *Nodes) Run(ctx context.Context) {
	tick := time.NewTicker(n.cfg.Heartbeat)
	defer tick.Stop()
	failing := false
	for {
		attempt, cancel := context.WithTimeout(ctx, n.cfg.Heartbeat)
		err := n.beat(attempt)
		cancel()
		if failed := err != nil; failed != failing && ctx.Err() == nil {
			failing = failed
			n.say(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_, _ = n.tools.Durable.Write(last, store.Write{Key: nodePrefix + n.self.ID, Version: store.Any}) // else it expires
			cancel()
			return
		}
	}
}

func (n *Nodes) say(err error) {
	if err == nil {
		n.tools.Log.Info("the other nodes are told of this one again")
	} else {
		n.tools.Log.Warn("the other nodes cannot be told of this one", "error", err)
	}
}

// beat writes this node's record and looks at the others'.
func (n *Nodes) beat(ctx context.Context) error {
	now := n.tools.Now()
	beat, quiet := n.cfg.Heartbeat, n.tools.Local != nil && n.tools.Local() && n.told.others == 0
	if quiet { // so that it isn't taken for late or gone between two
		beat *= 2
	}
	own := Node{ID: n.self.ID, Name: n.self.Name, Started: n.self.Started.UTC(), Sent: now.UTC(), Beat: Seconds(beat.Seconds())}
	if n.tools.Report != nil {
		own.Report = n.tools.Report()
	}
	if since := now.Sub(n.told.at); quiet && since >= 0 && since < quietBeats*n.cfg.Heartbeat-n.cfg.Heartbeat/2 && own.news() == n.told.what {
		return n.meet(ctx)
	}
	value, err := json.Marshal(own)
	if err != nil {
		return err
	}
	expires := now.Add(forgetNode) // far off, since whose clock is wrong shall be seen, too
	if _, err := n.tools.Durable.Write(ctx, store.Write{Key: nodePrefix + n.self.ID, Value: value, Version: store.Any, Expires: expires}); err != nil {
		return err
	}
	n.told.at, n.told.what = now, own.news()
	if err := n.meet(ctx); err != nil {
		return err
	}
	if dead, ok := n.dead(now); ok {
		_, _ = n.tools.Durable.Write(ctx, dead) // another node may be faster, and the dead may rise
	}
	return nil
}

// news is what of a report others should hear at once: all but what is counted and timed.
func (r Report) news() Report {
	r.Revocations.Lag, r.Revocations.Held = 0, 0
	return r
}

// meet looks who else is there.
func (n *Nodes) meet(ctx context.Context) error {
	all, err := n.look(ctx)
	if err == nil {
		n.told.others = len(slices.DeleteFunc(all, func(a Node) bool { return a.Self }))
	}
	return err
}

// dead is the removal of one node that was silent for long, so that nodes that crash in a loop fill no list.
func (n *Nodes) dead(now time.Time) (store.Write, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, a := range n.known {
		if now.Sub(a.since) > removeNode {
			return store.Write{Key: key, Version: a.version}, true
		}
	}
	return store.Write{}, false
}

// look reads the list. Whether another node lives is judged by when its record last changed as seen from here, so that
// its clock doesn't matter.
func (n *Nodes) look(ctx context.Context) ([]Node, error) {
	records, err := n.tools.Durable.List(ctx, nodePrefix, "", maxNodes)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now, all, ready := n.tools.Now(), make([]Node, 0, len(records)), 0
	first := n.heard.IsZero()
	known := make(map[string]acquaintance, len(records))
	for _, r := range records {
		a := n.known[r.Key]
		if a.version != r.Version || a.since.After(now) {
			var node Node
			if json.Unmarshal(r.Value, &node) != nil || node.ID == "" {
				continue // of a program that we don't know
			}
			if a.node.ID != "" && node.Sent.Equal(a.node.Sent) && !a.since.After(now) {
				a.version = r.Version // sealed again by somebody else: no sign of life
			} else {
				a = a.changed(r.Version, node, now, first)
			}
		}
		known[r.Key] = a
		a.node.Self = a.node.ID == n.self.ID
		a.node.Seen = Seconds(now.Sub(a.since).Seconds())
		if a.node.Self {
			a.node.Clock = 0
		}
		if float64(a.node.Seen) > lifeBeats*max(float64(a.node.Beat), 0.5) {
			continue
		}
		if a.node.Ready && !a.node.Self {
			ready++
		}
		all = append(all, a.node)
	}
	n.known, n.heard = known, now
	n.count.Store(int64(1 + ready))
	slices.SortFunc(all, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// changed takes in a new record. One that was there before we first looked may be old: it says nothing of the clock.
func (a acquaintance) changed(version int64, node Node, now time.Time, first bool) acquaintance {
	ahead := node.Sent.Sub(now)
	a.clocks = append(a.clocks, ahead)
	if len(a.clocks) > 10 {
		a.clocks = slices.Delete(slices.Clone(a.clocks), 0, 1)
	}
	best := slices.Max(a.clocks)
	node.Clock = Seconds(best.Seconds())
	a.version, a.since, a.node = version, now, node
	if first {
		a.clocks = nil
		a.node.Clock = Seconds(max(ahead, 0).Seconds())
		a.since = now.Add(min(ahead, 0))
	}
	return a
}

// List gives the nodes that live, by name.
func (n *Nodes) List(ctx context.Context) ([]Node, error) { return n.look(ctx) }

// Status is the answer to `gatehouse status`.
type Status struct {
	Time     time.Time   `json:"time"`
	Nodes    []Node      `json:"nodes"`
	Jobs     []JobStatus `json:"jobs,omitempty"`
	Drift    bool        `json:"drift"`              // nodes serve different documents
	Findings []string    `json:"findings,omitempty"` // what is not as it should be, in words
}

// Status looks at all nodes, and at jobs where they are given (nil: none).
func (n *Nodes) Status(ctx context.Context, jobs *Jobs) (Status, error) {
	nodes, err := n.look(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("the list of nodes cannot be read: %w", err)
	}
	s := Status{Time: n.tools.Now().UTC(), Nodes: nodes}
	s.Findings, s.Drift = Findings(nodes, s.Time)
	if jobs != nil {
		if s.Jobs, err = jobs.Status(ctx); err != nil {
			return Status{}, fmt.Errorf("the state of the jobs cannot be read: %w", err)
		}
		for _, j := range s.Jobs {
			s.Findings = append(s.Findings, j.findings(s.Time)...)
		}
	}
	return s, nil
}
