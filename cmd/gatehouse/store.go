package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres"
	"github.com/gatehouse-sec/gatehouse/store/sqlite"
)

func storeCommand(std stdio) *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Show the store, and move it to PostgreSQL"}
	c.AddCommand(storeStatusCommand(std), storeMigrateCommand(std))
	return c
}

// storeStatus is what there is to tell about the store.
type storeStatus struct {
	Kind   string `json:"kind"` // embedded or postgres
	Place  string `json:"place"`
	Size   int64  `json:"size,omitempty"`   // bytes on the disk; embedded only
	Schema int64  `json:"schema,omitempty"` // version of the tables; embedded only
	Shared string `json:"shared"`           // what nodes share quickly: memory, or how the server does
	Fault  string `json:"fault,omitempty"`  // why nothing can be written now
}

func (h *held) storeStatus(ctx context.Context, _ nothing, _ control.Progress) (storeStatus, error) {
	s := storeStatus{Kind: "postgres", Shared: "memory of this process"}
	file, _, place := h.where()
	if file != nil {
		stat, err := file.Stat(ctx)
		if err != nil {
			return s, err
		}
		s.Kind, s.Place, s.Size, s.Schema = "embedded", stat.Path, stat.Size, stat.Schema
	} else {
		s.Place = place
	}
	if h.shared != nil {
		s.Shared = "reached"
		if since, why := h.shared.State(); !since.IsZero() {
			s.Shared = fmt.Sprintf("away since %s: %v", since.Format(time.RFC3339), why)
		}
	}
	if err := h.durable.Ping(ctx); err != nil {
		s.Fault = err.Error()
	}
	return s, nil
}

func storeStatusCommand(std stdio) *cobra.Command {
	return asking(std, &cobra.Command{
		Use: "status", Short: "Tell where the store is, and whether it can be written", Args: cobra.NoArgs,
		Example: "  gatehouse store status",
	}, func(ctx context.Context, a *asker, _ []string) error {
		s, err := ask[storeStatus](ctx, a, "store.status", nothing{})
		if err != nil {
			return err
		}
		err = a.print(s, func(w io.Writer) {
			entry(w, "store", s.Kind+", "+s.Place)
			if s.Size > 0 {
				entry(w, "size", fmt.Sprintf("%s, schema %d", amount(s.Size), s.Schema))
			}
			entry(w, "shared", s.Shared)
			if s.Fault == "" {
				s.Fault = "none; it can be written"
			}
			entry(w, "fault", s.Fault)
		})
		return err
	})
}

// moving is where the embedded store goes.
type moving struct {
	URL        string     `json:"url"`
	Password   secret.Ref `json:"password,omitzero"`
	CA         string     `json:"ca,omitempty"`
	ClientCert secret.Ref `json:"client_cert,omitzero"`
	ClientKey  secret.Ref `json:"client_key,omitzero"`
	Insecure   string     `json:"insecure,omitempty"` // the reason, where it is accepted
}

// moved is what became of it.
type moved struct {
	store.Copied
	To  string `json:"to"`
	Old string `json:"old"` // where the embedded store lies now
}

