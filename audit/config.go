package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Config is the audit section of the document.
type Config struct {
	// Directory for the event files. Default: events, in the data directory.
	Directory string `yaml:"directory,public"`
	// Size at which a file is closed and the next begun. Default 64MiB.
	FileSize unit.Size `yaml:"file_size"`
	// How many closed files are kept; the oldest goes first. Default 8.
	Keep int `yaml:"keep"`
	// Where events go as well, line by line as they stand in the files: stdout, or file:/path, which is rotated within the
	// same bounds. One that fails counts as a failing log. Default: nowhere else.
	Also []Place `yaml:"also,nonempty,public"`
	// Where the signed checkpoints of the event log go as well, one line a minute: file:/path, best on another machine's disk.
	// Whoever cuts off the end of the log and its checkpoints is found out by them. Default: only beside the event files.
	CheckpointTo []Place `yaml:"checkpoint_to,nonempty,public"`
	// What happens to new requests while events cannot be written: deny (default), or allow, which needs accept_risk.
	OnFailure Failure `yaml:"on_failure"`
	// Why it is acceptable here that requests pass unrecorded while the event log fails.
	AcceptRisk string `yaml:"accept_risk"`
}

// Failure says what happens to requests while events cannot be written.
type Failure string

// Values lists the words.
func (Failure) Values() []string { return []string{"deny", "allow"} }

// Place is somewhere else that events go: "stdout" or "file:/path". The zero Place is nowhere, and a mistake.
type Place struct {
	stdout bool
	file   string
}

// UnmarshalText reads the written form.
func (p *Place) UnmarshalText(text []byte) error {
	word := string(text)
	if word == "stdout" {
		*p = Place{stdout: true}
		return nil
	}
	const scheme = "file:"
	if len(word) > len(scheme) && word[:len(scheme)] == scheme && filepath.IsAbs(word[len(scheme):]) {
		*p = Place{file: filepath.Clean(word[len(scheme):])}
		return nil
	}
	return errors.New("events go to stdout or to a file with its whole path; write stdout or file:/var/log/gatehouse.jsonl")
}

// MarshalText writes what UnmarshalText reads.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Place) String() string {
	if p.stdout {
		return "stdout"
	}
	return "file:" + p.file
}

// Check lists the mistakes of the section.
func (c Config) Check() error {
	var m mistake.List
	if c.OnFailure == "allow" && c.AcceptRisk == "" {
		m.Add("on_failure", `accept_risk: "why requests may pass unrecorded"`, "requests would pass unrecorded while the event log fails, and no reason is given")
	}
	if c.OnFailure != "" && c.OnFailure != "deny" && c.OnFailure != "allow" {
		m.Add("on_failure", "deny", "%q is neither deny nor allow", c.OnFailure)
	}
	if c.FileSize < 0 || c.FileSize > 0 && c.FileSize < 64*unit.KiB {
		m.Add("file_size", "64MiB", "an event file of %s is too small to hold a busy second", c.FileSize)
	}
	if c.Keep < 0 {
		m.Add("keep", "8", "a negative number of files cannot be kept")
	}
	for i, p := range c.Also {
		switch {
		case p == Place{}:
			m.Add(fmt.Sprintf("also[%d]", i), "stdout", "no place is named")
		case slices.Contains(c.Also[:i], p):
			m.Add(fmt.Sprintf("also[%d]", i), "", "%s stands twice", p)
		case p.file != "" && filepath.Dir(p.file) == filepath.Clean(c.Directory):
			m.Add(fmt.Sprintf("also[%d]", i), "", "%s lies in audit.directory, where it would be taken for a part of the log", p.file)
		}
	}
	for i, p := range c.CheckpointTo {
		switch {
		case p.file == "":
			m.Add(fmt.Sprintf("checkpoint_to[%d]", i), "file:/mnt/elsewhere/gatehouse.checkpoints", "checkpoints are kept in a file")
		case slices.Contains(c.CheckpointTo[:i], p) || slices.Contains(c.Also, p):
			m.Add(fmt.Sprintf("checkpoint_to[%d]", i), "", "%s stands twice", p)
		case filepath.Dir(p.file) == filepath.Clean(c.Directory):
			m.Add(fmt.Sprintf("checkpoint_to[%d]", i), "", "%s lies in audit.directory; whoever changes the events there can change it as well", p)
		}
	}
	return m.Err()
}

// Default is the section with its directory filled in: events, in the state directory.
func (c Config) Default(state string) Config {
	if c.Directory == "" {
		c.Directory = filepath.Join(state, "events")
	}
	return c
}

func (c Config) withDefaults() Config {
	if c.FileSize == 0 {
		c.FileSize = 64 * unit.MiB
	}
	if c.Keep == 0 {
		c.Keep = 8
	}
	return c
}
