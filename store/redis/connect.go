package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// clientOptions are what the library is told.
func clientOptions(o Options) (valkey.ClientOption, error) {
	cfg := o.Config
	where, err := store.ParseRedis(cfg.URL)
	if err != nil {
		return valkey.ClientOption{}, err
	}
	d := dialer{opts: o, user: where.User, secure: where.TLS, servers: &tls.Config{MinVersion: tls.VersionTLS12}, sentinels: &tls.Config{MinVersion: tls.VersionTLS12}}
	c := valkey.ClientOption{
		SelectDB: where.Database, ClientName: "gatehouse", ClientSetInfo: []string{}, DisableCache: true,
		TLSConfig: d.servers, DialCtxFn: d.dial, AuthCredentialsFn: d.credentials,
		Dialer:           net.Dialer{Timeout: cfg.Timeouts.Connect, KeepAlive: time.Second},
		ConnWriteTimeout: cfg.Timeouts.Call, // of a connection that no longer answers
		RetryDelay: func(attempts int, _ valkey.Completed, _ error) time.Duration {
			return min(time.Duration(attempts)*5*time.Millisecond, 100*time.Millisecond)
		},
		BlockingPoolSize: 64, ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10, PipelineMultiplex: 1, RingScaleEachConn: 10,
	}
	switch {
	case cfg.Sentinel.Master != "":
		c.InitAddress = cfg.Sentinel.Addresses
		c.Sentinel = valkey.SentinelOption{MasterSet: cfg.Sentinel.Master, Dialer: c.Dialer, TLSConfig: d.sentinels, ClientName: c.ClientName, TopologyRefreshInterval: 5 * time.Second}
	case len(cfg.Cluster) > 0:
		c.InitAddress = cfg.Cluster
		c.ClusterOption = valkey.ClusterOption{ShardsRefreshInterval: 5 * time.Second, MaxMovedRedirections: 8}
	default:
		c.InitAddress = []string{where.Server}
		c.ForceSingleClient = true
	}
	return c, nil
}

// given looks once, before anything is served, whether the files and secrets that are named can be used: a server that is away
// comes back, a name with a slip in it does not (rows I5, I6).
func given(o Options) error {
	cfg := o.Config
	if where, err := store.ParseRedis(cfg.URL); err != nil || where.TLS {
		if err == nil {
			_, err = cfg.Client("server", cfg.Insecure.Accepted(o.Now()), o.Resolve)
		}
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
	}
	for _, ref := range []secret.Ref{cfg.Password, cfg.Sentinel.Password} {
		if ref.IsZero() {
			continue
		}
		if _, err := o.Resolve(ref); err != nil {
			return fmt.Errorf("redis: password: %w", err)
		}
	}
	return nil
}

// dialer opens connections, each by the certificates and passwords of its moment.
type dialer struct {
	opts      Options
	user      string
	secure    bool
	servers   *tls.Config // stands for a server in what the library asks, and configures nothing
	sentinels *tls.Config // stands for a sentinel
}

// sentinel is a connection to a sentinel, which has other credentials than the servers.
type sentinel struct{ net.Conn }

// RemoteAddr is how credentials knows it again.
func (s sentinel) RemoteAddr() net.Addr { return sentinelAddress{s.Conn.RemoteAddr()} }

type sentinelAddress struct{ net.Addr }

func (d dialer) dial(ctx context.Context, address string, n *net.Dialer, whom *tls.Config) (net.Conn, error) {
	conn, err := d.open(ctx, address, n)
	if err != nil {
		return nil, err
	}
	if whom == d.sentinels {
		return sentinel{conn}, nil
	}
	return conn, nil
}

func (d dialer) open(ctx context.Context, address string, n *net.Dialer) (net.Conn, error) {
	if !d.secure {
		return n.DialContext(ctx, "tcp", address)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c, err := d.opts.Config.Client(host, d.opts.Config.Insecure.Accepted(d.opts.Now()), d.opts.Resolve)
	if err != nil {
		return nil, ours{err}
	}
	return (&tls.Dialer{NetDialer: n, Config: c}).DialContext(ctx, "tcp", address)
}

// credentials are the user and the password of the moment.
func (d dialer) credentials(c valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
	user, ref := d.user, d.opts.Config.Password
	if _, ok := c.Address.(sentinelAddress); ok {
		user, ref = d.opts.Config.Sentinel.User, d.opts.Config.Sentinel.Password
	}
	if ref.IsZero() {
		return valkey.AuthCredentials{Username: user}, nil
	}
	password, err := d.opts.Resolve(ref)
	if err != nil {
		return valkey.AuthCredentials{}, ours{err}
	}
	return valkey.AuthCredentials{Username: user, Password: string(password.Reveal())}, nil
}
