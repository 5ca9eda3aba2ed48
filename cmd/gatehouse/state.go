package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// stateDirectory is where this installation keeps what must survive a restart: $XDG_DATA_HOME/gatehouse, else
// ~/.local/share/gatehouse. Nobody else may read it.
func stateDirectory() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("find the state directory: neither HOME nor XDG_DATA_HOME is set; set one of them")
		}
		base = filepath.Join(home, ".local", "share")
	}
	if !filepath.IsAbs(base) {
		return "", fmt.Errorf("find the state directory: XDG_DATA_HOME is %q, which is not an absolute path", base)
	}
	dir := filepath.Join(base, "gatehouse")
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // the operator's own environment says where
		return "", unwritable(dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", unwritable(dir, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("state directory %s can be read by others (%s); run: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	return dir, nil
}

// ours refuses a state directory of somebody else: what root writes there while no gateway runs, the gateway could not open.
func (p places) ours() error {
	info, err := os.Stat(p.state)
	if err != nil {
		return unwritable(p.state, err)
	}
	if of, ok := info.Sys().(*syscall.Stat_t); ok && int(of.Uid) != os.Geteuid() {
		return fmt.Errorf("no gateway runs, and the state directory %s belongs to uid %d; run this as that user: sudo -u '#%d' env XDG_DATA_HOME=%s gatehouse ...; nothing was done",
			p.state, of.Uid, of.Uid, filepath.Dir(p.state))
	}
	return nil
}

// unwritable adds to an error what keeps a state directory from being used, where the system says that in a word.
func unwritable(dir string, err error) error {
	var remedy string
	switch {
	case errors.Is(err, syscall.EROFS):
		remedy = "it is on a read-only file system; mount it for writing, or name another directory in XDG_DATA_HOME"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "its disk is full; make room there"
	case errors.Is(err, fs.ErrPermission):
		remedy = fmt.Sprintf("this process runs as uid %d, which may not use it; start it as the user that the directory belongs to", os.Getuid())
	default:
		return fmt.Errorf("use the state directory %s: %w", dir, err)
	}
	return fmt.Errorf("the state directory %s can't be used: %s (%w)", dir, remedy, err)
}
