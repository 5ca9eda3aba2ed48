package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-sec/gatehouse/store"
)

// server is where PostgreSQL is and how it is spoken to.
type server struct {
	url     store.Postgres
	options Options
	base    *pgxpool.Config // never changed; pool and single give copies
}

// neutral is a connection string that names everything which the library would otherwise take from the environment
// (PGHOST, PGPASSWORD, PGSSLMODE, ...) or the home directory (.pgpass, .pg_service.conf, .postgresql). All of it is replaced.
// A host that is a socket keeps the library from reading certificates, a password that is there from reading .pgpass.
const neutral = "host=/nowhere port=5432 user=nobody dbname=nothing password=none passfile='' connect_timeout=5 sslmode=disable " +
	"sslcert='' sslkey='' sslrootcert='' sslpassword='' sslcertmode=allow sslnegotiation=postgres sslsni=1 target_session_attrs=any " +
	"min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer require_auth=''"

func newServer(o Options) (server, error) {
	url, err := store.ParsePostgres(o.Config.URL)
	if err != nil {
		return server{}, err
	}
	if url.User == "" {
		u, err := user.Current()
		if err != nil {
			return server{}, errors.New("store: the URL names no user, and the name under which this process runs is not known; write postgres://user@/db?host=...")
		}
		url.User = u.Username
	}
	// A service named in the environment is the one thing that no connection string can override: the library reads it or
	// fails. It has no business in this process.
	if err := os.Unsetenv("PGSERVICE"); err != nil {
		return server{}, err
	}
	base, err := pgxpool.ParseConfig(neutral)
	if err != nil {
		return server{}, errors.New("store: the PostgreSQL library does not start; remove all variables that begin with PG from the environment")
	}
	s := server{url: url, options: o, base: base}
	return s, s.fill(base)
}

func (s server) fill(p *pgxpool.Config) error {
	cfg := s.options.Config
	c := p.ConnConfig
	c.User, c.Password, c.Database, c.TLSConfig, c.Fallbacks = s.url.User, "", s.url.Database, nil, nil
	c.ConnectTimeout = cfg.Timeouts.Connect
	c.DialFunc = s.options.Dial
	c.LookupFunc = net.DefaultResolver.LookupHost
	c.MaxProtocolMessageBodyLen = 4 * store.MaxValue
	c.RuntimeParams = s.parameters(cfg.Timeouts.Call)
	c.ValidateConnect = validate(c.RuntimeParams)
	c.OnNotice = notice
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if !s.url.Socket() && !s.url.Verified() {
		c.RequireAuth = "scram-sha-256,none" // nobody on the way learns a password from which it could be guessed or read
	}
	for i, address := range s.url.Servers {
		host, port, err := cutAddress(address)
		if err != nil {
			return err
		}
		if i == 0 {
			c.Host, c.Port = host, port
		} else {
			c.Fallbacks = append(c.Fallbacks, &pgconn.FallbackConfig{Host: host, Port: port})
		}
	}
	p.BeforeConnect = s.renew
	p.MaxConns, p.MinConns, p.MinIdleConns = int32(min(cfg.MaxConnections, math.MaxInt32)), 0, 0
	p.MaxConnIdleTime = cfg.Timeouts.Idle
	p.MaxConnLifetime, p.MaxConnLifetimeJitter = time.Hour, 10*time.Minute
	p.HealthCheckPeriod = min(30*time.Second, cfg.Timeouts.Idle)
	p.PingTimeout = cfg.Timeouts.Call / 3
	return nil
}

// parameters are settings of each session. The server gives up before this node does, so that a connection is seldom lost
// with an operation.
func (s server) parameters(call time.Duration) map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
	return map[string]string{
		"application_name":                    s.url.Application,
		"search_path":                         s.url.Schema + ", pg_temp", // pg_catalog is always first
		"statement_timeout":                   ms(call * 9 / 10),
		"lock_timeout":                        ms(call * 8 / 10),
		"idle_in_transaction_session_timeout": ms(2 * call),
		"default_transaction_isolation":       "read committed",
		"client_encoding":                     "UTF8",
		"TimeZone":                            "UTC",
		"jit":                                 "off",
	}
}

func cutAddress(address string) (string, uint16, error) {
	at := strings.LastIndexByte(address, ':')
	if at < 0 {
		return "", 0, errors.New("store: a server without port")
	}
	port, err := strconv.ParseUint(address[at+1:], 10, 16)
	return strings.Trim(address[:at], "[]"), uint16(port), err
}

// renew reads password, certificates and keys for one new connection.
func (s server) renew(_ context.Context, c *pgx.ConnConfig) error {
	c.Password = ""
	if s.options.Password != nil {
		password, err := s.options.Password()
		if err != nil {
			return ours{err}
		}
		c.Password = string(password.Reveal())
	}
	if s.url.Socket() || s.url.SSLMode == "disable" {
		return nil
	}
	var err error
	if c.TLSConfig, err = s.options.Config.Client(c.Host, !s.url.Verified(), s.options.Resolve); err != nil {
		return ours{err}
	}
	for _, f := range c.Fallbacks {
		if f.TLSConfig, err = s.options.Config.Client(f.Host, !s.url.Verified(), s.options.Resolve); err != nil {
			return ours{err}
		}
	}
	return nil
}

// pool is the configuration of the pool.
func (s server) pool() *pgxpool.Config { return s.base.Copy() }

// single is the configuration of one connection that works longer than an operation may: for migrations.
func (s server) single(ctx context.Context, statement time.Duration) (*pgx.ConnConfig, error) {
	c := s.base.ConnConfig.Copy()
	c.RuntimeParams = s.parameters(statement)
	c.RuntimeParams["lock_timeout"] = "10000" // a migration does not stand in a queue in front of everybody else
	c.ValidateConnect = validate(c.RuntimeParams)
	return c, s.renew(ctx, c)
}

// validate refuses a server that is too old, takes no writes, or sits behind a pooler which dropped our settings. What
// commits wait for may be more than the disk of this server, never less.
func validate(wanted map[string]string) pgconn.ValidateConnectFunc {
	const ask = `SELECT pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('transaction_read_only') = 'on',
		pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('search_path'),
		pg_catalog.set_config('synchronous_commit', CASE pg_catalog.current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)`
	return func(ctx context.Context, c *pgconn.PgConn) error {
		results, err := c.Exec(ctx, ask).ReadAll()
		if err != nil {
			return err
		}
		if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4 {
			return ours{errors.New("what answers there is no PostgreSQL")}
		}
		row := results[0].Rows[0]
		version, err := strconv.Atoi(string(row[1]))
		switch {
		case err != nil || version < 130000:
			return ours{fmt.Errorf("the server is PostgreSQL %d; 13 is the oldest that works", version/10000)}
		case string(row[0]) == "t":
			return ours{errReplica}
		case string(row[2]) != wanted["search_path"]:
			return ours{errors.New("something between here and the server drops settings of the session; connect directly, or through a pooler that keeps search_path and the timeouts")}
		}
		return nil
	}
}

var errReplica = errors.New("the server is a replica or takes no writes; name the primary in the URL, or all servers divided by commas")
