package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/program"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// redis starts a Redis with TLS that keeps nothing on disk.
func (f *field) redis() (*process, string, error) {
	address := loopback.Address()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	crt, key := filepath.Join(f.dir, "tls.crt"), filepath.Join(f.dir, "tls.key")
	p, err := start(address, nil, "redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", port, "--tls-auth-clients", "no", "--tls-ca-cert-file", crt,
		"--tls-cert-file", crt, "--tls-key-file", key, "--save", "", "--appendonly", "no", "--dir", f.dir)
	return p, address, err
}

// database is a PostgreSQL on a unix socket, in a folder of its own account.
type database struct {
	*process
	folder string
	port   string
	as     *syscall.Credential // nil: as this process
}

// postgres starts one with its usual settings, fsync included.
func (f *field) postgres() (*database, error) {
	folder, err := os.MkdirTemp("/tmp", "gatehouse-bench-pg-") // short: the path of a socket has 107 bytes at most
	if err != nil {
		return nil, err
	}
	d := &database{folder: folder}
	if err := d.begin(); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *database) begin() error {
	if err := d.account(); err != nil {
		return err
	}
	if err := d.command("initdb", "-D", d.folder+"/data", "-U", "gatehouse", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust").run(); err != nil {
		return err
	}
	address := loopback.Address()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	d.port = port
	d.process = d.command("postgres", "-D", d.folder+"/data", "-p", port, "-k", d.folder, "-h", "127.0.0.1")
	if err := d.Cmd.Start(); err != nil {
		return err
	}
	if err := d.Await(address); err != nil {
		return err
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ready := d.command("psql", "-h", d.folder, "-p", port, "-U", "gatehouse", "-c", "SELECT 1", "postgres").run()
		if ready == nil || time.Now().After(end) {
			return ready
		}
	}
}

// account gives the folder to a user as whom the server runs, since it refuses to be root.
func (d *database) account() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return errors.New("PostgreSQL does not run as root, and there is no user postgres; apt-get install postgresql")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	d.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(d.folder, int(uid), int(gid))
}

// command is one of PostgreSQL's programs, which are seldom on the path.
func (d *database) command(name string, args ...string) *process {
	if _, err := exec.LookPath(name); err != nil {
		if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
			name = found[len(found)-1]
		}
	}
	p := &process{program.Command([]string{"LC_ALL=C"}, name, args...)}
	p.Cmd.Dir = d.folder
	p.Cmd.SysProcAttr.Credential = d.as
	return p
}

// url is the store's.
func (d *database) url() string {
	return fmt.Sprintf("postgres://gatehouse@/postgres?host=%s&port=%s", d.folder, d.port)
}

// stop ends the server, whose children are in groups of their own and end with it, and removes its folder.
func (d *database) stop() {
	if d.process != nil && d.Cmd.Process != nil {
		d.Signal(syscall.SIGCONT)
		_ = d.Cmd.Process.Signal(syscall.SIGQUIT)
		_ = d.Cmd.Wait()
	}
	_ = os.RemoveAll(d.folder)
}
