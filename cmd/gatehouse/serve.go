package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// grace is how long requests in progress may take when the process is told to stop.
const grace = 30 * time.Second

// watchEvery is how often the files of the document are looked at for a change.
const watchEvery = time.Second

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
	state, err := stateDirectory()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the document: %w; write one with: gatehouse init", err)
	}
	n := newNode(state, logger(io), waf.Load())
	if n.kept.dev, err = dev.Open(state, random()); err != nil {
		return err
	}
	l, err := n.load(file, data)
	if err != nil {
		return err
	}
	if err := n.start(l, l.development()); err != nil {
		return err
	}
	go n.watch(ctx, file)
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
	return l.gateway != nil && l.gateway.Development()
}

// live serves until ctx ends, and tells the service manager, if there is one.
func (n *node) live(ctx context.Context) error {
	debug.FreeOSMemory()                                // compiling the rules leaves garbage that would otherwise stay for minutes
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // nobody listens outside systemd
	err := n.serve(ctx, grace)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	return err
}

// watch reads the document again on SIGHUP and when a file that it is made of changes.
func (n *node) watch(ctx context.Context, file string) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := n.stamps()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		case <-tick.C:
			if now := n.stamps(); now == seen {
				continue
			}
		}
		err := n.reload(file)
		seen = n.stamps()
		var list mistake.List
		switch {
		case errors.As(err, &list):
			n.log.Error("the document is refused; the old one stays in force", "document", file, "mistakes", len(list))
			config.Print(os.Stderr, list, terminal(os.Stderr))
		case err != nil:
			n.log.Error("the document is refused; the old one stays in force", "document", file, "error", err)
		default:
			n.log.Info("document in force", "document", file, "policy", n.gateway.Load().Version())
		}
	}
}

// stamps tells the files of the document apart from what they were: names, sizes and times, through links.
func (n *node) stamps() string {
	n.loading.Lock()
	defer n.loading.Unlock()
	s := ""
	for _, f := range n.files {
		if info, err := os.Stat(f); err == nil {
			s += fmt.Sprintf("%s %d %d\n", f, info.Size(), info.ModTime().UnixNano())
		} else {
			s += f + " gone\n"
		}
	}
	return s
}

// logger writes what the process says of itself to standard error; what it decides goes into the event log.
func logger(io stdio) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
