package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/harden"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// grace is how long requests in progress may take when the process is told to stop.
const grace = 30 * time.Second

func serveCommand(io stdio) *cobra.Command {
	var s service
	c := &cobra.Command{
		Use:   "serve --config PLACE",
		Short: "Serve by a document",
		Long: `Serve by a document.

The document is read again when it, a contract that it names, or a certificate changes, and on SIGHUP. A document with a
mistake changes nothing: the old one stays in force, and the log says why. SIGTERM lets requests in progress end.

The document lies in a file (also a mounted ConfigMap), in a commit of a git repository on this machine, or on a server.
With --signed-by it is taken only with a note of one of the pinned keys, and never an older one than before; see
gatehouse document.`,
		Example: `  gatehouse serve --config gatehouse.yaml
  gatehouse serve --config git:/srv/policy//prod/gatehouse.yaml@main
  gatehouse serve --config https://policy.example.com/gatehouse.yaml --signed-by 'shop-2026+1f2e3d4c+AbC...'
  gatehouse serve --verify --config gatehouse.yaml && echo good
  systemctl reload gatehouse        # or: kill -HUP PID`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if s.only {
				return s.verify(c.Context(), io)
			}
			return s.serve(c.Context(), io)
		},
	}
	f := c.Flags()
	s.flags(f)
	f.BoolVar(&s.only, "verify", false, "look whether keys, store, events, document and certificates are all there and whole; serve nothing, write nothing")
	f.BoolVar(&s.json, "json", false, "with --verify, print JSON")
	return c
}

// flags say where the document is and whose it must be.
func (s *service) flags(f *pflag.FlagSet) {
	f.StringVarP(&s.place, "config", "c", "gatehouse.yaml", "the document: a file, git:REPOSITORY//FILE@REF or https://...")
	f.StringArrayVar(&s.signedBy, "signed-by", nil, "take signed documents only; the key, as gatehouse document keygen printed it; again for more")
	f.StringVar(&s.ca, "document-ca", "", "authorities of the server that holds the document, PEM")
	f.TextVar(&s.token, "document-token", secret.Ref{}, "reference to the bearer token for that server")
}

// service is what gatehouse serve was asked for.
type service struct {
	place    string
	signedBy []string
	ca       string
	token    secret.Ref
	only     bool // look whether everything is there, and serve nothing
	json     bool
}

// source says how the document is read.
func (s service) source(n *node, at places) source.Options {
	o := source.Options{SignedBy: s.signedBy, Floor: source.FloorFile(at.floor()), HTTP: source.HTTP{CA: s.ca}, Keep: at.state, Report: n.documentAway}
	if !s.token.IsZero() {
		o.HTTP.Token = func() ([]byte, error) {
			v, err := n.kept.env.resolve(s.token)
			if err != nil {
				return nil, err
			}
			return v.Reveal(), nil
		}
	}
	return o
}

// serve serves by the document until ctx ends.
func (s service) serve(ctx context.Context, io stdio) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // before anything else: a SIGHUP that nobody waits for ends a process
	defer signal.Stop(hangup)
	hardened := harden.Process()
	boundMemory()
	usual := collectLater()
	rules := waf.Load()
	at, err := findPlaces()
	if err != nil {
		return err
	}
	n := newNode(at.state, logger(io), rules)
	n.kept.env = copyEnvironment()
	if hardened != nil {
		n.log.Warn("others on this machine may look into this process", "error", hardened)
	}
	if n.kept.dev, err = dev.Open(at.state, random()); err != nil {
		return err
	}
	bundle, err := n.open(ctx, s.place, s.source(n, at))
	if err != nil {
		return err
	}
	if err := n.hold(ctx, at, bundle, io.err); err != nil {
		return err
	}
	n.current.source.Share(floor{n.held.durable})
	l, err := n.first(ctx, bundle)
	if err == nil {
		err = at.pin(s.signedBy)
	}
	if err == nil {
		err = scrub(l.document, s.token)
	}
	if err != nil {
		return errors.Join(err, n.release())
	}
	if err := n.start(l, l.development()); err != nil {
		return err
	}
	usual()
	go n.watch(ctx, s.place, hangup)
	n.log.Info("serving", "document", s.place, "policy", l.gateway.Version(), "addresses", n.server.Addresses())
	return n.live(ctx)
}

// development tells that the development CA may vouch for the addresses: some API accepts the development issuer, and
// nobody beyond this machine can connect.
func (l *loaded) development() bool {
	for _, a := range l.listen.At {
		if !a.Loopback() {
			return false
		}
	}
	if l.gateway == nil { // a mistake elsewhere: what is meant counts, or a certificate would be missed that none is missing
		return slices.ContainsFunc(acceptedRisks(l.document), func(a accepted) bool { return a.key() == "development" })
	}
	return l.gateway.Development()
}

// live serves until ctx ends, and tells the service manager, if there is one.
func (n *node) live(ctx context.Context) error {
	go debug.FreeOSMemory() // compiling the rules leaves garbage that would otherwise stay for minutes
	notify(daemon.SdNotifyReady)
	return n.serve(ctx, grace)
}

// logger writes what the process says of itself to standard error; what it decides goes into the event log.
func logger(io stdio) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
