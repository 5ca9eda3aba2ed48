package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// every is how often a log that has moved is signed.
const every = time.Minute

// A file of checkpoints that has more than many is cut to the newest few.
const (
	many = 16 << 10
	few  = 4 << 10
)

// Signing is what a Checkpointer needs of the world. Told and Problem may be nil.
type Signing struct {
	Node   string // the node's own name
	Signer Signer
	Now    func() time.Time
	// Told gets every checkpoint that lies safely beside its events, and its line, so that it is kept elsewhere as well.
	Told func(Checkpoint, []byte)
	// Problem gets what could not be done, and what shows that somebody was at the log. A *Bad says the latter.
	Problem func(error)
}

// Checkpointer signs where a log stands, every minute and when it is told to, beside the event files and wherever else the
// section says. Each chain has its file of checkpoints: events.checkpoints beside events.jsonl.
type Checkpointer struct {
	log *Log
	to  Signing

	mu     sync.Mutex
	cfg    Config
	done   Standing        // what the last checkpoint has signed
	synced map[string]bool // closed files that lie on the disk
}

// NewCheckpointer makes one; Run starts it.
func NewCheckpointer(log *Log, cfg Config, to Signing) (*Checkpointer, error) {
	if !word(to.Node) {
		return nil, fmt.Errorf("sign the event log: %q is not the name of a node; use visible ASCII without spaces, at most 128 of them", to.Node)
	}
	if to.Told == nil {
		to.Told = func(Checkpoint, []byte) {}
	}
	if to.Problem == nil {
		to.Problem = func(error) {}
	}
	return &Checkpointer{log: log, cfg: cfg.withDefaults(), to: to, synced: map[string]bool{}}, nil
}

// Change has it go on under another section. A log whose directory changes should be signed once more before.
func (c *Checkpointer) Change(cfg Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg = cfg.withDefaults()
}

// Run signs every minute until ctx ends. It does not sign the end: call Checkpoint when the log is closed.
func (c *Checkpointer) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := c.Checkpoint(); err != nil {
				c.to.Problem(err)
			}
		}
	}
}

// Begin compares the log with checkpoints that were kept elsewhere (lines) and with those beside it: a log that ends below
// one of them was cut off or rolled back while nobody looked. It is for the start, and reads no events; VerifyDirectory
// reads them all.
func (c *Checkpointer) Begin(kept ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.log.At()
	if at.Directory == "" {
		return nil
	}
	newest, line, err := newestCheckpoint(filepath.Join(at.Directory, at.Chain+".checkpoints"))
	if err != nil {
		return err
	}
	if newest.Number > 0 {
		kept = append(kept, line)
	}
	keys := []ed25519.PublicKey{c.to.Signer.Public()}
	for _, line := range kept {
		known, err := ReadCheckpoint(line, keys)
		switch {
		case err != nil: // another key, from before a rotation: VerifyDirectory can be given it
		case known.Node != c.to.Node || known.Chain != at.Chain:
		case known.Seq > at.Seq, known.Seq == at.Seq && known.Hash != at.Hash:
			return (&Bad{Kind: RolledBack, File: at.Chain + ".jsonl", Seq: at.Seq}).
				say("the log ends with entry %d, but entry %d was signed at %s", at.Seq, known.Seq, known.Time.Format(time.RFC3339))
		}
	}
	return nil
}

// Checkpoint signs where the log stands now, if it has moved since the last time. When it returns without an error, entries
// and checkpoint are on the disk.
func (c *Checkpointer) Checkpoint() (Checkpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.log.At()
	if at == c.done || at.Seq == 0 || at.Directory == "" {
		return Checkpoint{}, nil
	}
	if err := c.sync(at); err != nil {
		return Checkpoint{}, fmt.Errorf("sign the event log: %w", err)
	}
	signed, line, err := c.sign(at)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign the event log: %w", err)
	}
	c.done = at
	c.to.Told(signed, line)
	for _, p := range c.cfg.CheckpointTo {
		if err := p.append(line); err != nil {
			c.to.Problem(fmt.Errorf("keep a checkpoint of the event log outside: %w", err))
		}
	}
	return signed, nil
}

// sync has the disk take every entry that is going to be signed: a signed entry that a loss of power takes would look
// like one that somebody has cut off.
func (c *Checkpointer) sync(at Standing) error {
	closed, err := (&File{cfg: Config{Directory: at.Directory}, stem: at.Chain}).closed()
	if err != nil {
		return err
	}
	for _, name := range append(closed, filepath.Join(at.Directory, at.Chain+".jsonl")) {
		if c.synced[name] {
			continue
		}
		if err := syncFile(name); err != nil && !errors.Is(err, os.ErrNotExist) { // rotated away meanwhile
			return err
		}
	}
	clear(c.synced)
	for _, name := range closed {
		c.synced[name] = true
	}
	return syncFile(at.Directory)
}

func syncFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// sign adds the checkpoint to its file, which is locked for so long: two processes may follow each other in one chain.
func (c *Checkpointer) sign(at Standing) (Checkpoint, []byte, error) {
	name := filepath.Join(at.Directory, at.Chain+".checkpoints")
	file, err := openLocked(name)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	defer file.Close()
	last, _, end, err := lastCheckpoint(file)
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	now := Checkpoint{Node: c.to.Node, Chain: at.Chain, Number: last.Number + 1, Seq: at.Seq, Hash: at.Hash, Time: c.to.Now().UTC().Truncate(time.Second)}
	if now.First, err = c.first(at, last); err != nil {
		return Checkpoint{}, nil, err
	}
	line, err := now.Sign(c.to.Signer)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if err := file.Truncate(end); err != nil { // half a line that a loss of power has left
		return Checkpoint{}, nil, err
	}
	if _, err := file.WriteAt(append(bytes.Clone(line), '\n'), end); err != nil {
		return Checkpoint{}, nil, errors.Join(err, file.Truncate(end))
	}
	if err := file.Sync(); err != nil {
		return Checkpoint{}, nil, err
	}
	if end == 0 {
		err = syncFile(at.Directory)
	}
	if end > int64(many)*int64(len(line)) {
		err = errors.Join(err, shorten(file, name))
	}
	return now, line, err
}

// openLocked opens the file that stands at the path once its lock is there, which another process may exchange before.
func openLocked(name string) (*os.File, error) {
	for {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		mine, err := file.Stat()
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if there, err := os.Stat(name); err == nil && os.SameFile(mine, there) {
			return file, nil
		}
		_ = file.Close()
	}
}

// first is the number of the oldest entry that is kept. One that went although fewer closed files lie there than are kept
// was not rotated away: then what was signed stands, so that it shows.
func (c *Checkpointer) first(at Standing, last Checkpoint) (uint64, error) {
	closed, err := (&File{cfg: Config{Directory: at.Directory}, stem: at.Chain}).closed()
	if err != nil {
		return 0, err
	}
	oldest := filepath.Join(at.Directory, at.Chain+".jsonl")
	if len(closed) > 0 {
		oldest = closed[0]
	}
	first, err := firstSeq(oldest)
	if err != nil {
		return 0, fmt.Errorf("%s: its first line is no event: %w", oldest, err)
	}
	if last.First != 0 && first > last.First && len(closed) < c.cfg.Keep && last.Seq <= at.Seq {
		c.to.Problem((&Bad{Kind: Missing, File: filepath.Base(oldest), Line: 1, Seq: last.First}).
			say("entries %d to %d are gone, and no rotation took them: %d closed files are left of %d that are kept", last.First, first-1, len(closed), c.cfg.Keep))
		return last.First, nil
	}
	return min(first, at.Seq), nil
}

// newestCheckpoint reads the last whole line of a file of checkpoints without trusting it. A file that is not there gives
// the zero Checkpoint.
func newestCheckpoint(name string) (Checkpoint, []byte, error) {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return Checkpoint{}, nil, nil
	}
	if err != nil {
		return Checkpoint{}, nil, err
	}
	defer file.Close()
	c, line, _, err := lastCheckpoint(file)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return c, line, err
}

// lastCheckpoint reads the last whole line of a file, and where it ends.
func lastCheckpoint(file *os.File) (Checkpoint, []byte, int64, error) {
	info, err := file.Stat()
	if err != nil {
		return Checkpoint{}, nil, 0, err
	}
	from := max(0, info.Size()-2*maxCheckpoint-2)
	tail := make([]byte, info.Size()-from)
	if _, err := file.ReadAt(tail, from); err != nil && err != io.EOF {
		return Checkpoint{}, nil, 0, err
	}
	end := bytes.LastIndexByte(tail, '\n')
	if end < 0 {
		if from > 0 {
			return Checkpoint{}, nil, 0, errors.New("it holds no checkpoints; move it away and keep it for inspection")
		}
		return Checkpoint{}, nil, 0, nil
	}
	line := bytes.Clone(tail[bytes.LastIndexByte(tail[:end], '\n')+1 : end])
	c, err := unverified(line)
	if err != nil {
		return Checkpoint{}, nil, 0, fmt.Errorf("its last line is no checkpoint (%w); move the file away and keep it for inspection", err)
	}
	return c, line, from + int64(end) + 1, nil
}

// shorten leaves the newest checkpoints of a file; older entries hang on those by their hashes.
func shorten(file *os.File, name string) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	ring, n := make([][]byte, few), 0
	scanner := bufio.NewScanner(file)
	for ; scanner.Scan(); n++ {
		ring[n%few] = append(ring[n%few][:0], scanner.Bytes()...)
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	var out bytes.Buffer
	for i := max(0, n-few); i < n; i++ {
		out.Write(ring[i%few])
		out.WriteByte('\n')
	}
	return replaceFile(name, out.Bytes())
}

// replaceFile exchanges a file for another content, whole or not at all.
func replaceFile(name string, data []byte) error {
	next, err := os.OpenFile(name+".next", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(data)
	if err := errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".next", name); err != nil {
		return err
	}
	return syncFile(filepath.Dir(name))
}

// append adds a line to a place outside. The file is opened each time, so that it may be rotated or mounted anew.
func (p Place) append(line []byte) error {
	line = append(bytes.Clone(line), '\n')
	file, err := os.OpenFile(p.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(line)
	if err == nil {
		if info, stat := file.Stat(); stat == nil && info.Mode().IsRegular() {
			err = file.Sync()
		}
	}
	return errors.Join(err, file.Close())
}
