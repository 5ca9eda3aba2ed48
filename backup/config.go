package backup

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Config is the backup section of the document.
type Config struct {
	// Where backups go: a directory with its whole path, or s3://bucket/prefix. Default: nowhere; then none are made.
	To Target `yaml:"to,public"`
	// Time from one backup to the next. Twice of it without a backup in its place is told as an alarm. Default 24h.
	Every time.Duration `yaml:"every"`
	// Public keys (age1...) of those who can open a backup, at least one of them kept offline. The gateway itself is another
	// recipient, so that it can prove its backups.
	Recipients []Recipient `yaml:"recipients,public"`
	// Which backups are kept. Default: the newest 3, one of each of 7 days, one of each of 4 weeks.
	Keep Keep `yaml:"keep"`
	// How many bytes a second are read and written for a backup, so that requests don't feel it. Default 64MiB.
	MaxRate unit.Size `yaml:"max_rate"`
	// Where backups wait, encrypted, until they have reached their place.
	Spool Spool `yaml:"spool"`
	// What an s3:// place needs.
	S3 S3 `yaml:"s3"`
	// False leaves the gateway out of the recipients and backups unproven; then two recipients are needed. Default true.
	Proof *bool `yaml:"proof"`
}

// Keep says which backups stay. A backup stays when one of the three says so; the newest one that is proven always does.
type Keep struct {
	// How many of the newest backups stay. Default 3.
	Last int `yaml:"last"`
	// Of how many days the newest backup stays. Default 7.
	Daily int `yaml:"daily"`
	// Of how many weeks the newest backup stays. Default 4.
	Weekly int `yaml:"weekly"`
}

// Spool is where backups wait.
type Spool struct {
	// Directory for waiting backups and for proving them. Default: spool, in the data directory.
	Directory string `yaml:"directory,public"`
	// How much may wait there. The oldest goes when there is no room for another. Default 8GiB.
	Size unit.Size `yaml:"size"`
}

// S3 says how the object store is reached.
type S3 struct {
	// URL of the object store, https://host or https://host:port. Default: Amazon's, of the region.
	Endpoint string `yaml:"endpoint,public"`
	// Region that requests are signed for. Default us-east-1.
	Region string `yaml:"region,public"`
	// Name of the key that signs requests.
	AccessKey secret.Ref `yaml:"access_key"`
	// The key itself. Neither is ever looked for elsewhere, such as in the environment or with the machine's provider.
	SecretKey secret.Ref `yaml:"secret_key"`
	// File of certificates that the object store's certificate must come from. Default: those of the system.
	CA string `yaml:"ca,public"`
	// How long nobody can remove a backup, if the bucket has object lock.
	ObjectLock Lock `yaml:"object_lock"`
}

// Lock is object lock: until a day nobody removes an object.
type Lock struct {
	// Who may remove it before its time: governance (those with a special permission) or compliance (nobody).
	Mode LockMode `yaml:"mode"`
	// For how many days.
	Days int `yaml:"days"`
}

// LockMode is a mode of object lock. The zero LockMode locks nothing.
type LockMode string

// Values lists the words.
func (LockMode) Values() []string { return []string{"governance", "compliance"} }

// Target is where backups go. The zero Target is nowhere.
type Target struct {
	directory      string
	bucket, prefix string
}

