package backup

import "fmt"

// Kind says what is wrong with a backup.
type Kind string

// What can be wrong with a backup (row K11).
const (
	Empty     Kind = "empty"     // it has no bytes
	Truncated Kind = "truncated" // its end is missing
	Damaged   Kind = "damaged"   // its bytes are not those that were written
	NoKey     Kind = "wrong_key" // none of the given keys opens it
	NoBackup  Kind = "no_backup" // it is something else
	Missing   Kind = "missing"   // a part is not there
	Unwanted  Kind = "unwanted"  // there is more than was written
	Foreign   Kind = "foreign"   // another installation made it, or nobody knows who
	Renamed   Kind = "renamed"   // it is another backup than its name says
	Older     Kind = "older"     // it is older than it must be
	Unsound   Kind = "unsound"   // its bytes are right, and what they hold is not
)

// Flaw is one thing that is wrong with a backup. It is an error.
type Flaw struct {
	Kind   Kind   `json:"kind"`
	Backup string `json:"backup,omitempty"` // name of the file
	Part   string `json:"part,omitempty"`
	What   string `json:"what"`
}

func (f *Flaw) Error() string {
	place := f.Backup
	if place == "" {
		place = "backup"
	}
	if f.Part != "" {
		place += ": " + f.Part
	}
	return fmt.Sprintf("%s: %s: %s", place, f.Kind, f.What)
}

func flaw(kind Kind, part, what string, args ...any) *Flaw {
	return &Flaw{Kind: kind, Part: part, What: fmt.Sprintf(what, args...)}
}
