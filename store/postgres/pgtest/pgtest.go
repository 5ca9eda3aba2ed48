// Package pgtest runs real PostgreSQL servers for tests: with TLS, roles and client certificates as an operator would set
// them up, and with the accidents that an operator fears: stopped, killed, started again, copied to a replica and replaced
// by it. A server lives in a folder of its own, listens on loopback and a unix socket, and ends with the process that
// started it, however that ends. PostgreSQL refuses to run as root: then it runs as the user postgres.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// Role is the role that owns the schema of every Database; it has no other right. Password is its password.
const (
	Role     = "gatehouse"
	Password = "canary-pg-5e1d0b7c" //nolint:gosec // of servers that only tests reach
)

// Server is one running PostgreSQL.
type Server struct {
	folder   string // of everything; data below it
	data     string
	port     int
	settings []string
	account  *syscall.SysProcAttr // nil: as this process
	authority
	watch     io.WriteCloser // closed: the server ends
	process   *exec.Cmd
	databases *atomic.Int64
	log       string
}

// Setting is a line of postgresql.conf, as "fsync=on". Without one the server runs with fsync=off, which loses nothing
// when processes die, only when power does.
type Setting string

// Start runs a server for one test. A missing program fails the test and names the package that has it.
func Start(t testing.TB, settings ...Setting) *Server {
	t.Helper()
	s, err := New(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	return s
}

// New runs a server until Remove, or until this process ends: for TestMain.
func New(settings ...Setting) (*Server, error) {
	folder, err := os.MkdirTemp("/tmp", "pg") // short: the path of a socket has 107 bytes at most
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, data: filepath.Join(folder, "data"), log: filepath.Join(folder, "log"), databases: new(atomic.Int64)}
	s.settings = []string{"fsync=off", "max_connections=60", "shared_buffers=16MB", "wal_level=replica", "max_wal_senders=4", "hot_standby=on", "timezone=UTC", "lc_messages=C",
		"wal_sender_timeout=5s", "wal_receiver_timeout=5s", "max_wal_size=512MB", "unix_socket_permissions=0777"}
	for _, line := range settings {
		s.settings = append(s.settings, string(line))
	}
	err = s.begin()
	if err != nil {
		s.Remove()
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	return s, nil
}

func (s *Server) begin() error {
	if err := s.own(); err != nil {
		return err
	}
	if err := s.certify(s.folder, s.chown); err != nil {
		return err
	}
	if out, err := s.Command("initdb", "-D", s.data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1", "-A", "trust").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := s.write("data/pg_hba.conf", hba); err != nil {
		return err
	}
	if err := s.run(); err != nil {
		return err
	}
	return s.exec("postgres", `CREATE ROLE `+Role+` LOGIN PASSWORD '`+Password+`'`, `CREATE ROLE certified LOGIN`)
}

// hba lets everybody in over the socket, which only tests reach; over the network with a password or, for the role
// certified, with a certificate.
const hba = `local all all trust
local replication all trust
hostssl all certified 127.0.0.1/32 cert
host all all 127.0.0.1/32 scram-sha-256
`

// own gives the folder to the account that the server runs as.
func (s *Server) own() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return errors.New("PostgreSQL does not run as root, and there is no user postgres; apt-get install postgresql-15")
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	s.account = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return s.chown(s.folder)
}

func (s *Server) chown(path string) error {
	if s.account == nil {
		return nil
	}
	return os.Chown(path, int(s.account.Credential.Uid), int(s.account.Credential.Gid))
}

