package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// TestMain makes this test binary the program, for scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatehouse": main})
}

// TestScripts runs what an operator types and compares what comes back: testdata/script/*.txtar. Each script has a home and
// two free ports of its own ($PORT, $ADMIN). Besides testscript's own commands there are
//
//	ready URL [STATUS]   waits until the URL answers 200, or the status
//	agree N COMMAND...   runs N processes at once; all must succeed and print the same (up to the first dot: the head of a token)
//	narrow FILE          no line of the file is longer than 120 characters
//	corerules FOLDER     writes the core rule set of this program into a new folder; with "earlier", release 4.0.0-rc2
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			shop, err := filepath.Abs("../../examples/shop")
			if err != nil {
				return err
			}
			e.Setenv("SHOP", shop)
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("NO_COLOR", "1")
			e.Setenv("PORT", strconv.Itoa(loopback.Port()))
			e.Setenv("ADMIN", strconv.Itoa(loopback.Port()))
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": ready, "agree": agree, "narrow": narrow, "corerules": coreRules},
	})
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: ready URL [STATUS]")
	}
	status := "200"
	if len(args) == 2 {
		status = args[1]
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
		ts.Check(err)
		response, err := http.DefaultClient.Do(request)
		cancel()
		if err == nil {
			_ = response.Body.Close()
			if strconv.Itoa(response.StatusCode) == status {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s does not become ready", args[0])
}

func agree(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	if neg || err != nil || len(args) < 2 {
		ts.Fatalf("usage: agree N COMMAND...")
	}
	program := ""
	for _, folder := range filepath.SplitList(ts.Getenv("PATH")) {
		if file := filepath.Join(folder, args[1]); program == "" {
			if _, err := os.Stat(file); err == nil {
				program = file
			}
		}
	}
	outputs, problems := make([]string, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c := exec.Command(program, args[2:]...)
			c.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH")}
			out, err := c.Output()
			outputs[i], _, _ = strings.Cut(string(out), ".")
			problems[i] = err
		})
	}
	wg.Wait()
	for i := range n {
		ts.Check(problems[i])
		if outputs[i] == "" || outputs[i] != outputs[0] {
			ts.Fatalf("process %d printed\n%s\nand process 0\n%s", i, outputs[i], outputs[0])
		}
	}
}

func narrow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: narrow FILE")
	}
	for i, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if n := len([]rune(line)); n > page {
			ts.Fatalf("line %d has %d characters: %s", i+1, n, line)
		}
	}
}
