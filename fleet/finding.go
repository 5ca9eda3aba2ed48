package fleet

import (
	"fmt"
	"time"
)

// maxClock is how far clocks may differ before it is told.
const maxClock = 5 * time.Second

// Findings says in words what is not as it should be among nodes, and whether they serve different documents.
func Findings(nodes []Node, now time.Time) (list []string, drift bool) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	newest := newestDocument(nodes)
	names := map[string]int{}
	programs := map[string]string{}
	for _, n := range nodes {
		names[n.Name]++
		if n.Program != "" {
			programs[n.Program] = n.Name
		}
		if newest != nil && n.Document.Hash != newest.Document.Hash && n.Document.Hash != "" {
			drift = true
			say("node %s serves another document since %s: %s, while node %s serves %s", n.Name, ago(now, newest.Document.Loaded), n.Document.name(), newest.Name, newest.Document.name())
		}
		n.own(now, say)
	}
	for _, n := range nodes {
		if names[n.Name] > 1 {
			say("%d nodes are called %s; give each its own fleet.name", names[n.Name], n.Name)
			names[n.Name] = 0
		}
	}
	if len(programs) > 1 {
		say("nodes run %d versions of the program; that is meant for the time of an upgrade only", len(programs))
	}
	return list, drift
}

// own is what one node shows by itself.
func (n Node) own(now time.Time, say func(string, ...any)) {
	if n.Document.Refused != "" {
		say("node %s has refused a newer document: %s", n.Name, n.Document.Refused)
	}
	if !n.Ready {
		say("node %s is not ready", n.Name)
	}
	if float64(n.Seen) > 3*max(float64(n.Beat), 0.5) {
		say("node %s was last heard of %s ago", n.Name, short(time.Duration(float64(n.Seen)*float64(time.Second))))
	}
	if c := time.Duration(float64(n.Clock) * float64(time.Second)); c > maxClock {
		say("the clock of node %s is %s ahead of this node's", n.Name, short(c))
	} else if c < -maxClock {
		say("the clock of node %s is %s behind this node's", n.Name, short(-c))
	}
	if !n.Shared.Down.IsZero() {
		say("node %s cannot reach what nodes share (%s) since %s: %s", n.Name, n.Shared.Kind, ago(now, n.Shared.Down), n.Shared.Error)
	}
	r := n.Revocations
	switch {
	case r.Stale:
		say("node %s doesn't know which tokens were called back, and refuses all of them", n.Name)
	case r.Lag > 5:
		say("node %s has not heard of revocations for %s", n.Name, short(time.Duration(r.Lag*float64(time.Second))))
	}
	if r.Pending > 0 {
		say("node %s holds %d revocations that the store has not got", n.Name, r.Pending)
	}
	if r.Unread > 0 {
		say("node %s does not understand %d revocations: its program is older than the one that wrote them", n.Name, r.Unread)
	}
}

// newestDocument is the node that the others should follow: by the version of signed documents, else by who loaded last.
func newestDocument(nodes []Node) (newest *Node) {
	for i := range nodes {
		n := &nodes[i]
		if n.Document.Hash == "" {
			continue
		}
		if newest == nil || n.Document.Version > newest.Document.Version ||
			n.Document.Version == newest.Document.Version && n.Document.Hash != newest.Document.Hash && n.Document.Loaded.After(newest.Document.Loaded) {
			newest = n
		}
	}
	if newest == nil {
		return nil
	}
	first := newest // of all that serve it, the first to do so tells since when there are two
	for i := range nodes {
		if n := &nodes[i]; n.Document.Hash == newest.Document.Hash && n.Document.Loaded.Before(first.Document.Loaded) {
			first = n
		}
	}
	return first
}

// name is how a document is called in a sentence.
func (d Document) name() string {
	hash := d.Hash[:min(len(d.Hash), 12)]
	if d.Version > 0 {
		return fmt.Sprintf("version %d (%s)", d.Version, hash)
	}
	return hash
}

func ago(now, then time.Time) string { return short(max(0, now.Sub(then))) }

// short writes a time span as people say it: 3m, 2h, 40s.
func short(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
