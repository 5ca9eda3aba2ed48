package source

import (
	"fmt"
	"os"
	"syscall"
)

// stampOf is what of a file changes when the file does; "" for one that is not there. Links are followed, so that a
// ConfigMap whose ..data is exchanged shows.
func stampOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	inode := uint64(0)
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	return fmt.Sprintf("%d %d %d", inode, info.Size(), info.ModTime().UnixNano())
}
