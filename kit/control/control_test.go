package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

type question struct{ Name string }
type answer struct{ Greeting string }

func greetings() *Operations {
	var o Operations
	Handle(&o, "greet", func(_ context.Context, q question, tell Progress) (answer, error) {
		tell(1, 2, "thinking")
		if q.Name == "" {
			return answer{}, errors.New("whom? add --name NAME")
		}
		return answer{"hello " + q.Name}, nil
	})
	Handle(&o, "wait", func(ctx context.Context, _ question, tell Progress) (answer, error) {
		tell(0, 0, "waiting")
		<-ctx.Done()
		return answer{}, ctx.Err()
	})
	return &o
}

func TestAskARunningProcessAndThisOne(t *testing.T) {
	for name, dir := range map[string]string{"short": filepath.Join(t.TempDir(), "c"), "long": filepath.Join(t.TempDir(), strings.Repeat("d", 100), "c")} {
		t.Run(name, func(t *testing.T) {
			var told []string
			s, err := Listen(dir, greetings(), func(name string, uid int, err error) {
				if uid != os.Geteuid() {
					t.Errorf("asked by %d", uid)
				}
				told = append(told, name)
			})
			if err != nil {
				t.Fatal(err)
			}
			peers, err := Find(dir)
			if err != nil || len(peers) != 1 || peers[0].PID != os.Getpid() {
				t.Fatal(peers, err)
			}
			for _, target := range []Target{peers[0], greetings()} {
				var progress []string
				a, err := Ask[answer](t.Context(), target, "greet", question{"ann"}, func(_, _ int64, what string) { progress = append(progress, what) })
				if err != nil || a.Greeting != "hello ann" || len(progress) != 1 {
					t.Error(a, err, progress)
				}
				if _, err := Ask[answer](t.Context(), target, "greet", question{}, nil); err == nil || !strings.Contains(err.Error(), "--name") {
					t.Error(err)
				}
				if _, err := Ask[answer](t.Context(), target, "none", question{}, nil); err == nil || !strings.Contains(err.Error(), "another version") {
					t.Error(err)
				}
				if _, err := Ask[answer](t.Context(), target, "greet", map[string]string{"Nmae": "ann"}, nil); err == nil || !strings.Contains(err.Error(), "not understood") {
					t.Error(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if peers, err := Find(dir); err != nil || len(peers) != 0 {
				t.Error(peers, err)
			}
			if strings.Join(told, " ") != "greet greet none greet" {
				t.Error(told)
			}
		})
	}
}

// An asker who goes away ends what was asked for.
func TestAnAskerWhoGoesAway(t *testing.T) {
	ended := make(chan error, 1)
	dir := filepath.Join(t.TempDir(), "c")
	s, err := Listen(dir, greetings(), func(_ string, _ int, err error) { ended <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	peers, _ := Find(dir)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Ask[answer](ctx, peers[0], "wait", question{}, func(int64, int64, string) { cancel() })
	if err == nil {
		t.Fatal("answered")
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("goes on")
	}
}

// Neither the folder nor the socket is for others, and a folder that is, is refused.
func TestNobodyElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	s, err := Listen(dir, greetings(), func(string, int, error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, path := range []string{dir, s.path} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Error(path, info.Mode(), err)
		}
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(open, greetings(), nil); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Error(err)
	}
	if os.Geteuid() == 0 { // another user who could reach the socket is turned away all the same
		for _, path := range []string{filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir), dir} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(s.path, 0o666); err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(filepath.Dir(dir), "test")
		data, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(binary, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		child := exec.Command(binary, "-test.run", "^TestStranger$", "-test.v")
		child.Env = append(os.Environ(), "CONTROL_SOCKET="+s.path)
		child.Dir = "/"
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "403") {
			t.Errorf("%v %s", err, out)
		}
	}
}

// TestStranger is what the other user runs.
func TestStranger(t *testing.T) {
	path := os.Getenv("CONTROL_SOCKET")
	if path == "" {
		return
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Post("http://control/greet", "application/json", strings.NewReader(`{"Name":"eve"}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	t.Log(response.StatusCode)
}

// The socket of a process that was killed is no gateway, and is forgotten.
func TestADeadSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "4711"+suffix)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if peers, err := Find(dir); err != nil || len(peers) != 0 {
		t.Error(peers, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("it stays", err)
	}
}