// UnmarshalText reads "/path/of/directory" or "s3://bucket/prefix".
func (t *Target) UnmarshalText(text []byte) error {
	word := string(text)
	if rest, ok := strings.CutPrefix(word, "s3://"); ok {
		bucket, prefix, _ := strings.Cut(rest, "/")
		prefix = strings.TrimSuffix(prefix, "/")
		if bucket == "" || strings.ContainsAny(rest, "?#@ \\") || strings.Contains(rest, "//") {
			return errors.New("write s3://bucket or s3://bucket/prefix; keys and options stand under s3")
		}
		*t = Target{bucket: bucket, prefix: prefix}
		return nil
	}
	if !filepath.IsAbs(word) {
		return errors.New("backups go to a directory with its whole path or to an object store; write /mnt/backup or s3://bucket/prefix")
	}
	*t = Target{directory: filepath.Clean(word)}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String is the written form.
func (t Target) String() string {
	switch {
	case t.bucket != "" && t.prefix != "":
		return "s3://" + t.bucket + "/" + t.prefix
	case t.bucket != "":
		return "s3://" + t.bucket
	}
	return t.directory
}

// Pattern and Example describe the written form for the document's schema.
func (Target) Pattern() string { return "^(/|s3://.+)" }

// Example is a target as it is written.
func (Target) Example() string { return "/mnt/backup" }

// IsZero tells that backups go nowhere.
func (t Target) IsZero() bool { return t == Target{} }

// Recipient is the public key of somebody who can open a backup. The zero Recipient is nobody.
type Recipient struct {
	text string
	key  age.Recipient
}

// UnmarshalText reads "age1..." or "age1pq1...". A private key is refused without being repeated.
func (r *Recipient) UnmarshalText(text []byte) error {
	word := string(text)
	if strings.HasPrefix(strings.ToUpper(word), "AGE-SECRET-KEY-") {
		return errors.New("this is a private key; keep it offline, take it for known if it was in this file, and write the public key that age-keygen -y gives")
	}
	var key age.Recipient
	var err error
	if strings.HasPrefix(word, "age1pq1") {
		key, err = age.ParseHybridRecipient(word)
	} else {
		key, err = age.ParseX25519Recipient(word)
	}
	if err != nil {
		return errors.New("this is not the public key of age; write the line age1... that age-keygen has printed")
	}
	*r = Recipient{text: word, key: key}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Recipient) MarshalText() ([]byte, error) { return []byte(r.text), nil }

func (r Recipient) String() string { return r.text }

// Pattern and Example describe the written form for the document's schema.
func (Recipient) Pattern() string { return "^age1[a-z0-9]+$" }

// Example is a recipient as it is written.
func (Recipient) Example() string { return "age1..." }

// hybrid tells that a key resists quantum computers; such recipients stand among their like only.
func (r Recipient) hybrid() bool { return strings.HasPrefix(r.text, "age1pq1") }

// On tells that backups are made.
func (c Config) On() bool { return !c.To.IsZero() }

// Default is the section with what depends on the state directory filled in.
func (c Config) Default(state string) Config {
	if c.Spool.Directory == "" {
		c.Spool.Directory = filepath.Join(state, "spool")
	}
	return c
}

func (c Config) proves() bool { return c.Proof == nil || *c.Proof }

func (c Config) withDefaults() Config {
	if c.Every == 0 {
		c.Every = 24 * time.Hour
	}
	if c.Keep == (Keep{}) {
		c.Keep = Keep{Last: 3, Daily: 7, Weekly: 4}
	}
	if c.MaxRate == 0 {
		c.MaxRate = 64 * unit.MiB
	}
	if c.Spool.Size == 0 {
		c.Spool.Size = 8 * unit.GiB
	}
	if c.S3.Region == "" {
		c.S3.Region = "us-east-1"
	}
	return c
}

// Check lists the mistakes of the section.
func (c Config) Check() error {
	var m mistake.List
	if !c.On() {
		if len(c.Recipients) > 0 || c.Every != 0 {
			m.Add("to", "to: /mnt/backup", "nowhere to put backups is named, so none would be made")
		}
		return m.Err()
	}
	c.checkRecipients(&m)
	c.checkBounds(&m)
	if c.To.bucket != "" {
		c.S3.check(&m)
	} else if c.S3 != (S3{}) {
		m.Add("s3", "to: s3://bucket/prefix", "it is set, but backups go to a directory")
	}
	if c.To.directory != "" && c.Spool.Directory != "" && within(c.Spool.Directory, c.To.directory) {
		m.Add("spool.directory", "", "%s lies in the directory that backups go to", c.Spool.Directory)
	}
	return m.Err()
}

func within(name, directory string) bool {
	rel, err := filepath.Rel(directory, filepath.Clean(name))
	return err == nil && filepath.IsLocal(rel)
}

func (c Config) checkRecipients(m *mistake.List) {
	const write = "recipients: [age1...]"
	switch {
	case len(c.Recipients) == 0:
		m.Add("recipients", write, "nobody outside could open a backup; make a key with age-keygen, keep it offline and write its public half here")
	case len(c.Recipients) == 1 && !c.proves():
		m.Add("recipients", "", "with proof: false two recipients are needed, so that one lost key does not lose the backups")
	}
	seen := map[string]bool{}
	for i, r := range c.Recipients {
		place := fmt.Sprintf("recipients[%d]", i)
		switch {
		case r.key == nil:
			m.Add(place, "age1...", "no public key is given")
		case seen[r.text]:
			m.Add(place, "", "the same key stands twice")
		case r.hybrid() != c.Recipients[0].hybrid():
			m.Add(place, "", "keys that resist quantum computers (age1pq1...) and others cannot open the same backup: it would resist no better than the others")
		}
		seen[r.text] = true
	}
}

func (c Config) checkBounds(m *mistake.List) {
	if c.Every < 0 || c.Every > 0 && c.Every < time.Minute {
		m.Add("every", "24h", "a backup every %s would be all that the gateway does", c.Every)
	}
	if c.MaxRate < 0 || c.MaxRate > 0 && c.MaxRate < 64*unit.KiB {
		m.Add("max_rate", "64MiB", "at %s a second a backup would not end before the next", c.MaxRate)
	}
	if c.Spool.Size < 0 || c.Spool.Size > 0 && c.Spool.Size < unit.MiB {
		m.Add("spool.size", "8GiB", "no backup would fit in %s", c.Spool.Size)
	}
	for name, n := range map[string]int{"last": c.Keep.Last, "daily": c.Keep.Daily, "weekly": c.Keep.Weekly} {
		if n < 0 || n > 10000 {
			m.Add("keep."+name, "", "%d is not a number of backups that can be kept", n)
		}
	}
}

func (s S3) check(m *mistake.List) {
	if s.AccessKey.IsZero() {
		m.Add("s3.access_key", "file:/run/secrets/backup_access_key", "requests to an object store are signed, and no key is named")
	}
	if s.SecretKey.IsZero() {
		m.Add("s3.secret_key", "file:/run/secrets/backup_secret_key", "requests to an object store are signed, and no key is named")
	}
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https":
			m.Add("s3.endpoint", "https://s3.example.com", "an object store is reached by https")
		case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
			m.Add("s3.endpoint", "https://"+u.Host, "it is a host and perhaps a port, no more")
		case linkLocal(u.Hostname()):
			m.Add("s3.endpoint", "", "%s is where clouds hand out a machine's credentials, not an object store", u.Hostname())
		}
	}
	if s.ObjectLock.Mode == "" && s.ObjectLock.Days != 0 {
		m.Add("s3.object_lock.mode", "governance", "days are given, but no mode")
	}
	if s.ObjectLock.Mode != "" && (s.ObjectLock.Days < 1 || s.ObjectLock.Days > 36500) {
		m.Add("s3.object_lock.days", "30", "an object is locked for 1 to 36500 days")
	}
}

func linkLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLinkLocalUnicast()
}
