package audit

import (
	"fmt"
	"time"
)

// Kind says what is wrong with a log.
type Kind string

// What can be wrong with a log (row K4).
const (
	Changed    Kind = "changed"     // a line is not what it was when it was written
	Deleted    Kind = "deleted"     // entries are missing between two others
	Missing    Kind = "missing"     // a whole file is missing
	Reordered  Kind = "reordered"   // entries do not stand in the order in which they were written
	Truncated  Kind = "truncated"   // the log ends before the last entry that was signed
	Replaced   Kind = "replaced"    // another log stands in its place
	RolledBack Kind = "rolled_back" // the log is a copy from before
	Forged     Kind = "forged"      // a checkpoint is not what was signed
)

// Bad is one thing that is wrong with a log, and where. It is an error.
type Bad struct {
	Kind Kind   `json:"kind"`
	File string `json:"file"`           // name in the directory
	Line int    `json:"line,omitempty"` // counted from 1; 0 when it is no line of the file
	Seq  uint64 `json:"seq,omitempty"`  // number of the first bad entry
	What string `json:"what"`
}

func (b *Bad) say(what string, args ...any) *Bad {
	b.What = fmt.Sprintf(what, args...)
	return b
}

func (b *Bad) Error() string {
	place := b.File
	if b.Line > 0 {
		place = fmt.Sprintf("%s:%d", b.File, b.Line)
	}
	return fmt.Sprintf("%s: %s: %s", place, b.Kind, b.What)
}

// Chain is what was found of one chain.
type Chain struct {
	Name    string `json:"name"` // stem of its files
	Files   int    `json:"files"`
	Entries uint64 `json:"entries"` // that were read and follow from each other
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	// Anchored tells that a signed checkpoint fixes the entries that are kept; else they only agree with each other.
	Anchored bool `json:"anchored"`
	// RotatedAway is how many entries went with the oldest files, as the section says.
	RotatedAway uint64 `json:"rotated_away,omitempty"`
	// Sealed is the last checkpoint that the log bears out; Unsealed is how many entries follow it: of those, the last one
	// may have been changed, and more may have stood there.
	Sealed   *Checkpoint `json:"sealed,omitempty"`
	Unsealed uint64      `json:"unsealed"`
	// HalfLine tells that the log ends within a line: it is being written, or a loss of power took the rest.
	HalfLine bool `json:"half_line,omitempty"`
	Checked  int  `json:"checkpoints"` // how many checkpoints, of those beside it and the witness, it bears out
}

// Report is what VerifyDirectory has found.
type Report struct {
	Directory string        `json:"directory"`
	OK        bool          `json:"ok"` // nothing is wrong; see each chain for what is not anchored
	Entries   uint64        `json:"entries"`
	Bytes     int64         `json:"bytes"`
	Chains    []Chain       `json:"chains"`
	Bad       []*Bad        `json:"bad,omitempty"` // the first thing of each chain; empty when all is well
	Took      time.Duration `json:"took"`
}

// Err is nil when nothing is wrong, else the first bad entry.
func (r Report) Err() error {
	if len(r.Bad) == 0 {
		return nil
	}
	return r.Bad[0]
}

// Anchored tells that signed checkpoints fix every chain.
func (r Report) Anchored() bool {
	for _, c := range r.Chains {
		if !c.Anchored {
			return false
		}
	}
	return len(r.Chains) > 0
}
