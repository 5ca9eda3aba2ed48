package backup

import (
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

func section(t *testing.T, text string) (Config, error) {
	t.Helper()
	d, err := config.Parse("gatehouse.yaml", []byte(text))
	if err != nil {
		return Config{}, err
	}
	c, _, err := config.Section[Config](d, "backup")
	if err != nil {
		return Config{}, err
	}
	return c, c.Check()
}

func keys(t *testing.T) (plain, other, hybrid, private string) {
	t.Helper()
	a, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := age.GenerateX25519Identity()
	h, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return a.Recipient().String(), b.Recipient().String(), h.Recipient().String(), a.String()
}

func TestTheSection(t *testing.T) {
	a, b, _, _ := keys(t)
	c, err := section(t, `backup:
  to: s3://vault/gateway/a
  every: 6h
  recipients: [`+a+`, `+b+`]
  keep: {last: 5, daily: 2}
  max_rate: 16MiB
  spool: {directory: /var/spool/gatehouse, size: 1GiB}
  proof: false
  s3:
    endpoint: https://s3.example.com:9000
    access_key: file:/run/secrets/access
    secret_key: file:/run/secrets/secret
    ca: /etc/ca.pem
    object_lock: {mode: compliance, days: 30}
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.To.String() != "s3://vault/gateway/a" || c.Every != 6*time.Hour || len(c.Recipients) != 2 || c.Keep.Last != 5 || c.MaxRate != 16*unit.MiB ||
		c.Spool.Size != unit.GiB || c.proves() || c.S3.ObjectLock.Days != 30 || !c.On() {
		t.Errorf("%+v", c)
	}
	if c, err := section(t, "listen: {}\n"); err != nil || c.On() {
		t.Errorf("no section: %v, %v", c, err)
	}
	c, err = section(t, "backup: {to: /mnt/backup, recipients: ["+a+"]}\n")
	if err != nil || !c.proves() {
		t.Fatalf("%v", err)
	}
	d := c.Default("/var/lib/gatehouse").withDefaults()
	if d.Every != 24*time.Hour || d.Keep != (Keep{3, 7, 4}) || d.Spool.Directory != "/var/lib/gatehouse/spool" || d.MaxRate != 64*unit.MiB {
		t.Errorf("%+v", d)
	}
}

func TestMistakesOfTheSection(t *testing.T) {
	a, b, hybrid, private := keys(t)
	with := func(rest string) string { return "backup: {to: /mnt/backup, recipients: [" + a + "]" + rest + "}\n" }
	s3 := func(rest string) string {
		return "backup: {to: s3://v, recipients: [" + a + "], s3: {access_key: file:/a, secret_key: file:/b" + rest + "}}\n"
	}
	for name, c := range map[string]struct{ text, says string }{
		"nowhere":               {"backup: {every: 24h}\n", "nowhere"},
		"no recipient":          {"backup: {to: /mnt/backup}\n", "offline"},
		"one without proof":     {with(", proof: false"), "two recipients"},
		"twice":                 {"backup: {to: /m, recipients: [" + a + ", " + a + "]}\n", "twice"},
		"mixed":                 {"backup: {to: /m, recipients: [" + a + ", " + hybrid + "]}\n", "quantum"},
		"a private key":         {"backup: {to: /m, recipients: [" + private + "]}\n", "looks like a secret"},
		"no key":                {"backup: {to: /m, recipients: [age1hello]}\n", "age-keygen"},
		"a part of a path":      {"backup: {to: backups, recipients: [" + a + "]}\n", "whole path"},
		"another store":         {"backup: {to: gs://v, recipients: [" + a + "]}\n", "whole path"},
		"a key in the URL":      {"backup: {to: s3://key:secret@v, recipients: [" + a + "]}\n", "has a password in it"},
		"no bucket":             {"backup: {to: s3:///v, recipients: [" + a + "]}\n", "s3://bucket"},
		"too often":             {with(", every: 1s"), "every"},
		"too slow":              {with(", max_rate: 1KiB"), "max_rate"},
		"no spool":              {with(", spool: {size: 1KiB}"), "spool.size"},
		"spool in its place":    {with(", spool: {directory: /mnt/backup/spool}"), "spool.directory"},
		"negative":              {with(", keep: {daily: -1}"), "daily"},
		"a store for nothing":   {with(", s3: {region: x}"), "directory"},
		"no credentials":        {"backup: {to: s3://v, recipients: [" + a + ", " + b + "]}\n", "signed"},
		"without TLS":           {s3(", endpoint: \"http://s3.example.com\""), "https"},
		"a path":                {s3(", endpoint: \"https://s3.example.com/x\""), "no more"},
		"the metadata":          {s3(", endpoint: \"https://169.254.169.254\""), "hand out"},
		"a lock without a mode": {s3(", object_lock: {days: 3}"), "mode"},
		"a lock for ever":       {s3(", object_lock: {mode: compliance, days: 0}"), "days"},
		"another mode":          {s3(", object_lock: {mode: strict, days: 1}"), "governance"},
		"a literal secret":      {"backup: {to: s3://v, recipients: [" + a + "], s3: {access_key: AKIAX, secret_key: file:/b}}\n", "reference"},
	} {
		_, err := section(t, c.text)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), private) {
			t.Errorf("%s: the private key is repeated: %v", name, err)
		}
	}
}

func TestWhatIsNoTargetOrRecipient(t *testing.T) {
	_, _, _, private := keys(t)
	for _, text := range []string{"", "relative", "s3://", "s3://u:p@b/x", "s3://b/x?versionId=1", "s3://b//x", "gs://b", "https://b"} {
		var to Target
		if err := to.UnmarshalText([]byte(text)); err == nil || !to.IsZero() {
			t.Errorf("%q is a target: %v", text, to)
		}
	}
	for _, text := range []string{"", "age1", "age1pq1x", private, strings.ToLower(private), "ssh-ed25519 AAAA"} {
		var r Recipient
		err := r.UnmarshalText([]byte(text))
		if err == nil || r.key != nil || strings.Contains(err.Error(), private) {
			t.Errorf("%q is a recipient: %v", text, err)
		}
	}
}

// age takes the keys that we write, in both forms.
func TestDerivedIdentities(t *testing.T) {
	seen := map[string]bool{}
	for _, hybrid := range []bool{false, true} {
		for _, word := range []string{"one", "two"} {
			all, err := identities(ring{word}, hybrid)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := identities(ring{word}, hybrid)
			text := all[0].recipient.(interface{ String() string }).String()
			if seen[text] || text != again[0].recipient.(interface{ String() string }).String() || strings.HasPrefix(text, "age1pq1") != hybrid {
				t.Errorf("%s, %v: %s", word, hybrid, text)
			}
			seen[text] = true
		}
	}
	for _, seed := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if _, err := newIdentity(seed, false); err == nil {
			t.Errorf("%d bytes are taken", len(seed))
		}
	}
}
