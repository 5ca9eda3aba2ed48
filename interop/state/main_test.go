//go:build linux

package state

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// TestMain builds the program and starts one PostgreSQL for all tests that don't harm it.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gatehouse-state")
		if err == nil {
			defer os.RemoveAll(dir)
			err = os.Setenv("GATEHOUSE_PROGRAMS", dir)
		}
		if err == nil {
			err = os.Chmod(dir, 0o755) // one test starts the program as another user
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		build := exec.Command("go", "build", "-tags", "no_fs_access", "-o", dir+"/", "../../cmd/gatehouse")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		flag.Parse()
		if err := flag.Set("test.parallel", "4"); err != nil { // most of the time they wait
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func program() string { return filepath.Join(os.Getenv("GATEHOUSE_PROGRAMS"), "gatehouse") }

// soak tells that long campaigns are wanted.
func soak() bool { return os.Getenv("GATEHOUSE_SOAK") != "" }

// database makes an empty database with the rights that the manual asks for.
func database(t *testing.T, s *pgtest.Server) (url, ca string) {
	t.Helper()
	c := s.Database(t)
	return c.URL, s.CA()
}
