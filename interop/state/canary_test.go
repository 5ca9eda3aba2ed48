//go:build linux

package state

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// TestCanaries runs gateways with everything on, hands them secrets in every way that there is, and then reads every file
// that they, PostgreSQL and Redis have written, their logs and their environment: no secret is found in any form.
func TestCanaries(t *testing.T) {
	t.Parallel()
	p, r := pgtest.Start(t), startRedis(t)
	s := newSetting(t)
	s.overPostgres(t, p)
	s.overRedis(t, r)
	over := s.fleetOf(t, 1)[0]
	alone := newSetting(t)
	embedded := alone.newHome(t)

	canaries := map[string]string{"password of PostgreSQL": pgtest.Password, "password of Redis": redisPassword, "environment": "canary-env-5b1f77aa"}
	plain := func(what, text string) string { canaries[what] = text; return text }
	var said strings.Builder
	for i, h := range []*home{over, embedded} {
		set := []*setting{s, alone}[i]
		cmd := h.command("serve", "--config", h.config())
		cmd.Env = append(cmd.Env, "SHOP_PASSWORD="+canaries["environment"])
		g := launchCommand(t, h, cmd)
		g.serving(t)
		c := h.client()
		subject := plain(fmt.Sprintf("subject %d", i), fmt.Sprintf("canary-subject-%d-77ab12", i))
		id := plain(fmt.Sprintf("id %d", i), fmt.Sprintf("canary-jti-%d-90cd34", i))
		why := plain(fmt.Sprintf("reason %d", i), fmt.Sprintf("canary-why-%d-11ef56", i))
		kept := plain(fmt.Sprintf("kept secret %d", i), fmt.Sprintf("canary-kept-%d-ab78cd", i))
		token := plain(fmt.Sprintf("token %d", i), set.issuer.token(subject, id))
		set1 := h.command("secret", "set", "shop/password", "--config", h.config())
		set1.Stdin = strings.NewReader(kept)
		if out, err := set1.CombinedOutput(); err != nil {
			t.Fatalf("secret set: %v\n%s", err, out)
		}
		for range 3 {
			for _, path := range []string{"/open/ping", "/limited/ping", "/once/ping"} {
				_ = h.get(c, path, token)
			}
		}
		h.must(t, "token", "revoke", "--id", id, "--why", why)
		h.must(t, "token", "revoke", "--subject", subject, "--why", why)
		_ = h.get(c, "/open/ping", token)
		said.WriteString(h.must(t, "status", "--json", "--config", h.config()))
		said.WriteString(h.must(t, "store", "status"))
		said.WriteString(h.must(t, "secret", "list"))
		h.must(t, "key", "rotate")
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", g.cmd.Process.Pid))
		t.Logf("environment of the process, as root reads it: %d bytes, %v, canary in it: %v (only root may: the process is not dumpable)", len(environ), err, bytes.Contains(environ, []byte(canaries["environment"])))
		info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", g.cmd.Process.Pid))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%v %v", info, err)
		}
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", g.cmd.Process.Pid))
		if line := field(string(limits), "Max core file size"); err != nil || !strings.HasPrefix(line, "0 ") {
			t.Errorf("core files of %q: %v", line, err)
		}
		g.stop(t)
		said.WriteString(g.said())
	}
	// what people look up by name and reason lies in the event log in the open, for whoever may read it
	events := func(name string) bool { return strings.Contains(name, "/events/") }
	known := func(what string) bool {
		return strings.HasPrefix(what, "subject") || strings.HasPrefix(what, "id") || strings.HasPrefix(what, "reason")
	}

	r.Do(t, "save")
	dump, err := p.Command("pg_dump", "--schema=gatehouse", "--inserts", "db1").CombinedOutput()
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, dump)
	}
	p.Exec(t, "postgres", "CHECKPOINT")
	data, err := p.Command("psql", "-At", "-d", "postgres", "-c", "SHOW data_directory").Output()
	if err != nil {
		t.Fatalf("psql: %v", err)
	}
	files := map[string][]byte{"pg_dump": dump, "what was said": []byte(said.String())}
	redisDir := strings.Fields(r.Do(t, "config", "get", "dir"))
	roots := []string{filepath.Join(over.dir, "state"), filepath.Join(over.dir, "config"), filepath.Join(embedded.dir, "state"), filepath.Join(embedded.dir, "config"), redisDir[len(redisDir)-1], strings.TrimSpace(string(data))}
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && d.Name() != "users.acl" { // Redis' own
				if data, err := os.ReadFile(name); err == nil {
					files[name] = data
				}
			}
			return nil
		})
	}
	total, hits := 0, 0
	for name, data := range files {
		total += len(data)
		for what, text := range canaries {
			if events(name) && known(what) {
				continue
			}
			for form, look := range map[string]string{
				"plain": text, "base64": base64.StdEncoding.EncodeToString([]byte(text))[:len(text)], "hex": hex.EncodeToString([]byte(text)),
			} {
				if bytes.Contains(data, []byte(look)) {
					hits++
					t.Errorf("%s (%s) lies in %s", what, form, name)
				}
			}
		}
	}
	if len(files[filepath.Join(redisDir[len(redisDir)-1], "dump.rdb")]) < 1000 {
		t.Error("Redis has written next to nothing")
	}
	t.Logf("%d canaries in %d files of %d bytes: %d hits", len(canaries), len(files), total, hits)
	if len(files) < 100 || !bytes.Contains(dump, []byte("revocation/")) {
		t.Errorf("not much was looked at: %d files", len(files))
	}
}
