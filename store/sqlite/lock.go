package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// locks are two files beside the store. Every process that has it open holds -lock in common; who changes its key, or makes
// it, holds -lock alone. To get it alone from others that are running, one first takes -turn: they see that, let go, and
// come back when it is free. The kernel gives both back when a process dies, so no crash leaves a lock behind.
type locks struct {
	path     string
	patience time.Duration
	lock     *os.File
	turn     *os.File
}

func (l *locks) open() (err error) {
	if l.lock, err = lockFile(l.path + "-lock"); err == nil {
		l.turn, err = lockFile(l.path + "-turn")
	}
	return err
}

func lockFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
}

func (l *locks) close() {
	for _, f := range []*os.File{l.lock, l.turn} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// try asks the kernel for a lock, without waiting. A file that was closed meanwhile gives none.
func try(f *os.File, how int) (got bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		for {
			err := syscall.Flock(int(fd), how|syscall.LOCK_NB)
			if !errors.Is(err, syscall.EINTR) {
				got = err == nil
				return
			}
		}
	})
	return got
}

func (l *locks) tryExclusive() bool { return try(l.lock, syscall.LOCK_EX) }

func (l *locks) exclusive(ctx context.Context) error {
	return l.wait(ctx, l.lock, syscall.LOCK_EX)
}

func (l *locks) shared(ctx context.Context) error { return l.wait(ctx, l.lock, syscall.LOCK_SH) }

func (l *locks) free() { try(l.lock, syscall.LOCK_UN) }

// wanted tells that another wants the store for itself.
func (l *locks) wanted() bool {
	if !try(l.turn, syscall.LOCK_SH) {
		return true
	}
	try(l.turn, syscall.LOCK_UN)
	return false
}

// take takes the turn: from then on the others let go. It is given back by closing the file.
func (l *locks) take(ctx context.Context) (*os.File, error) {
	f, err := lockFile(l.path + "-turn")
	if err != nil {
		return nil, unavailable(l.path, err)
	}
	if err := l.wait(ctx, f, syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (l *locks) wait(ctx context.Context, f *os.File, how int) error {
	return l.poll(ctx, func() bool { return try(f, how) })
}

// poll asks again and again, until patience ends.
func (l *locks) poll(ctx context.Context, got func() bool) error {
	patience := time.NewTimer(l.patience)
	defer patience.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !got() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		case <-patience.C:
			return fmt.Errorf("%w: another process has %s and did not let go within %v; end it or try again", store.ErrUnavailable, l.path, l.patience)
		}
	}
	return nil
}
