package adversary

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binary is the program under test, built once.
var binary string

// shared is the gateway that most rows are brought against.
var shared *gateway

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if len(os.Args) > 1 && os.Args[len(os.Args)-1] == "-test.list" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := lookAtSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "gatehouse")
	build := exec.Command("go", "build", "-o", binary, "../cmd/gatehouse")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program under test:", err)
		return 1
	}
	shared, err = startGateway(filepath.Join(dir, "shared"), sharedDocument, sharedFiles())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.stop()
	return m.Run()
}

// lookAtSources looks at every source file of the program, so that go test does not take an earlier result for one about
// this program: it knows which files a test looks at, but not what a test builds.
func lookAtSources() error {
	return filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") && d.Name() != "go.sum" {
			return err
		}
		_, err = os.Stat(name)
		return err
	})
}

// canary is a secret that must turn up nowhere.
const canary = "canary-7f3c9e51-never-shown"
