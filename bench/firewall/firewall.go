// Package firewall starts the web application firewalls that the benchmarks compare, each with and without its rules, all in
// front of one server: Gatehouse, a bare ReverseProxy with Coraza, Caddy with Coraza, nginx with ModSecurity. Their rules are
// one Core Rule Set at paranoia 1, blocking, request bodies inspected, answers and audit logs off. All of it listens on
// 127.0.0.1 only and ends with the benchmark.
package firewall

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/program"
)

// Server is a running program that answers requests.
type Server struct {
	*program.Program
	Address string // host:port
	Admin   string // host:port of its metrics, "" when it has none

	again func() (*program.Program, error)
}

// Restart ends a server that is lost in a request and starts it again at its address.
func (s *Server) Restart() error {
	s.Stop()
	p, err := s.again()
	if err == nil {
		s.Program = p
	}
	return err
}

// Rival is one product, with its rules and without: the difference is what its rules cost.
type Rival struct {
	Name          string // such as gatehouse or coraza
	With, Without *Server
}

// Field is where the rivals meet: one server behind all of them.
type Field struct {
	dir, binaries string
	behind        *Server
	guarded       sync.Mutex
	running       []*Server
	names         int
}

// New starts the server behind: nginx, which answers 1 KiB of JSON from memory. Binaries is the folder with gatehouse,
// corazaproxy and caddywaf.
func New(binaries string) (*Field, error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-waf-")
	if err != nil {
		return nil, err
	}
	f := &Field{dir: dir, binaries: binaries}
	f.behind, err = f.nginx("behind", "", `server { listen ADDRESS; keepalive_requests 100000000; client_max_body_size 8m; client_body_buffer_size 2m;
		location / { default_type application/json; return 200 '{"answer":"`+strings.Repeat("x", 1010)+`"}'; } }`)
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close ends everything that was started.
func (f *Field) Close() {
	for _, s := range f.running {
		s.Stop()
	}
	_ = os.RemoveAll(f.dir)
}

// Rivals starts all that can be had, Gatehouse once for each mode, and says which can't and why. Gatehouse and the bare
// proxy with Coraza must be there. Without its rules, Gatehouse has the first mode's contract.
func (f *Field) Rivals(modes []Mode) (list []Rival, missing []string, err error) {
	apis, err := f.api(modes[0])
	if err != nil {
		return nil, nil, err
	}
	bare, err := f.Gatehouse(apis, Off)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range modes {
		if apis, err = f.api(m); err != nil {
			return nil, nil, err
		}
		with, err := f.Gatehouse(apis, m)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, Rival{m.Name, with, bare})
	}
	plain, err := f.coraza("")
	if err != nil {
		return nil, nil, err
	}
	for _, one := range []struct{ name, directives string }{{Coraza, directives}, {Coraza + ", SecRxPreFilter", "SecRxPreFilter On\n" + directives}} {
		with, err := f.coraza(one.directives)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, Rival{one.name, with, plain})
	}
	for _, one := range []struct {
		name  string
		start func(waf bool) (*Server, error)
	}{{"caddy+coraza", f.caddy}, {"nginx+modsecurity", f.modsecurity}} {
		with, err := one.start(true)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s is left out: %v", one.name, err))
			continue
		}
		without, err := one.start(false)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, Rival{one.name, with, without})
	}
	return list, missing, nil
}

// Settled sends a request now and then until a server is quiet: what it compiles in the background after its start, or after
// the first request that its rules see, is no part of a request's cost.
func (s *Server) Settled(request []byte) error {
	c := s.Conn()
	defer c.Close()
	before, err := s.Fine()
	quiet := 0
	for end := time.Now().Add(30 * time.Second); err == nil && quiet < 3 && time.Now().Before(end); {
		if _, err = c.Send(request); err != nil && !errors.Is(err, ErrLost) { // the first may wait until the rules are compiled
			return err
		}
		time.Sleep(200 * time.Millisecond)
		var now time.Duration
		now, err = s.Fine()
		if quiet++; now-before > 20*time.Millisecond {
			quiet = 0
		}
		before = now
	}
	return err
}

// Coraza is the name of the rival that the others are told as multiples of.
const Coraza = "coraza"

// launch starts a program; the words ADDRESS and PORT in its arguments and its file stand for where it shall listen.
func (f *Field) launch(file, text string, name string, args ...string) (*Server, error) {
	address, err := program.Free()
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(name); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	place := strings.NewReplacer("ADDRESS", address, "PORT", port)
	if file != "" {
		if err := f.write(file, place.Replace(text)); err != nil {
			return nil, err
		}
	}
	for i := range args {
		args[i] = place.Replace(args[i])
	}
	home := f.path(f.fresh("home"))
	s := &Server{Address: address, again: func() (*program.Program, error) {
		return program.Start(address, []string{"XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home + "/config"}, name, args...)
	}}
	if s.Program, err = s.again(); err != nil {
		return nil, err
	}
	f.guarded.Lock()
	defer f.guarded.Unlock()
	f.running = append(f.running, s)
	return s, nil
}

func (f *Field) path(name string) string { return filepath.Join(f.dir, name) }

func (f *Field) write(name, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(f.path(name)), 0o755), os.WriteFile(f.path(name), []byte(text), 0o644))
}

// fresh gives a file name that wasn't used yet.
func (f *Field) fresh(name string) string {
	f.guarded.Lock()
	defer f.guarded.Unlock()
	f.names++
	return fmt.Sprintf("%d-%s", f.names, name)
}
