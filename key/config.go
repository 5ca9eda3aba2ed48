package key

import (
	"errors"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the section `key`.
type Config struct {
	// What keeps the root key, exactly one. Short forms: tpm, credential, credential:NAME, file:/path, env:NAME,
	// passphrase:file:/path. Default: a random key in the user's config directory, made at the first start, with recovery
	// words to write down; a systemd credential named gatehouse.root.key is taken instead where there is one. Changing it
	// for a keyring that exists needs: gatehouse key rekey.
	Root Choice `yaml:"root"`
}

// Choice names one kind of root.
type Choice struct {
	// Name of a systemd credential that holds the key: 32 random bytes, or 64 hexadecimal digits. Encrypt it with
	// systemd-creds and name it in the unit by LoadCredentialEncrypted.
	Credential string `yaml:"credential,nonempty,public"`
	// Reference to the key itself: 32 random bytes, 64 hexadecimal digits, base64 or 24 words. Keep it on another disk than
	// the data.
	File secret.Ref `yaml:"file"`
	// Passphrase from which the key is made by Argon2id.
	Passphrase *Passphrase `yaml:"passphrase"`
	// TPM 2 of this machine: the key is sealed to it and useless elsewhere. Recovery words are made once, for the day on which
	// the machine dies.
	TPM *TPM `yaml:"tpm"`
	// Key of an OpenBao or Vault server's Transit engine, which never leaves it. Right for several nodes.
	Transit *Transit `yaml:"transit"`
	// People with shares: at each start a number of them must come together.
	Shares *Shares `yaml:"shares"`
}

// Passphrase is a root key made from words that people know.
type Passphrase struct {
	// Reference to the passphrase, at least 12 characters.
	From secret.Ref `yaml:"from,required"`
	// Memory of one guess. Default: 64MiB; at least 19MiB, at most 4GiB.
	Memory unit.Size `yaml:"memory"`
	// Passes over the memory. Default: 3; at most 64.
	Time int `yaml:"time"`
}

// TPM is a root key sealed by a TPM 2.
type TPM struct {
	// Device of the TPM's resource manager, or the socket of an emulator. Default: /dev/tpmrm0.
	Device string `yaml:"device,public"`
	// Registers (PCR, 0 to 23) that must have the values of today, such as 7 for the state of Secure Boot. Default: none. After
	// they have changed only the recovery words open the keyring.
	PCRs []int `yaml:"pcrs"`
}

// Transit is a key of an OpenBao or Vault server.
type Transit struct {
	// Address of the server, such as https://bao.internal:8200. An http:// address must be on loopback.
	Address string `yaml:"address,required,public"`
	// Name of the key, of a type that takes associated data: aes256-gcm96 or chacha20-poly1305.
	Key string `yaml:"key,required,public"`
	// Path at which the engine is mounted. Default: transit.
	Mount string `yaml:"mount,public"`
	// Namespace of the server. Default: none.
	Namespace string `yaml:"namespace,public"`
	// Reference to a token that may encrypt and decrypt with the key, and nothing else.
	Token secret.Ref `yaml:"token,required"`
	// File with the roots, PEM, that the server's certificate is checked against. Default: the system's roots.
	CA string `yaml:"ca,public"`
	// Longest time for one answer. Default: 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Shares is a root key divided among people (Shamir).
type Shares struct {
	// How many shares are needed, from 2 on.
	Threshold int `yaml:"threshold,required"`
	// How many shares are made, at most 32.
	Of int `yaml:"of,required"`
	// References to shares that are there at the start, such as on two USB sticks. The others are given on the control socket.
	Files []secret.Ref `yaml:"files"`
}

// IsZero tells that no root is named.
func (c Choice) IsZero() bool { return len(c.kinds()) == 0 }

// kinds lists the roots that are named.
func (c Choice) kinds() (list []string) {
	for _, k := range []struct {
		name string
		on   bool
	}{{"credential", c.Credential != ""}, {"file", !c.File.IsZero()}, {"passphrase", c.Passphrase != nil}, {"tpm", c.TPM != nil}, {"transit", c.Transit != nil}, {"shares", c.Shares != nil}} {
		if k.on {
			list = append(list, k.name)
		}
	}
	return list
}

// UnmarshalText reads a short form. An unknown one is not repeated, since it may be a secret.
func (c *Choice) UnmarshalText(text []byte) error {
	kind, rest, more := strings.Cut(string(text), ":")
	var out Choice
	switch {
	case kind == "tpm" && !more:
		out.TPM = &TPM{}
	case kind == "credential" && !more:
		out.Credential = DefaultCredential
	case kind == "credential" && rest != "":
		out.Credential = rest
	case kind == "file" || kind == "env":
		if err := out.File.UnmarshalText(text); err != nil {
			return err
		}
	case kind == "passphrase" && more:
		out.Passphrase = &Passphrase{}
		if err := out.Passphrase.From.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
	default:
		return errors.New("a root is written as tpm, credential, credential:NAME, file:/path, env:NAME or passphrase:file:/path; for others write a mapping, such as root: {transit: {...}}")
	}
	*c = out
	return nil
}

// Pattern and Example describe the short forms for the document's schema.
func (Choice) Pattern() string {
	return "^(tpm|credential|credential:.+|file:.+|env:.+|passphrase:(file|env):.+)$"
}

// Example is a short form as it is written.
func (Choice) Example() string { return "tpm" }
