package key

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Findings tells what is still open about the root key of a keyring that protects data below dataDir.
func (r *Ring) Findings(dataDir string) []gate.Finding { return r.Status().Root.Findings(dataDir) }

// Findings tells what is still open about a root, also of a keyring that is not open, or not made yet.
func (d Description) Findings(dataDir string) []gate.Finding {
	var open []gate.Finding
	if d.File != "" && sameDisk(d.File, dataDir) {
		open = append(open, gate.Finding{
			ID:    "key.same_disk",
			What:  fmt.Sprintf("the root key (%s) lies on the same disk as what it protects (%s): whoever takes the disk has both", d.File, dataDir),
			Fix:   "key: {root: tpm}",
			Place: "key.root",
		})
	}
	if info, err := os.Stat(d.File); d.File != "" && err == nil && info.Mode().Perm()&0o077 != 0 {
		open = append(open, gate.Finding{
			ID:    "key.readable",
			What:  fmt.Sprintf("the root key (%s) can be read by others than its owner (%s)", d.File, info.Mode().Perm()),
			Fix:   "chmod 600 " + d.File,
			Place: "key.root",
		})
	}
	if d.Kind == "words" {
		open = append(open, gate.Finding{ID: "key.recovery", What: "the keyring was opened by its recovery words and has no root of today", Fix: "gatehouse key rekey", Place: "key.root"})
	}
	return open
}

// sameDisk compares the devices of two files, or of the nearest folders above them that exist. What cannot be compared
// counts as the same.
func sameDisk(a, b string) bool {
	one, ok1 := device(a)
	two, ok2 := device(b)
	return !ok1 || !ok2 || one == two
}

func device(path string) (uint64, bool) {
	path, err := filepath.Abs(path)
	for err == nil {
		info, err := os.Stat(path)
		if err == nil {
			stat, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return 0, false
			}
			return uint64(stat.Dev), true //nolint:unconvert // int32 on darwin
		}
		if path == filepath.Dir(path) {
			return 0, false
		}
		path = filepath.Dir(path)
	}
	return 0, false
}
