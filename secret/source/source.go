// Package source is the section secret: of the document: where secrets lie besides files, variables and the gateway's own
// store, and how they are followed. It makes the sources that a secret.Keeper asks.
package source

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/kubernetes"
	"github.com/gatehouse-sec/gatehouse/secret/vault"
)

// Config is the section secret.
type Config struct {
	// How long the last good value serves when its source can't be asked; then what needs it is closed. Leases end when they
	// end. From 1m to 720h. Default 24h.
	MaxStale time.Duration `yaml:"max_stale"`
	// How often OpenBao and Kubernetes are asked; files are looked at every 2s, the own store every 5s. From 1s to 1h.
	// Default 30s.
	Poll time.Duration `yaml:"poll"`
	// OpenBao or Vault, for references vault:MOUNT/PATH#FIELD. Default: none.
	Vault *vault.Config `yaml:"vault"`
	// The API of a Kubernetes cluster, for references kubernetes:NAMESPACE/NAME#KEY; {} in a pod. Default: none.
	Kubernetes *kubernetes.Config `yaml:"kubernetes"`
}

// Deps is what the sources need from outside. The zero Deps are good for production.
type Deps struct {
	Now         func() time.Time
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)
	LookupEnv   func(name string) (string, bool) // nil is os.LookupEnv; a copy where the environment was scrubbed
	Credentials string                           // the folder of systemd's credentials; "" when there is none
	Kept        secret.Source                    // the gateway's own store; nil when it isn't open
}

// New makes the sources by scheme. The error is a mistake.List whose paths lie in the section.
func New(cfg Config, deps Deps) (map[string]secret.Source, error) {
	var wrong mistake.List
	between(&wrong, "max_stale", cfg.MaxStale, time.Minute, 30*24*time.Hour)
	between(&wrong, "poll", cfg.Poll, time.Second, time.Hour)
	if deps.LookupEnv == nil {
		deps.LookupEnv = os.LookupEnv
	}
	all := map[string]secret.Source{
		secret.File: secret.Files(), secret.Env: secret.Environment(deps.LookupEnv), secret.Credential: secret.Credentials(deps.Credentials),
	}
	if deps.Kept != nil {
		all[secret.Kept] = deps.Kept
	}
	if cfg.Vault != nil {
		s, err := vault.New(*cfg.Vault, vault.Deps{Now: deps.Now, Dial: deps.Dial})
		wrong.Under("vault", err)
		all[secret.Vault] = s
	}
	if cfg.Kubernetes != nil {
		s, err := kubernetes.New(*cfg.Kubernetes, kubernetes.Deps{Dial: deps.Dial})
		wrong.Under("kubernetes", err)
		all[secret.Kubernetes] = s
	}
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// Options gives what of the section a Keeper goes by; the caller adds clock and log.
func (c Config) Options() secret.Options {
	return secret.Options{Poll: c.Poll, MaxStale: c.MaxStale}
}

func between(wrong *mistake.List, path string, value, low, high time.Duration) {
	if value != 0 && (value < low || value > high) {
		wrong.Add(path, low.String(), "%s is out of bounds; from %s to %s", value, low, high)
	}
}
