package listen

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"github.com/gatehouse-sec/gatehouse/kit/conn"
	"github.com/gatehouse-sec/gatehouse/listen/devca"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Deps is what a Server needs from outside. Handler and Now must be given; the rest has a default.
type Deps struct {
	Handler     http.Handler     // serves every request; asks conn.From for what the socket knows
	Now         func() time.Time // for certificates and heads; socket deadlines follow the system's clock
	Rand        io.Reader        // for the development CA. Default: crypto/rand
	Log         *slog.Logger     // Default: nothing is logged
	Report      func(Incident)   // called for every incident, from many goroutines; must not wait. Default: forgotten
	Resolve     Resolve          // gives the present value of a key. Default: Ref.Resolve
	StateDir    string           // private directory for the development CA and ACME
	Development bool             // loopback may be served with the development CA's certificate
	Poll        time.Duration    // how often certificate files are looked at. Default 2s
}

// Resolve gives the present value of a secret.
type Resolve func(secret.Ref) (secret.Value, error)

// Server listens. Make it with New, then Start, Serve, and at the end Drain or Close.
type Server struct {
	deps     Deps
	census   *census
	ids      atomic.Uint64
	settings atomic.Pointer[settings]
	ctx      context.Context // ends when the server has
	end      context.CancelFunc

	accepting sync.WaitGroup // accept loops
	admitting sync.WaitGroup // connections before their first request

	control controls
}

// controls is what only Start, Serve, Drain, Reload and the watch of files touch, under its lock.
type controls struct {
	sync.Mutex
	doors   map[string]*door
	retired []*engine
	started bool
	serving bool
	ended   bool // no reload any more
	closed  bool
}

// settings is everything that a new connection is judged by: made by one document, never changed.
type settings struct {
	config   Config
	trusted  *bart.Lite
	total    int
	tls      *tls.Config // nil without an https address
	certs    shelf
	callers  *callers    // nil: no client is asked for a certificate
	acme     *acmeSource // nil without ACME; the last of certs
	stamps   []stamp
	port     int // of the first https address, as the system gave it; 0 before it is bound
	engine   *engine
	redirect *engine // nil without a redirect address
}

func (s *settings) isProxy(a netip.Addr) bool { return s.trusted.Contains(a.Unmap()) }

// New checks the section and loads its certificates. It opens no socket and starts nothing. The error is a mistake.List.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Handler == nil || deps.Now == nil {
		return nil, errors.New("listen needs a handler and a clock")
	}
	if deps.Rand == nil {
		deps.Rand = rand.Reader
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Resolve == nil {
		deps.Resolve = secret.Ref.Resolve
	}
	if deps.Report == nil {
		deps.Report = func(Incident) {}
	}
	if deps.Poll <= 0 {
		deps.Poll = 2 * time.Second
	}
	s := &Server{deps: deps, census: newCensus()}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.control.doors = map[string]*door{}
	set, err := s.prepare(cfg)
	if err != nil {
		return nil, err
	}
	s.settings.Store(set)
	return s, nil
}

// prepare makes the settings of a document as far as that is possible without engines, sockets and ACME.
func (s *Server) prepare(cfg Config) (*settings, error) {
	cfg = cfg.withDefaults()
	list := cfg.check(s.deps)
	set := &settings{config: cfg, trusted: new(bart.Lite), total: ceiling(), stamps: cfg.stamps(s.deps.Resolve)}
	if cfg.Limits.Total > set.total {
		list.Add("limits.total", "", "%d is more than this process can hold: it may open %d files more than twice over, so at most %d connections; raise the limit of open files (ulimit -n)", cfg.Limits.Total, set.total, set.total)
	} else if cfg.Limits.Total > 0 {
		set.total = cfg.Limits.Total
	}
	for _, p := range cfg.TrustedProxies {
		if p.IsValid() {
			set.trusted.Insert(p)
		}
	}
	if len(cfg.Certificates) > 0 {
		loaded, mistakes := loadFiles(cfg.Certificates, s.deps.Resolve)
		list = append(list, mistakes...)
		set.certs = shelf{loaded}
	}
	who, mistakes := cfg.ClientCertificates.load()
	list = append(list, mistakes...)
	set.callers = who
	if len(cfg.Certificates) == 0 && cfg.ACME == nil && cfg.secure() && s.deps.Development && len(list) == 0 {
		ca, err := devca.Open(s.deps.StateDir, s.deps.Now, s.deps.Rand)
		list.Under("certificates", err)
		set.certs = shelf{development{ca}}
	}
	return set, list.Err()
}

func (s *Server) isProxy(a netip.Addr) bool { return s.settings.Load().isProxy(a) }

func (s *Server) report(i Incident) {
	i.Time = s.deps.Now()
	s.deps.Report(i)
}

// Info tells what the socket knows about the connection of a request. It is conn.From.
func Info(ctx context.Context) (*conn.Conn, bool) { return conn.From(ctx) }

// Certificates lists every certificate that clients can be shown.
func (s *Server) Certificates() []CertInfo {
	return s.settings.Load().certs.inventory()
}

// Connections is how many clients are connected now.
func (s *Server) Connections() int { return s.census.total() }
