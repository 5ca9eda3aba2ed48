package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		return "", fmt.Errorf("make the state directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("state directory %s can be read by others (%s); run: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	return dir, nil
}
