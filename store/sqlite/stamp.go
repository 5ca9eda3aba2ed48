package sqlite

import (
	"os"
	"syscall"
	"time"
)

// stamp is how the file and its log look from outside. Every commit, of this process or another, appends to the log or begins
// it anew, so that equal stamps mean that nothing was written between them: whoever follows the store need not open it to
// learn that nothing has happened.
type stamp struct{ file, log version }

// version tells one state of a file from another.
type version struct {
	dev, node uint64
	size      int64
	changed   int64 // nanoseconds since 1970
}

// still is how long a file must have been at rest before its time says anything: clocks of file systems go in steps of some
// milliseconds, in which a second change would not show.
const still = 100 * time.Millisecond

// stampFor bounds how long nothing but the stamp is looked at, so that a disk that doesn't read any more is noticed.
const stampFor = 5 * time.Second

// stamp looks at the files; ok says that it may be compared.
func (d *DB) stamp() (s stamp, ok bool) {
	now := time.Now().UnixNano()
	var atRest [2]bool
	s.file, atRest[0] = look(d.path, now)
	s.log, atRest[1] = look(d.path+"-wal", now)
	return s, atRest[0] && atRest[1]
}

func look(path string, now int64) (v version, atRest bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return v, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return v, false
	}
	v = version{uint64(stat.Dev), stat.Ino, info.Size(), info.ModTime().UnixNano()} //nolint:unconvert // int32 on darwin
	return v, now-v.changed > int64(still)
}

// seen is what the last Since has read: the stamp before it, and the mark after it.
type seen struct {
	stamp stamp
	next  string
	at    time.Time
}

// nothingSince tells that nothing was written after a mark, without opening the file. The stamp is for remember, when it
// can't tell.
func (d *DB) nothingSince(mark string) (s stamp, ok, nothing bool) {
	s, ok = d.stamp()
	last := d.seen.Load()
	if !ok || last == nil || mark == "" || d.fault.Load() != nil {
		return s, ok, false
	}
	age := time.Since(last.at)
	return s, ok, mark == last.next && s == last.stamp && age >= 0 && age < stampFor
}

// remember keeps what was read after a stamp was taken.
func (d *DB) remember(s stamp, next string) { d.seen.Store(&seen{s, next, time.Now()}) }
