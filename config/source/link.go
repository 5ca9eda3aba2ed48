package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// maxLinks bounds the symbolic links on the way to one file, as the kernel does.
const maxLinks = 40

// links follows symbolic links as the kernel does, but looks at each only once: whoever exchanges one in the middle (the
// ..data of a ConfigMap, the "current" of a release) changes nothing for the files that are read afterwards.
type links struct {
	mu      sync.Mutex
	targets map[string]string // by path; "" for what is no link
}

// resolve gives the path without links.
func (l *links) resolve(path string) (string, error) {
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = here + "/" + path // not cleaned: ".." behind a link means what the kernel says
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, hops := "/", 0
	for parts := strings.Split(path, "/"); len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, part)
		target, err := l.target(next)
		if err != nil {
			return "", err
		}
		if target == "" {
			at = next
			continue
		}
		if hops++; hops > maxLinks {
			return "", &os.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		parts = append(strings.Split(target, "/"), parts...)
	}
	return at, nil
}

func (l *links) target(path string) (string, error) {
	if target, known := l.targets[path]; known {
		return target, nil
	}
	target, err := os.Readlink(path)
	if errors.Is(err, syscall.EINVAL) { // no link
		target, err = "", nil
	}
	if err != nil {
		return "", err
	}
	l.targets[path] = target
	return target, nil
}
