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

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// grace is how long requests in progress may take when the process is told to stop.
const grace = 30 * time.Second

func serveCommand(io stdio) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve by a document",
		Long: `Serve by a document.

The document is read again when it, a contract that it names, or a certificate changes, and on SIGHUP. A document with a
mistake changes nothing: the old one stays in force, and the log says why. SIGTERM lets requests in progress end.`,
		Example: `  gatehouse serve --config gatehouse.yaml
  systemctl reload gatehouse        # or: kill -HUP PID`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return serveDocument(c.Context(), io, file)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "gatehouse.yaml", "the document")
	return c
}

// serveDocument serves by the document in a file until ctx ends.
func serveDocument(ctx context.Context, io stdio, file string) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // before anything else: a SIGHUP that nobody waits for ends a process
	defer signal.Stop(hangup)
	boundMemory()
	usual := collectLater()
	rules := waf.Load()
	at, err := findPlaces()
	if err != nil {
		return err
	}
	n := newNode(at.state, logger(io), rules)
	if n.kept.dev, err = dev.Open(at.state, random()); err != nil {
		return err
	}
	bundle, err := n.open(ctx, file, source.Options{})
	if err != nil {
		return err
	}
	if err := n.hold(ctx, at, bundle, io.err); err != nil {
		return err
	}
	l, err := n.load(bundle)
	if err == nil {
		err = bundle.Accept(ctx)
	}
	if err != nil {
		return errors.Join(err, n.release())
	}
	if err := n.start(l, l.development()); err != nil {
		return err
	}
	usual()
	go n.watch(ctx, file, hangup)
	n.log.Info("serving", "document", file, "policy", l.gateway.Version(), "addresses", n.server.Addresses())
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
