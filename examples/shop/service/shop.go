package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Control is the name under which the address of the laboratory bench is kept; see control.go.
const Control = "control"

// Service is one of the six.
type Service struct {
	name, base string
	dir        string // where its files lie
	db         *database
	log        *journal
	routes     []route
	peer       func(service string) string // URL of another service, its base path included
}

// Shop is all six, running in one process on different ports.
type Shop struct {
	dir      string
	services []*Service
	at       map[string]net.Listener
	servers  []*http.Server
}

// Names lists the services in the order in which a customer meets them.
func Names() []string {
	return []string{"catalogue", "orders", "paycard", "paybank", "logistics", "invoice"}
}

// Open makes or opens the databases in dir, which is created when it is missing.
func Open(dir string) (*Shop, error) {
	if err := os.MkdirAll(filepath.Join(dir, "invoices"), 0o700); err != nil {
		return nil, err
	}
	shop := &Shop{dir: dir, at: map[string]net.Listener{}}
	for _, build := range []func() (*Service, string){catalogue, orders, paycard, paybank, logistics, invoice} {
		s, schema := build()
		s.dir, s.peer = dir, shop.url
		shop.services = append(shop.services, s)
		var err, logErr error
		s.db, err = openDatabase(dir, s.name, schema)
		s.log, logErr = openJournal(dir, s.name)
		if err := errors.Join(err, logErr); err != nil {
			shop.Close()
			return nil, err
		}
	}
	return shop, shop.files()
}

// Start listens on the address of each service, and of Control when it is given. An address that is missing means any free
// loopback port; one that is not loopback is refused.
func (s *Shop) Start(addresses map[string]string) error {
	handlers := map[string]http.Handler{Control: http.HandlerFunc(s.control)}
	for _, svc := range s.services {
		handlers[svc.name] = svc
	}
	for name := range handlers {
		address := or(addresses[name], "127.0.0.1:0")
		if err := loopback(address); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.at[name] = l
	}
	for name, handler := range handlers {
		server := &http.Server{Handler: handler} // no timeouts: a hole, and Go's default
		s.servers = append(s.servers, server)
		go server.Serve(s.at[name])
	}
	return s.writeAddresses()
}

func loopback(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("%q is not a loopback address: these services are full of holes; write 127.0.0.1:PORT", address)
	}
	return nil
}

// Addresses gives host:port of each service and of Control. It is also written to addresses.json in the data folder.
func (s *Shop) Addresses() map[string]string {
	all := map[string]string{}
	for name, l := range s.at {
		all[name] = l.Addr().String()
	}
	return all
}

func (s *Shop) writeAddresses() error {
	text, err := json.MarshalIndent(s.Addresses(), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "addresses.json"), append(text, '\n'), 0o600)
}

// Base gives the path in front of everything that a service offers.
func (s *Shop) Base(name string) string {
	for _, svc := range s.services {
		if svc.name == name {
			return svc.base
		}
	}
	return ""
}

func (s *Shop) url(name string) string {
	return "http://" + s.at[name].Addr().String() + s.Base(name)
}

// Close stops all services.
func (s *Shop) Close() {
	for _, server := range s.servers {
		server.Close()
	}
	for _, l := range s.at {
		l.Close() // again for those that serve, and at last for those that never did
	}
	for _, svc := range s.services {
		if svc.db != nil {
			svc.db.sql.Close()
		}
		if svc.log != nil {
			svc.log.file.Close()
		}
	}
}

// Reset brings back the first day: rows, logs and files.
func (s *Shop) Reset() error {
	for _, svc := range s.services {
		if err := svc.db.reset(); err != nil {
			return fmt.Errorf("%s: %w", svc.name, err)
		}
		if err := svc.log.file.Truncate(0); err != nil {
			return err
		}
	}
	old, err := filepath.Glob(filepath.Join(s.dir, "invoices", "*.txt"))
	if err != nil {
		return err
	}
	for _, f := range old {
		os.Remove(f)
	}
	return s.files()
}

func (s *Shop) files() error {
	key := filepath.Join(s.dir, "paycard.env")
	if err := os.WriteFile(key, []byte("PROVIDER_KEY=demo-not-a-real-key-4711\n"), 0o600); err != nil {
		return err
	}
	seed := filepath.Join(s.dir, "invoices", "invoice-501.txt")
	if _, err := os.Stat(seed); err == nil {
		return nil
	}
	return os.WriteFile(seed, []byte(invoiceText(501, 1002, "bob", 12900)), 0o600)
}

// control is the laboratory bench, not a part of the shop: the tour reads there what an attack has changed (GET /state) and
// brings back the first day (POST /reset). It listens on loopback and no contract declares it.
func (s *Shop) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /state":
		state := map[string]map[string][]row{}
		for _, svc := range s.services {
			tables, err := svc.db.dump()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			tables["log"] = svc.log.lines()
			state[svc.name] = tables
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(state)
	case "POST /reset":
		if err := s.Reset(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

func (j *journal) lines() []row {
	text, err := os.ReadFile(j.file.Name())
	if err != nil {
		return nil
	}
	var all []row
	for line := range strings.Lines(string(text)) {
		all = append(all, row{"line": strings.TrimSuffix(line, "\n")})
	}
	return all
}
