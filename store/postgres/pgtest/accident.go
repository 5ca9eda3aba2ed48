package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pid is the server's main process, 0 when it doesn't run.
func (s *Server) pid() int {
	text, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || pid < 2 || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// quit ends the watcher, after the server or with it.
func (s *Server) quit() {
	if s.process == nil {
		return
	}
	if pid := s.pid(); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
	_, _ = s.watch.Write([]byte("end\n"))
	_ = s.watch.Close()
	_ = s.process.Wait()
	s.process = nil
}

// Remove ends the server and removes everything that it had.
func (s *Server) Remove() {
	s.quit()
	_ = os.RemoveAll(s.folder)
}

// Stop ends the server as an operator does: sessions are cut, everything is written.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	pid := s.pid()
	if pid == 0 {
		t.Fatal("the server doesn't run")
	}
	_ = syscall.Kill(pid, syscall.SIGINT)
	s.gone(t)
}

// Kill is kill -9 of all processes of the server at once.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	pid := s.pid()
	if pid == 0 {
		t.Fatal("the server doesn't run")
	}
	all := append([]int{pid}, children(pid)...)
	for _, p := range all {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
	s.gone(t)
}

// gone waits for the watcher, which waits for the server.
func (s *Server) gone(t testing.TB) {
	t.Helper()
	_, _ = s.watch.Write([]byte("end\n"))
	_ = s.watch.Close()
	if err := s.process.Wait(); err != nil && s.pid() != 0 {
		t.Fatal(err)
	}
	s.process = nil
}

// children are the processes that one started, as Linux tells them; elsewhere none, and they end by themselves.
func children(parent int) []int {
	var list []int
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		_, rest, ok := strings.Cut(string(text), ") ") // pid (name) state parent ...
		words := strings.Fields(rest)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); ok && err == nil && len(words) > 1 && words[1] == strconv.Itoa(parent) {
			list = append(list, pid)
		}
	}
	return list
}

// Restart starts a server that was stopped or killed, at the same port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops all processes of the server where they are, as a machine that hangs: connections stay, nothing answers.
// The function that it gives lets them go on.
func (s *Server) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	pid := s.pid()
	all := append([]int{pid}, children(pid)...)
	signal := func(sig syscall.Signal) {
		for _, p := range all {
			_ = syscall.Kill(p, sig)
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	return func() { signal(syscall.SIGCONT) }
}

// Replica copies the server while it runs and starts a streaming replica of it. Its name for synchronous_standby_names is
// replica. It trusts the same authority.
func (s *Server) Replica(t testing.TB) *Server {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "pg")
	if err != nil {
		t.Fatal(err)
	}
	r := &Server{folder: folder, data: filepath.Join(folder, "data"), log: filepath.Join(folder, "log"), settings: s.settings, account: s.account, authority: s.authority, databases: s.databases}
	t.Cleanup(r.Remove)
	if err := r.chown(folder); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Command("pg_basebackup", "-D", r.data, "-X", "stream", "-R", "--checkpoint=fast", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	r.settings = append(r.settings[:len(r.settings):len(r.settings)], fmt.Sprintf("primary_conninfo=host=%s port=%d user=postgres application_name=replica", s.folder, s.port))
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	return r
}

// Synchronous makes every commit wait until the replica has it on its disk. An empty name makes commits wait for nobody.
func (s *Server) Synchronous(t testing.TB, name string) {
	t.Helper()
	s.Exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = '`+name+`'`, `SELECT pg_reload_conf()`)
	if name == "" {
		return
	}
	c := s.Connect(t, "postgres")
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var state string
		_ = c.QueryRow(context.Background(), `SELECT sync_state FROM pg_stat_replication WHERE application_name = $1`, name).Scan(&state)
		if state == "sync" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica is %q, not synchronous", state)
		}
	}
}

// Promote makes a replica take writes.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	var ok bool
	if err := s.Connect(t, "postgres").QueryRow(context.Background(), `SELECT pg_promote(true, 30)`).Scan(&ok); err != nil || !ok {
		t.Fatalf("promote: %v %v\n%s", ok, err, s.Log())
	}
}