func (s *Server) write(name, text string) error {
	path := filepath.Join(s.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return s.chown(path)
}

// program finds a program of PostgreSQL 15.
func program(name string) string {
	for _, path := range []string{"/usr/lib/postgresql/15/bin/" + name} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return name
}

// Command is a program of PostgreSQL, such as pg_dump, that runs as the server's account and, unless its arguments say
// otherwise, speaks to this server as its superuser.
func (s *Server) Command(name string, args ...string) *exec.Cmd {
	c := exec.Command(program(name), args...) //nolint:gosec // that is what tests ask for
	c.SysProcAttr = s.account
	c.Dir = s.folder
	c.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=" + s.folder, "PGHOST=" + s.folder, "PGUSER=postgres"}
	if s.port != 0 {
		c.Env = append(c.Env, "PGPORT="+strconv.Itoa(s.port))
	}
	return c
}

// watcher runs the server and waits for a line, or for the end of the process that holds the other end: then the server
// ends at once and its folder goes.
const watcher = `folder=$1; shift; "$@" & server=$!
if read line; then wait $server; else kill -QUIT $server; wait $server; rm -rf "$folder"; fi`

// run starts the server on a free port, or on the one that it had.
func (s *Server) run() error {
	var err error
	for range 5 {
		if s.port == 0 {
			s.port = loopback.Port()
		}
		if err = s.launch(); err == nil {
			return nil
		}
		s.quit()
	}
	text, _ := os.ReadFile(s.log)
	return fmt.Errorf("%w; the server's log:\n%s", err, text)
}

func (s *Server) launch() error {
	args := []string{"-c", watcher, "watcher", s.folder, program("postgres"), "-D", s.data, "-p", strconv.Itoa(s.port), "-k", s.folder, "-h", "127.0.0.1"}
	for _, line := range append(s.settings, "ssl=on", "ssl_cert_file="+s.file("server.crt"), "ssl_key_file="+s.file("server.key"), "ssl_ca_file="+s.file("ca.crt")) {
		args = append(args, "-c", line)
	}
	c := s.Command("/bin/sh", args...)
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c.Stdout, c.Stderr = log, log
	if s.watch, err = c.StdinPipe(); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	s.process = c
	return s.ready()
}

// ready waits until the server answers.
func (s *Server) ready() error {
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var c *pgx.Conn
		if c, err = s.connect("postgres"); err == nil {
			return c.Close(context.Background())
		}
		if s.pid() == 0 && time.Until(deadline) < 15*time.Second {
			return fmt.Errorf("the server has not started: %w", err)
		}
	}
	return err
}

func (s *Server) connect(database string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s password=unused", s.folder, s.port, database))
}

func (s *Server) exec(database string, statements ...string) error {
	c, err := s.connect(database)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	for _, sql := range statements {
		if _, err := c.Exec(context.Background(), sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// Connect gives a connection of the superuser.
func (s *Server) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	c, err := s.connect(database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// Exec runs statements as the superuser.
func (s *Server) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	if err := s.exec(database, statements...); err != nil {
		t.Fatal(err)
	}
}

// Address is where the server listens with TLS: 127.0.0.1 and its port.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// Database makes a new database with a schema gatehouse that Role owns, and gives the store section for it: TLS with a
// verified server, and a password from a file.
func (s *Server) Database(t testing.TB) store.Config {
	t.Helper()
	name := s.EmptyDatabase(t)
	s.Exec(t, name, `CREATE SCHEMA gatehouse AUTHORIZATION `+Role)
	return s.Config(t, name)
}

// EmptyDatabase makes a new database in which nothing is, and gives its name. Role may connect.
func (s *Server) EmptyDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("db%d", s.databases.Add(1))
	s.Exec(t, "postgres", `CREATE DATABASE `+name)
	return name
}

// Config is the store section for a database of this server, for Role.
func (s *Server) Config(t testing.TB, database string) store.Config {
	t.Helper()
	return store.Config{URL: "postgres://" + Role + "@" + s.Address() + "/" + database, Password: Secret(t, Password), TLS: store.TLS{CA: s.CA()}}
}

// SocketConfig is the same over the unix socket, where no password is asked for.
func (s *Server) SocketConfig(database, role string) store.Config {
	return store.Config{URL: fmt.Sprintf("postgres://%s@/%s?host=%s&port=%d", role, database, s.folder, s.port)}
}

// Secret writes a secret to a file of its own and refers to it.
func Secret(t testing.TB, value string) secret.Ref {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Reference(t, path)
}

// Reference refers to the secret in a file.
func Reference(t testing.TB, path string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte("file:" + path)); err != nil {
		t.Fatal(err)
	}
	return r
}

// Log is what the server wrote.
func (s *Server) Log() string {
	text, _ := os.ReadFile(s.log)
	return strings.ToValidUTF8(string(text), "?")
}

// PassFile is a file in libpq's form with the password of Role, for programs that run as the server's account.
func (s *Server) PassFile(t testing.TB) string {
	t.Helper()
	if err := s.write("pass", "*:*:*:"+Role+":"+Password+"\n"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(s.folder, "pass")
}
