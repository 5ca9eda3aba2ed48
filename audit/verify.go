package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options says what a log is held against.
type Options struct {
	// Keys are those that may have signed checkpoints: the present one, and those before it. Without one nothing is anchored.
	Keys []ed25519.PublicKey
	// Witness are checkpoints that were kept elsewhere, a line each: records of the store, lines of checkpoint_to. Those of
	// other nodes and of other chains are left out.
	Witness [][]byte
	// Node is the node whose log it is; "" takes the name from the checkpoints beside it.
	Node string
	// Keep is audit.keep: only a directory with so many closed files has rotated some away. 0 is the default.
	Keep int
	// Progress is told how many bytes are done, of how many, and in which file. May be nil.
	Progress func(done, total int64, what string)
	// Pace is told every some ten entries how many bytes were read since, and may wait: whoever verifies beside a gateway that
	// serves must not take a processor from it for seconds. nil: as fast as it goes.
	Pace func(ctx context.Context, bytes int) error
	// Now is for Report.Took. Default: nothing is measured.
	Now func() time.Time
}

// VerifyDirectory reads every entry of the chains in a directory, in order, and holds them against each other, against the
// signed checkpoints beside them and against those that were kept elsewhere. What is wrong stands in the report, the first
// bad entry of each chain by its place; an error says only that something could not be read. Memory does not grow with
// the log. A log that is being written may be verified: what stood there at the start is.
func VerifyDirectory(ctx context.Context, directory string, o Options) (Report, error) {
	if o.Now == nil {
		o.Now = func() time.Time { return time.Time{} }
	}
	if o.Pace == nil {
		o.Pace = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64, string) {}
	}
	o.Keep = Config{Keep: o.Keep}.withDefaults().Keep
	began := o.Now()
	r := Report{Directory: directory}
	chains, err := openChains(directory)
	defer func() {
		for _, c := range chains {
			c.close()
		}
	}()
	if err != nil {
		return r, fmt.Errorf("verify event log: %w", err)
	}
	total := int64(0)
	for _, c := range chains {
		for _, f := range c.files {
			total += f.size
		}
	}
	for _, c := range chains {
		v := &verifier{ctx: ctx, options: o, files: c, told: func(done int64, what string) { o.Progress(r.Bytes+done, total, what) }}
		bad, err := v.verify()
		r.Chains = append(r.Chains, v.found)
		r.Entries += v.found.Entries
		r.Bytes += v.bytes
		if err != nil {
			return r, fmt.Errorf("verify event log: %w", err)
		}
		if bad != nil {
			r.Bad = append(r.Bad, bad)
		}
	}
	if len(chains) == 0 && len(o.Witness) > 0 {
		if bad := noLog(o); bad != nil {
			r.Bad = append(r.Bad, bad)
		}
	}
	r.OK, r.Took = len(r.Bad) == 0, o.Now().Sub(began)
	return r, nil
}

// noLog is what a witness says of a directory without any log.
func noLog(o Options) *Bad {
	for _, line := range o.Witness {
		if c, err := ReadCheckpoint(line, o.Keys); err == nil && (o.Node == "" || o.Node == c.Node) {
			return (&Bad{Kind: Missing, File: c.Chain + ".jsonl", Seq: c.First}).say("there is no log, but entry %d was signed at %s", c.Seq, c.Time.Format(time.RFC3339))
		}
	}
	return nil
}

// opened is one file of a chain as it was when verifying began.
type opened struct {
	*os.File
	name string
	size int64
}

// files is one chain: its closed files, oldest first, the open one, and the lines of its checkpoints.
type files struct {
	stem        string
	files       []opened
	closed      int
	checkpoints []byte
}

func (c *files) close() {
	for _, f := range c.files {
		_ = f.Close()
	}
}

// opening is how long files are opened again because a rotation fell between.
const opening = 10 * time.Second

// openChains opens all files of a directory at once. A rotation that falls between has it begin anew.
func openChains(directory string) ([]*files, error) {
	for end := time.Now().Add(opening); time.Now().Before(end); {
		chains, names, err := openOnce(directory)
		if err == nil {
			var again []string
			if again, err = names(); err == nil && slices.Equal(again, flat(chains)) {
				return chains, nil
			}
		}
		for _, c := range chains {
			c.close()
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: its files come and go faster than they can be opened", directory)
}

func flat(chains []*files) []string {
	var all []string
	for _, c := range chains {
		for _, f := range c.files {
			all = append(all, f.Name())
		}
	}
	return all
}

func openOnce(directory string) (chains []*files, list func() ([]string, error), err error) {
	list = func() ([]string, error) {
		if _, err := os.Stat(directory); err != nil {
			return nil, fmt.Errorf("%w (no event has been written there)", asPlain(err))
		}
		return Files(directory)
	}
	names, err := list()
	if err != nil {
		return nil, list, err
	}
	for _, name := range names {
		stem, _, closed := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".jsonl"), "-")
		if len(chains) == 0 || chains[len(chains)-1].stem != stem {
			c := &files{stem: stem}
			chains = append(chains, c)
			if c.checkpoints, err = readCheckpoints(filepath.Join(directory, stem+".checkpoints")); err != nil {
				return chains, list, err
			}
		}
		c := chains[len(chains)-1]
		file, err := os.Open(name)
		if err != nil {
			return chains, list, err
		}
		c.files = append(c.files, opened{File: file, name: filepath.Base(name)})
		info, err := file.Stat()
		if err != nil {
			return chains, list, err
		}
		c.files[len(c.files)-1].size = info.Size()
		if closed {
			c.closed++
		}
	}
	return chains, list, nil
}

// asPlain keeps an error's words only, so that it is not taken for a file that was rotated meanwhile.
func asPlain(err error) error { return errors.New(err.Error()) }

// readCheckpoints reads a whole file of checkpoints, whose size the Checkpointer bounds.
func readCheckpoints(name string) ([]byte, error) {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const most = 64 << 20
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s: larger than %d bytes, which a gateway does not write", name, most)
	}
	return data, err
}
