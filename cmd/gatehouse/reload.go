package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// watch reads the document again on SIGHUP and when something that it is made of changes.
func (n *node) watch(ctx context.Context, file string, hangup <-chan os.Signal) {
	for ctx.Err() == nil {
		waiting, end := context.WithCancel(ctx)
		changed := make(chan struct{})
		go func() { _ = n.current.source.Wait(waiting); close(changed) }() // its error is the end of waiting
		select {
		case <-hangup:
		case <-changed:
		}
		end()
		if ctx.Err() != nil {
			return
		}
		notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
		n.tell(file, n.reload(ctx))
		notify(daemon.SdNotifyReady)
	}
}

// tell logs what became of a document.
func (n *node) tell(file string, err error) {
	var list mistake.List
	switch {
	case errors.As(err, &list):
		n.log.Error("the document is refused; the old one stays in force", "document", file, "mistakes", len(list))
		_ = config.Print(os.Stderr, list, terminal(os.Stderr)) // the event says it too
	case err != nil:
		n.log.Error("the document is refused; the old one stays in force", "document", file, "error", err)
	default:
		n.log.Info("document in force", "document", file, "policy", n.gateway.Load().Version())
	}
}

// reload puts a new document in force, or leaves the old one and says why.
func (n *node) reload(ctx context.Context) error {
	n.current.Lock()
	defer n.current.Unlock()
	b, err := n.current.source.Read(ctx)
	if err == nil {
		err = n.replace(ctx, b)
	}
	n.metrics.Reload(err == nil)
	if err != nil {
		refused := *n.serves.Load()
		refused.Refused = firstLine(err)
		n.serves.Store(&refused)
		n.system("gateway.reload_refused", firstLine(err))
		return err
	}
	n.system("gateway.reloaded", "document "+b.File+", policy "+n.gateway.Load().Version())
	return nil
}

// replace does everything that can go wrong first; only then is anything exchanged.
func (n *node) replace(ctx context.Context, b *source.Bundle) (err error) {
	before := n.kept.pools.keys()
	defer func() {
		if err != nil {
			n.kept.pools.abandon(before)
		}
	}()
	l, err := n.load(b)
	if err == nil {
		err = n.fixed(l)
	}
	if err != nil {
		return err
	}
	if err := b.Accept(ctx); err != nil {
		return err
	}
	exchange, undo, err := n.prepare(l)
	if err != nil {
		return err
	}
	if err := n.server.Reload(l.listen); err != nil {
		undo()
		return l.document.Place(err, "listen")
	}
	n.inForce(l)
	exchange()
	return nil
}

// fixed refuses a document whose sections of what this process opened at its start say something else now. Half a document
// is never in force, and what would be shown as in force would not be.
func (n *node) fixed(l *loaded) error {
	if n.held == nil {
		return nil
	}
	next, err := rememberingOf(l.document, n.now())
	if err != nil {
		return err
	}
	now := n.held.document
	if moved := n.held.changed.store.Load(); moved != nil {
		now.store = *moved
	}
	if rekeyed := n.held.changed.key.Load(); rekeyed != nil {
		now.key = *rekeyed
	}
	var m mistake.List
	for _, s := range []struct {
		name    string
		is, was any
		first   string
	}{
		{"key", next.key, now.key, "put the keyring under the new root (gatehouse key rekey), then "},
		{"store", next.store.Defaults(), now.store.Defaults(), "if its place changes, move what is stored (gatehouse store migrate), then "},
		{"secret", next.secret, now.secret, ""},
		{"fleet", next.fleet, now.fleet, ""},
	} {
		if !reflect.DeepEqual(s.is, s.was) {
			m.Under("", l.document.Place(mistake.List{{What: s.name + " holds from the start of the process to its end, and this is another than it was started with; " + s.first +
				"restart the gateway to take this document"}}, s.name))
		}
	}
	return m.Err()
}

// prepare opens what the document wants elsewhere than the one in force: the admin address and the sinks of events. One of
// the two functions is to be called.
func (n *node) prepare(l *loaded) (exchange, undo func(), err error) {
	var admin *http.Server
	if address := l.listen.AdminAddress().HostPort(); address != n.current.listen.AdminAddress().HostPort() {
		if admin, err = n.bindAdmin(address); err != nil {
			return nil, nil, l.document.Place(mistake.List{{Path: "admin", What: err.Error()}}, "listen")
		}
	}
	var sinks *audit.Sinks
	var change audit.Change
	if !reflect.DeepEqual(l.audit, n.written.config) {
		if sinks, change, err = n.written.sinks.Change(l.audit); err != nil {
			if admin != nil {
				_ = admin.Close()
			}
			return nil, nil, l.document.Place(err, "audit")
		}
	}
	exchange = func() {
		if admin != nil {
			old := n.admin
			n.admin = admin
			_ = old.Close()
		}
		if sinks != nil {
			n.exchangeSinks(l.audit, sinks, change)
		}
	}
	undo = func() {
		if admin != nil {
			_ = admin.Close()
		}
		if sinks != nil {
			_ = sinks.Close()
		}
	}
	return exchange, undo, nil
}

// exchangeSinks takes the new sinks. Only a sink that hangs can prevent it: then nothing is served until it answers, and
// the next reload tries again.
func (n *node) exchangeSinks(cfg audit.Config, sinks *audit.Sinks, change audit.Change) {
	if s := n.written.signing; s != nil {
		s.now() // where the log ends, should it go elsewhere
	}
	if err := n.written.log.Load().Change(change); err != nil {
		n.log.Error("events go on where they went", "error", err)
		_ = sinks.Close()
		return
	}
	n.written.sinks, n.written.config = sinks, cfg
	if s := n.written.signing; s != nil {
		s.checkpointer.Change(cfg)
	}
}

// inForce makes a document the one that decides.
func (n *node) inForce(l *loaded) {
	l.gateway.Warm()
	n.gateway.Store(l.gateway)
	n.papers.Store(l.papers)
	n.kept.pools.commit()
	var apis []string
	for i := range l.document.Len("apis") {
		apis = append(apis, fmt.Sprint(l.document.Value(fmt.Sprintf("apis[%d].name", i))))
	}
	for _, gone := range n.current.apis {
		if !slices.Contains(apis, gone) {
			n.metrics.Forget(gone)
		}
	}
	if n.held != nil {
		n.held.secrets.Keep(referredTo(l.document))
		n.kept.lives.keep(readings(l.document))
		n.held.signOn(l.portal)
	}
	n.current.listen, n.current.apis, n.current.document, n.current.state = l.listen, apis, l.document, l.bundle.State()
	n.serves.Store(&fleet.Document{Hash: n.current.state.Generation, Version: n.current.state.Version, Loaded: n.now()})
}

func firstLine(err error) string {
	var list mistake.List
	if errors.As(err, &list) && len(list) > 1 {
		return fmt.Sprintf("%v (and %d more)", list[0], len(list)-1)
	}
	return err.Error()
}

// filesNamed are the files that the portal, guards and APIs name, such as key sets and authorities: any text in these sections that is
// the name of a file. Sockets and their certificates are watched by listen, and event files change all the time.
func filesNamed(d *config.Document) (files []string) {
	look := func(text string) {
		name := strings.TrimPrefix(text, "file:")
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	eachText(d.Value("portal"), look)
	eachText(d.Value("guards"), look)
	eachText(d.Value("apis"), look)
	return files
}
