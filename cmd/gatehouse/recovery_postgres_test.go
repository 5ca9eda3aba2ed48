package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// over gives the document a store in PostgreSQL.
func (h *machine) over(c store.Config) {
	h.t.Helper()
	text, err := os.ReadFile(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	rest, _, _ := strings.Cut(string(text), "store:")
	h.write(h.file, rest+fmt.Sprintf("store:\n  url: %s\n  password: %s\n  ca: %s\n", c.URL, c.Password, c.CA))
}

// The drill where the store is PostgreSQL: the database comes back by its own tools, the rest by gatehouse backup restore.
// The root key is lost; what was called back after the backup stays dead (K13).
func TestDrillOverPostgres(t *testing.T) {
	t.Parallel()
	key, recipient := offline(t)
	place := t.TempDir()
	server := pgtest.Start(t)
	database := server.Database(t)
	a := newMachine(t, place, recipient, thing(t))
	a.over(database)
	a.start()
	a.must("canary-in-postgres", "secret", "set", "shop/password")
	for len(a.list()) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	words := recoveryWords(a.must("", "key", "rekey"))
	token, _, _ := a.run("", "token", "--as", "alice")
	m := a.create()
	if len(m.Absent) != 2 || !strings.Contains(m.Absent[1].Why, "pg_dump") || m.Proof == nil || !m.Proof.OK {
		t.Errorf("%+v", m)
	}
	name := database.URL[strings.LastIndex(database.URL, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	dump, err := server.Command("pg_dump", "--format=custom", "--schema=gatehouse", "--no-owner", "--no-privileges", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(dump, []byte("canary-in-postgres")) {
		t.Error("the dump holds a secret")
	}
	a.must("", "token", "revoke", "--subject", "alice")
	a.stop()

	empty := server.EmptyDatabase(t)
	server.Exec(t, "postgres", "ALTER DATABASE "+empty+" OWNER TO "+pgtest.Role)
	back := server.Command("pg_restore", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", "--username="+pgtest.Role, "--dbname="+empty)
	back.Stdin = bytes.NewReader(dump)
	if out, err := back.CombinedOutput(); err != nil {
		t.Fatalf("pg_restore: %v\n%s", err, out)
	}
	b := a.elsewhere()
	b.write(filepath.Join(b.home, "words.txt"), words)
	out, said, code := b.run("", "backup", "restore", filepath.Join(place, m.Name), "--identity", key, "--words", filepath.Join(b.home, "words.txt"))
	if code != 0 || !strings.Contains(out, "gatehouse token revoke --before now") || !strings.Contains(out, "gatehouse key recover") {
		t.Fatalf("restore: exit %d\n%s%s", code, out, said)
	}
	b.over(server.Config(t, empty))
	out, said, code = b.run(words, "key", "recover", "--config", b.file)
	if code != 0 {
		t.Fatalf("recover: exit %d\n%s%s", code, out, said)
	}
	b.must("", "token", "revoke", "--before", "now")
	pem, err := os.ReadFile(filepath.Join(a.state(), "development-issuer.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.write(filepath.Join(b.state(), "development-issuer.pem"), string(pem))
	b.must("", "serve", "--verify")
	b.start()
	if status := b.get(token); status != http.StatusUnauthorized {
		t.Errorf("a token that was revoked after the backup: status %d", status)
	}
	if out := b.must("", "secret", "get", "shop/password"); strings.TrimSpace(out) != "canary-in-postgres" {
		t.Error("the secret is another")
	}
	b.must("", "audit", "verify")
	b.stop()
	b.must("", "audit", "verify")
}
