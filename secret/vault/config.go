package vault

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the section secret.vault.
type Config struct {
	// Address of the server: https://host:port; http:// only for localhost, where an agent may listen. Required, no default.
	Address string `yaml:"address,required"`
	// CA is a file of certificates in PEM form that the server is verified against. Default: the system's.
	CA string `yaml:"ca,public"`
	// Namespace in which everything lies. Default: the root namespace.
	Namespace string `yaml:"namespace"`
	// Auth is how the gateway logs in: exactly one of the ways. Required, no default.
	Auth Auth `yaml:"auth,required"`
	// Mounts says what lies below a mount where the gateway may not ask: kv1, kv2 or dynamic. Default: the server is asked.
	Mounts map[string]Engine `yaml:"mounts"`
}

// Auth is the ways to log in, of which one is used.
type Auth struct {
	// Token refers to a token that somebody else made and prolongs, such as an agent's file. No default.
	Token secret.Ref `yaml:"token"`
	// AppRole logs in by a role's id and a secret id.
	AppRole *AppRole `yaml:"approle"`
	// Kubernetes logs in by the service account's token.
	Kubernetes *Kubernetes `yaml:"kubernetes"`
}

// AppRole is the login of machines.
type AppRole struct {
	// RoleID names the role. It is no secret. Required, no default.
	RoleID string `yaml:"role_id,required,public"`
	// SecretID refers to the secret id. Required, no default.
	SecretID secret.Ref `yaml:"secret_id,required"`
	// Mount is where the method is mounted. Default approle.
	Mount string `yaml:"mount"`
}

// Kubernetes is the login of pods.
type Kubernetes struct {
	// Role that the service account is bound to. Required, no default.
	Role string `yaml:"role,required"`
	// Mount is where the method is mounted. Default kubernetes.
	Mount string `yaml:"mount"`
	// TokenFile holds the service account's token; it is read at each login. Default: where Kubernetes puts it.
	TokenFile string `yaml:"token_file,public"`
}

// Engine says what kind of secrets lie below a mount.
type Engine string

// The engines.
const (
	KV1     Engine = "kv1"
	KV2     Engine = "kv2"
	Dynamic Engine = "dynamic"
)

// Values lists the words.
func (Engine) Values() []string { return []string{string(KV1), string(KV2), string(Dynamic)} }

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"

var mountForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._~+-]*(?:/[A-Za-z0-9_][A-Za-z0-9._~+-]*)*$`)

func (c Config) withDefaults() Config {
	if c.Auth.AppRole != nil {
		a := *c.Auth.AppRole
		a.Mount = orElse(a.Mount, "approle")
		c.Auth.AppRole = &a
	}
	if c.Auth.Kubernetes != nil {
		k := *c.Auth.Kubernetes
		k.Mount, k.TokenFile = orElse(k.Mount, "kubernetes"), orElse(k.TokenFile, serviceAccount)
		c.Auth.Kubernetes = &k
	}
	mounts := map[string]Engine{}
	for mount, engine := range c.Mounts {
		mounts[strings.Trim(mount, "/")] = engine
	}
	c.Mounts = mounts
	return c
}

func orElse(text, standard string) string {
	if text == "" {
		return standard
	}
	return text
}

// check finds every mistake that can be seen without the network.
func (c Config) check() (*url.URL, mistake.List) {
	var wrong mistake.List
	base, err := url.Parse(c.Address)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "":
		wrong.Add("address", "https://vault.example.com:8200", "is no address of a server; write scheme, host and port and nothing more")
	case base.Scheme == "http" && !isLoopback(base.Hostname()):
		wrong.Add("address", "https://"+base.Host, "secrets would cross the network in the clear")
	}
	if c.Namespace != "" && !mountForm.MatchString(strings.Trim(c.Namespace, "/")) {
		wrong.Add("namespace", "", "is no namespace; write its path, such as team/shop")
	}
	for mount, engine := range c.Mounts {
		if !mountForm.MatchString(mount) {
			wrong.Add("mounts", "", "%q is no mount", mount)
		}
		if engine != KV1 && engine != KV2 && engine != Dynamic {
			wrong.Add("mounts."+mount, string(KV2), "is none of kv1, kv2, dynamic")
		}
	}
	c.Auth.check(&wrong)
	return base, wrong
}

func (a Auth) check(wrong *mistake.List) {
	ways := 0
	if !a.Token.IsZero() {
		ways++
		early(wrong, "auth.token", a.Token)
	}
	if r := a.AppRole; r != nil {
		ways++
		if r.RoleID == "" {
			wrong.Add("auth.approle.role_id", "", "is missing")
		}
		early(wrong, "auth.approle.secret_id", r.SecretID)
		mountName(wrong, "auth.approle.mount", r.Mount)
	}
	if k := a.Kubernetes; k != nil {
		ways++
		if k.Role == "" {
			wrong.Add("auth.kubernetes.role", "", "is missing")
		}
		mountName(wrong, "auth.kubernetes.mount", k.Mount)
	}
	if ways != 1 {
		wrong.Add("auth", "", "exactly one of token, approle and kubernetes is needed; there are %d", ways)
	}
}

func mountName(wrong *mistake.List, path, mount string) {
	if !mountForm.MatchString(mount) {
		wrong.Add(path, "", "is no mount")
	}
}

// early says what is wrong with a reference that is needed before this source can be asked.
func early(wrong *mistake.List, path string, ref secret.Ref) {
	switch ref.Scheme() {
	case secret.File, secret.Env, secret.Credential:
		if _, err := ref.Resolve(); err != nil {
			wrong.Add(path, "", "%s", err)
		}
	case "":
		wrong.Add(path, ref.Example(), "is missing")
	default:
		wrong.Add(path, ref.Example(), "%s is needed before %s: can be asked; write file:, env: or credential:", ref, ref.Scheme())
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback() && net.ParseIP(host) != nil
}
