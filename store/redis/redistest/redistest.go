// Package redistest starts real Redis servers for tests: one alone, with or without TLS and a user with few rights, a master
// with its replica and Sentinels, or a cluster of three. They listen on loopback, keep nothing on disk, and end with the test
// that started them. A test can kill a server, stop its clock, and start it again: that is what the tests are about.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// Options say how a server is started. The zero value is a server without password and without TLS.
type Options struct {
	TLS      bool     // only TLS, with a certificate for 127.0.0.1 that Server.CA signed
	User     string   // an ACL user beside the default one, which is then switched off
	Password string   // of User, or of the default user when there is no other
	Rights   []string // of User, such as "~gatehouse:*", "+get"; none: everything
	Extra    []string // more arguments of redis-server
}

// Server is a running redis-server.
type Server struct {
	Address string // host:port
	CA      []byte // PEM, when TLS is on
	CAFile  string // the same, as a file

	opts Options
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	said *bytes.Buffer // what it wrote; read it only when it has ended
}

// program finds a tool, or ends the test with the name of the package that brings it.
func program(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; install it: apt-get install -y %s", name, pkg)
	}
	return path
}

// Start runs one server until the test ends, and waits until it answers.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := launch(t, o, loopback.Port(), nil)
	s.wait(t)
	return s
}

// launch starts a server on a port without waiting for it.
func launch(t testing.TB, o Options, port int, extra []string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{Address: "127.0.0.1:" + strconv.Itoa(port), opts: o}
	s.args = []string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, "--protected-mode", "no", "--daemonize", "no"}
	if o.TLS {
		s.CAFile = filepath.Join(dir, "ca.pem")
		s.CA = certificates(t, dir)
		s.args = append(s.args, "--port", "0", "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "no",
			"--tls-ca-cert-file", s.CAFile, "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"))
	} else {
		s.args = append(s.args, "--port", strconv.Itoa(port))
	}
	if o.User != "" {
		rights := o.Rights
		if len(rights) == 0 {
			rights = []string{"~*", "&*", "+@all"}
		}
		list := "user default off\nuser " + o.User + " on >" + o.Password + " " + strings.Join(rights, " ") + "\n"
		acl := filepath.Join(dir, "users.acl")
		if err := os.WriteFile(acl, []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		s.args = append(s.args, "--aclfile", acl)
	}
	if o.User == "" && o.Password != "" {
		s.args = append(s.args, "--requirepass", o.Password, "--masterauth", o.Password)
	}
	s.args = append(append(s.args, o.Extra...), extra...)
	s.run(t)
	t.Cleanup(s.Kill)
	return s
}

func (s *Server) run(t testing.TB) {
	t.Helper()
	cmd := exec.Command(program(t, "redis-server", "redis-server"), s.args...) //nolint:gosec // a test starts what it wrote itself
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	s.mu.Lock()
	s.cmd, s.done, s.said = cmd, done, &out
	s.mu.Unlock()
}

// wait returns once the server accepts connections.
func (s *Server) wait(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if out, err := s.try("ping"); err == nil && out == "PONG" {
			return
		}
		select {
		case <-s.done:
			t.Fatalf("redis-server at %s has ended while it started: %s", s.Address, s.said)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("redis-server at %s does not answer", s.Address)
		}
	}
}

// Kill ends the server at once, as a loss of power does. It may be killed already.
func (s *Server) Kill() {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Kill()
	<-done
}

// Restart starts a killed server again, on the same port, empty.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.run(t)
	s.wait(t)
}

// Pause stops the process: connections stay open and nothing answers, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.cmd.Process.Signal(sig)
}

// PID is the process of the server, for tests that measure what it costs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Do asks the server something with redis-cli and gives its answer, without the last line end. An error of the server is
// part of the answer.
func (s *Server) Do(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.try(args...)
	if err != nil {
		t.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *Server) try(args ...string) (string, error) {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return "", err
	}
	all := []string{"-h", host, "-p", port}
	if s.opts.TLS {
		all = append(all, "--tls", "--cacert", s.CAFile)
	}
	if s.opts.User != "" {
		all = append(all, "--user", s.opts.User)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", append(all, args...)...) //nolint:gosec // as a test asks
	cmd.Env = os.Environ()
	if s.opts.Password != "" {
		cmd.Env = append(cmd.Env, "REDISCLI_AUTH="+s.opts.Password)
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !yes(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(fmt.Errorf("%s: not within 20 s", what))
		}
	}
}

// Kick ends all connections of clients, after which they come with the password given.
func (s *Server) Kick(t testing.TB, password string) {
	t.Helper()
	s.opts.Password = password
	s.Do(t, "client", "kill", "type", "normal", "skipme", "yes")
}
