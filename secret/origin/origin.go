// Package origin is the section secret of the document: the places, beside this machine's own, where secrets lie.
package origin

import (
	"os"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/kubernetes"
	"github.com/gatehouse-sec/gatehouse/secret/vault"
)

// Config is the section secret.
type Config struct {
	// Vault is an OpenBao or Vault server, for references vault:MOUNT/PATH#FIELD. Default: none.
	Vault *vault.Config `yaml:"vault"`
	// Kubernetes is the API of a cluster, for references kubernetes:NAMESPACE/NAME#KEY; in a pod {} is enough. Default: none.
	Kubernetes *kubernetes.Config `yaml:"kubernetes"`
	// Poll is how often places without leases are asked for a new value. Default 30s.
	Poll time.Duration `yaml:"poll"`
	// MaxStale is how long the last good value serves while its place can't be asked; then what needs it is closed. Default 24h.
	MaxStale time.Duration `yaml:"max_stale"`
}

// Check lists the mistakes of the section.
func (c Config) Check() error {
	var m mistake.List
	if c.Poll != 0 && (c.Poll < time.Second || c.Poll > time.Hour) {
		m.Add("poll", "30s", "%s is not between 1s and 1h", c.Poll)
	}
	if c.MaxStale < 0 {
		m.Add("max_stale", "24h", "a negative time")
	}
	_, err := c.Sources()
	m.Under("", err)
	return m.Err()
}

// Sources are the places that references can name by their schemes, this machine's among them. The gateway's own store is
// added by whoever has opened it.
func (c Config) Sources() (map[string]secret.Source, error) {
	var m mistake.List
	all := map[string]secret.Source{
		secret.File: secret.Files(), secret.Env: secret.Environment(os.LookupEnv),
		secret.Credential: secret.Credentials(os.Getenv("CREDENTIALS_DIRECTORY")),
	}
	if c.Vault != nil {
		source, err := vault.New(*c.Vault, vault.Deps{})
		m.Under("vault", err)
		all[secret.Vault] = source
	}
	if c.Kubernetes != nil {
		source, err := kubernetes.New(*c.Kubernetes, kubernetes.Deps{})
		m.Under("kubernetes", err)
		all[secret.Kubernetes] = source
	}
	return all, m.Err()
}

// Options are how a Keeper follows the secrets of this section.
func (c Config) Options() secret.Options { return secret.Options{Poll: c.Poll, MaxStale: c.MaxStale} }
