//go:build linux

package state

import (
	"strings"
	"testing"
)

// TestBadDocuments writes what people write wrong in the sections of state: each is told with its place, and none repeats a
// password.
func TestBadDocuments(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	h := s.newHome(t)
	good := s.document(h.port)
	for _, c := range []struct{ name, sections, place, says string }{
		{"password in the URL of the store", "store: postgres://gatehouse:hunter2-canary@db.internal/gatehouse\n", "2:8", "password"},
		{"password in the URL, long form", "store:\n  url: postgres://gatehouse:hunter2-canary@db.internal/gatehouse\n", "3:8", "password: file:"},
		{"password in a parameter", "store: postgres://gatehouse@db.internal/gatehouse?password=hunter2-canary\n", "2:8", "password"},
		{"unknown parameter", "store: postgres://gatehouse@db.internal/gatehouse?pool_size=3\n", "2:8", "pool_size"},
		{"another database", "store: mysql://gatehouse@db.internal/gatehouse\n", "2:8", "postgres://"},
		{"no database", "store: postgres://gatehouse@db.internal\n", "2:8", "database"},
		{"literal password", "store:\n  url: postgres://gatehouse@db.internal/gatehouse\n  password: hunter2-canary\n", "4:13", "file:"},
		{"no TLS to PostgreSQL", "store: postgres://gatehouse@db.internal/gatehouse?sslmode=disable\n", "2:8", "insecure"},
		{"TLS that verifies nobody", "store: postgres://gatehouse@db.internal/gatehouse?sslmode=require\n", "2:8", "insecure"},
		{"Redis without TLS", "store:\n  shared: redis://gatehouse@cache.internal:6379\n", "3:11", "rediss://"},
		{"password in the URL of Redis", "store:\n  shared: rediss://gatehouse:hunter2-canary@cache.internal:6379\n", "3:11", "password"},
		{"parameter of Redis", "store:\n  shared: rediss://gatehouse@cache.internal:6379?db=3\n", "3:11", "the URL has no parameters"},
		{"a word of the section that isn't one", "store:\n  url: embedded\n  pasword: file:/x\n", "4:3", "password"},
		{"two roots", "key:\n  root: {file: \"file:/etc/root.key\", tpm: {}}\n", "3:9", "one"},
		{"a root that is none", "key: {root: yubikey}\n", "2:13", "tpm"},
		{"shares that nobody can miss", "key: {root: {shares: {threshold: 6, of: 5}}}\n", "2:", "threshold"},
		{"a backup with one recipient", "backup:\n  to: [{directory: /var/backups/gatehouse}]\n  recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudz4yhfsm3vsdy]\n  every: 1h\n", "backup", "recipient"},
		{"a heartbeat that never comes", "fleet: {heartbeat: 1h}\n", "2:20", "heartbeat: 2s"},
		{"a name with blanks", "fleet: {name: the first}\n", "2:15", "name:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, rest, _ := strings.Cut(good, "\n")
			h.write(t, first+"\n"+c.sections+rest)
			out, err := h.run("check", "--config", h.config())
			if err == nil {
				t.Errorf("taken:\n%s", out)
			}
			if strings.Contains(out, "hunter2") {
				t.Error("the password is repeated")
			}
			t.Log(out)
			if c.place != "backup" {
				says(t, out, "gatehouse.yaml:"+c.place)
			}
			says(t, out, c.says)
			if again, err := h.run("serve", "--config", h.config()); err == nil || strings.Contains(again, "hunter2") {
				t.Errorf("serve: %v\n%s", err, again)
			}
			if again, err := h.run("status", "--config", h.config()); err == nil || strings.Contains(again, "hunter2") {
				t.Errorf("status: %v\n%s", err, again)
			}
		})
	}
	if got := h.files(t); strings.Contains(got, "store.db") || strings.Contains(got, "keyring") {
		t.Errorf("bad documents left something behind:\n%s", got)
	}
}

// TestReloadOfWhatHolds changes, while a gateway runs, what it was started with: never ignored, always told, with its place.
func TestReloadOfWhatHolds(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	h := s.newHome(t)
	g := h.start(t)
	good := s.document(h.port)
	first, rest, _ := strings.Cut(good, "\n")
	for _, c := range []struct{ section, is string }{
		{"key", "key: {root: \"file:/nowhere/root.key\"}"},
		{"store", "store: {url: embedded, shared: \"rediss://gatehouse@cache.internal:6379\"}"},
		{"secret", "secret: {poll: 7s}"},
		{"fleet", "fleet: {name: another}"},
	} {
		before := strings.Count(g.said(), "restart the gateway to take this document")
		h.write(t, first+"\n"+c.is+"\n"+rest)
		until(t, c.section+" is refused", 10e9, func() bool {
			return strings.Count(g.said(), "restart the gateway to take this document") > before
		})
		says(t, g.said(), "gatehouse.yaml:2:", ": "+c.section+": "+c.section+" holds from the start")
		until(t, c.section+": status says so", 5e9, func() bool {
			status := h.status(t)
			return len(status.Findings) > 0 && strings.Contains(status.Nodes[0].Document.Refused, c.section)
		})
	}
	h.write(t, first+"\n# a comment, and the same said in full\nstore: embedded\nfleet: {heartbeat: 2s}\n"+rest)
	g.waitFor(t, "document in force")
	until(t, "status says that all is well", 5e9, func() bool { return len(h.status(t).Findings) == 0 })
	t.Log(last(g.said(), 1500))
}