func storeMigrateCommand(std stdio) *cobra.Command {
	var m moving
	c := &cobra.Command{
		Use: "migrate --to postgres://USER@HOST/DATABASE", Short: "Move the embedded store to PostgreSQL, while the gateway serves",
		Long: `Move the embedded store to PostgreSQL, while the gateway serves: everything is copied and compared, then the gateway
goes on with the new store. The old file is kept under another name. Then write the same into the section store of the
document, before the next start.

References (--password, --client-cert, --client-key) are resolved by the gateway.`,
		Example: "  gatehouse store migrate --to postgres://gatehouse@db.internal/gatehouse --password file:/run/secrets/db", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		if m.URL == "" {
			return errors.New("where to? add --to postgres://USER@HOST/DATABASE")
		}
		done, err := ask[moved](ctx, a, "store.migrate", m)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) {
			entry(w, "moved", fmt.Sprintf("%s, compared after the copy", count(int(done.Records), "record")))
			entry(w, "store", done.To+"; write it into the section store of the document before the next start")
			entry(w, "old file", done.Old)
		})
	})
	f := c.Flags()
	f.StringVar(&m.URL, "to", "", "where to, without a password")
	f.TextVar(&m.Password, "password", secret.Ref{}, "reference to the password, such as file:/run/secrets/db")
	f.StringVar(&m.CA, "ca", "", "authorities of the server, PEM; default: the system's")
	f.TextVar(&m.ClientCert, "client-cert", secret.Ref{}, "reference to the client's certificate")
	f.TextVar(&m.ClientKey, "client-key", secret.Ref{}, "reference to its key")
	f.StringVar(&m.Insecure, "accept-risk", "", "why a connection that isn't verified is acceptable")
	return c
}

// migrate moves the embedded store. A process that has it open as well would go on with the old one, so there must be none.
func (h *held) migrate(ctx context.Context, q moving, tell control.Progress) (done moved, err error) {
	if h.file == nil {
		return done, fmt.Errorf("the store is %s already; only the embedded one can be moved", h.place)
	}
	if running, err := control.Find(h.places.control()); err != nil || len(running) > 1 {
		return done, cmp.Or(err, errors.New("several gateways run on this store; leave one, and start the others with the new store"))
	}
	cfg := store.Config{URL: q.URL, Password: q.Password}
	cfg.CA, cfg.ClientCert, cfg.ClientKey = q.CA, q.ClientCert, q.ClientKey
	cfg.Insecure.AcceptRisk = q.Insecure
	if err := cfg.Check(h.now()); err != nil {
		return done, err
	}
	server, err := postgres.Open(ctx, postgres.Options{Config: cfg, Resolve: h.env.resolve, Now: h.now, Log: h.log})
	if err != nil {
		return done, err
	}
	if _, version, err := (recordPlace{server}).Load(ctx); err != nil || version != 0 {
		return done, errors.Join(cmp.Or(err, fmt.Errorf("%s holds a store already; nothing was changed", q.URL)), server.Close())
	}
	file := h.file
	err = h.durable.move(func(from store.Durable) (store.Durable, error) {
		to := overServer(server, h.sealer)
		if done.Copied, err = store.Copy(ctx, from, to, store.Progress(tell)); err != nil {
			return nil, err
		}
		decide, err := h.belongs.prepare(h.ring.Status().Installation, q.URL)
		if err != nil {
			return nil, err
		}
		if err := h.ring.Move(ctx, recordPlace{server}); err != nil {
			return nil, err
		}
		return to, decide()
	})
	if err != nil {
		return done, errors.Join(fmt.Errorf("%w; the gateway goes on with the embedded store; empty %s before you try again", err, q.URL), server.Close())
	}
	done.To = q.URL
	h.whereabouts.Lock()
	h.server, h.file, h.place = server, nil, q.URL
	h.whereabouts.Unlock()
	h.closers = append(h.closers, server.Close)
	cfg.Shared = h.document.store.Shared
	h.changed.store.Store(&cfg)
	done.Old, err = h.retire(file)
	return done, err
}

// retire closes the embedded store and gives its files other names, so that nobody takes what is old for the store.
func (h *held) retire(file *sqlite.DB) (string, error) {
	path := filepath.Join(h.places.state, storeFile)
	old := path + ".moved-" + h.now().UTC().Format("20060102T150405Z")
	err := errors.Join(file.Close(), os.Rename(path, old), os.Rename(filepath.Join(h.places.state, keyringFile), old+".keyring.json"))
	if err != nil {
		err = fmt.Errorf("the store is moved, but the old files could not be put aside: %w; remove %s and %s before the next start", err, path, keyringFile)
	}
	return old, err
}
