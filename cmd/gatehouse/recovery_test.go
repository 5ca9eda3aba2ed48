package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/audit"
	"github.com/gatehouse-sec/gatehouse/backup"
	"github.com/gatehouse-sec/gatehouse/gate"
)

// offline makes the key that lies elsewhere.
func offline(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "offline.txt")
	if err := os.WriteFile(file, []byte("# "+id.Recipient().String()+"\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, id.Recipient().String()
}

func thing(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	t.Cleanup(s.Close)
	return s.URL
}

func recoveryWords(out string) string {
	var words []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "    ") && !strings.HasPrefix(line, "     ") {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.Join(words, " ")
}

// lies tells in which files below folders a text lies, plain or as base64 or hex.
func lies(t *testing.T, text string, but func(path string) bool, folders ...string) {
	t.Helper()
	forms := [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text))), []byte(base64.StdEncoding.EncodeToString([]byte(text))[:len(text)])}
	seen := 0
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || but(path) {
				return err
			}
			data, err := os.ReadFile(path)
			seen += len(data)
			for _, form := range forms {
				if bytes.Contains(data, form) {
					t.Errorf("%s holds %q", path, text)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 32<<10 {
		t.Errorf("only %d bytes were looked at", seen)
	}
}

// The drill of backup/README.md: everything is lost but a backup, the offline key and the recovery words. What was revoked
// after the backup stays dead (K13), the log is what was written (K4), and no secret lies anywhere in the clear.
func TestDrill(t *testing.T) {
	t.Parallel()
	const canary, why = "canary-hunter2-horse-battery", "canary-reason-stolen-laptop"
	key, recipient := offline(t)
	place := t.TempDir()
	a := newMachine(t, place, recipient, thing(t))
	a.start()
	a.must(canary, "secret", "set", "shop/password")
	for len(a.list()) == 0 { // the first is made by itself, and keys don't change meanwhile
		time.Sleep(20 * time.Millisecond)
	}
	words := recoveryWords(a.must("", "key", "rekey"))
	if strings.Count(words, " ") != 23 {
		t.Fatalf("%q are not 24 words", words)
	}
	token, _, _ := a.run("", "token", "--as", "alice")
	if status := a.get(token); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	a.must("", "apikey", "create", "--owner", "partner", "--scope", "read", "--api", "shop", "--expires", "90d")
	m := a.create()
	if m.Proof == nil || !m.Proof.OK || len(m.Proof.Checks) != 3 {
		t.Fatalf("%+v", m.Proof)
	}
	if names := a.list(); !slices.Contains(names, m.Name) {
		t.Errorf("%s is not among %q", m.Name, names)
	}
	a.must("", "backup", "verify", m.Name)
	a.must("", "token", "revoke", "--subject", "alice", "--why", why)
	a.must("", "audit", "verify")
	a.stop()
	a.must("", "audit", "verify")

	b := a.elsewhere()
	b.write(filepath.Join(b.home, "words.txt"), words)
	began := time.Now()
	_, said, code := b.run("", "backup", "restore", filepath.Join(place, m.Name), "--identity", key)
	if code != 1 || !strings.Contains(said, "--words") {
		t.Errorf("without root key and words: exit %d\n%s", code, said)
	}
	if _, err := os.Stat(filepath.Join(b.state(), "store.db")); err == nil {
		t.Error("a state appeared that nobody could open")
	}
	out, said, code := b.run("", "backup", "restore", filepath.Join(place, m.Name), "--identity", key, "--words", filepath.Join(b.home, "words.txt"))
	if code != 0 || !strings.Contains(out, "every token issued before") || strings.Count(recoveryWords(out), " ") != 23 {
		t.Fatalf("restore: exit %d\n%s%s", code, out, said)
	}
	before := tree(t, b.state())
	b.must("", "serve", "--verify")
	if after := tree(t, b.state()); after != before {
		t.Errorf("serve --verify changed\n%s\nto\n%s", before, after)
	}
	// the development issuer is no part of a backup; with it, the old token would be good again
	pem, err := os.ReadFile(filepath.Join(a.state(), "development-issuer.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.write(filepath.Join(b.state(), "development-issuer.pem"), string(pem))
	b.start()
	t.Logf("from nothing to serving in %s", time.Since(began).Round(time.Millisecond))
	if status := b.get(token); status != http.StatusUnauthorized {
		t.Errorf("a token that was revoked after the backup: status %d", status)
	}
	if out := b.must("", "apikey", "list", "--all"); !strings.Contains(out, "revoked by restore") {
		t.Errorf("an API key, which may have been revoked after the backup, is good for ever: %s", out)
	}
	if out := b.must("", "secret", "get", "shop/password"); strings.TrimSpace(out) != canary {
		t.Error("the secret is another")
	}
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		token, _, _ := b.run("", "token", "--as", "alice")
		if b.get(token) == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a new token is refused")
		}
	}
	b.must("", "audit", "verify")
	b.create()
	b.stop()
	b.must("", "audit", "verify")
	events := func(path string) bool { return strings.Contains(path, "/events/") }
	folders := []string{filepath.Dir(a.home), filepath.Dir(b.home), place}
	lies(t, canary, func(string) bool { return false }, folders...)
	lies(t, why, events, folders...) // an event says why
}

// tree is every file of a folder with its size and content, but for locks.
func tree(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "lock") || strings.Contains(path, "store.db-") || strings.HasSuffix(path, ".pem") {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %d %x\n", path, len(data), sum(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func sum(data []byte) [32]byte { return sha256.Sum256(data) }

// eventReasons collects the reasons of the gateway's own events.
func eventReasons(found map[string]bool) func(gate.Event) error {
	return func(e gate.Event) error {
		found[string(e.Decision.Reason)] = true
		return nil
	}
}

// K11: whatever is wrong with a backup is found and named, and nothing of it is restored.
func TestBadBackups(t *testing.T) {
	t.Parallel()
	key, recipient := offline(t)
	other, _ := offline(t)
	place := t.TempDir()
	h := newMachine(t, place, recipient, thing(t))
	h.must("value", "secret", "set", "shop/password")
	good := h.create()
	data, err := os.ReadFile(filepath.Join(place, good.Name))
	if err != nil {
		t.Fatal(err)
	}
	old := h.create() // the newer one, in whose place the older is put
	cases := map[string]struct {
		data []byte
		name string
		kind string
	}{
		"truncated": {data[:len(data)*2/3], good.Name, "truncated"},
		"0 bytes":   {nil, good.Name, "empty"},
		"older":     {data, old.Name, ""}, // damaged, since its length is in its name, or renamed where the two are of one length
	}
	for i := range 6 {
		at := i * (len(data) - 1) / 5
		flipped := bytes.Clone(data)
		flipped[at] ^= 1
		cases[fmt.Sprintf("flipped at %d", at)] = struct {
			data []byte
			name string
			kind string
		}{flipped, good.Name, ""}
	}
	for name, c := range cases {
		kept, err := os.ReadFile(filepath.Join(place, c.name))
		if err != nil {
			t.Fatal(err)
		}
		h.write(filepath.Join(place, c.name), string(c.data))
		out, said, code := h.run("", "backup", "verify", c.name, "--config", h.file)
		if code != 1 || !strings.Contains(said, ": "+c.kind) {
			t.Errorf("%s: verify: exit %d, want %s\n%s%s", name, code, c.kind, out, said)
		}
		into := filepath.Join(t.TempDir(), "state")
		out, said, code = h.run("", "backup", "restore", filepath.Join(place, c.name), "--identity", key, "--into", into, "--config", h.file)
		if _, err := os.Stat(into); code != 1 || err == nil {
			t.Errorf("%s: restore: exit %d\n%s%s", name, code, out, said)
		}
		h.write(filepath.Join(place, c.name), string(kept))
	}
	if _, said, code := h.run("", "backup", "restore", good.Name, "--identity", other, "--into", filepath.Join(t.TempDir(), "x"), "--config", h.file); code != 1 || !strings.Contains(said, "wrong_key") {
		t.Errorf("wrong key: exit %d\n%s", code, said)
	}
	h.must("", "backup", "verify", good.Name)
	if _, said, code := h.run("", "backup", "restore", good.Name, "--identity", key, "--config", h.file); code != 1 || !strings.Contains(said, "not empty") {
		t.Errorf("over a state: exit %d\n%s", code, said)
	}
}

// K12: a backup that can't reach its place waits, which is said, and goes there when it can.
func TestPlaceOutOfReach(t *testing.T) {
	t.Parallel()
	_, recipient := offline(t)
	place := filepath.Join(t.TempDir(), "mount")
	h := newMachine(t, place, recipient, thing(t))
	h.must("value", "secret", "set", "shop/password")
	out, said, code := h.run("", "backup", "create", "--config", h.file)
	if code != 1 || !strings.Contains(out, "it waits") || !strings.Contains(said, "waits in the spool") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	h.start() // whose job brings it there
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if len(h.list()) == 1 && strings.Contains(h.must("", "backup", "list", "--json"), `"proof"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it still waits\n%s", h.log)
		}
	}
	h.stop()
	found := map[string]bool{}
	_ = audit.Read(filepath.Join(h.state(), "events"), eventReasons(found))
	if !found["backup.delivered"] || !found["backup.proved"] {
		t.Errorf("events: %v", found)
	}
}

// I14: a gateway that is killed while it makes a backup starts again, what is listed is whole, and nothing is left over.
func TestKilledWhileBackingUp(t *testing.T) {
	t.Parallel()
	kills := 3
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		kills = 200
	}
	_, recipient := offline(t)
	h := newMachine(t, t.TempDir(), recipient, thing(t))
	h.must(strings.Repeat("v", 60<<10), "secret", "set", "shop/large")
	h.start()
	for i := range kills {
		pause := time.Duration(rand.Int64N(int64(350 * time.Millisecond)))
		ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
		asked := h.command(ctx, "backup", "create", "--config", h.file)
		if err := asked.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
		h.kill()
		_ = asked.Wait()
		end()
		h.start()
		for _, name := range h.list() {
			if out, said, code := h.run("", "backup", "verify", name, "--config", h.file); code != 0 {
				t.Errorf("kill %d after %s: %s\n%s%s", i, pause, name, out, said)
			}
		}
	}
	h.create()
	h.must("", "audit", "verify")
	h.stop()
	left, err := os.ReadDir(filepath.Join(h.state(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	listed := h.listed(true) // a backup that the end of the gateway has left on its way is whole, and listed
	for _, d := range left {
		if d.Name() != ".lock" && !slices.Contains(listed, d.Name()) {
			t.Errorf("%s is left in the spool", d.Name())
		}
	}
}

// K4 from end to end: whoever was at the log of a gateway is found out, and the place is named.
func TestLogThatSomebodyWasAt(t *testing.T) {
	t.Parallel()
	_, recipient := offline(t)
	h := newMachine(t, t.TempDir(), recipient, thing(t))
	h.start()
	token, _, _ := h.run("", "token", "--as", "alice")
	for range 10 {
		h.get(token)
	}
	h.stop()
	out := h.must("", "audit", "verify")
	if !strings.Contains(out, "signed up to") {
		t.Errorf("not anchored:\n%s", out)
	}
	whole, err := os.ReadFile(filepath.Join(h.state(), "events", "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
	n := len(lines)
	join := func(lines ...[]byte) []byte { return append(bytes.TrimRight(bytes.Join(lines, nil), "\n"), '\n') }
	flipped := bytes.Clone(whole)
	flipped[len(whole)/2] ^= 1
	swapped := slices.Clone(lines)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	for name, c := range map[string]struct {
		log  []byte
		want string
	}{
		"flip":     {flipped, "events.jsonl:"},
		"delete":   {join(append(slices.Clone(lines[:4]), lines[5:]...)...), "events.jsonl:5: deleted"},
		"reorder":  {join(swapped...), "events.jsonl:4: reordered"},
		"truncate": {join(lines[:n-2]...), "truncated"},
		"empty":    {nil, ""},
	} {
		h.write(filepath.Join(h.state(), "events", "events.jsonl"), string(c.log))
		if out, said, code := h.run("", "audit", "verify", "--config", h.file); code != 1 || !strings.Contains(said, c.want) {
			t.Errorf("%s: exit %d, want %s\n%s%s", name, code, c.want, out, said)
		}
		if _, said, code := h.run("", "serve", "--verify", "--config", h.file); code != 1 {
			t.Errorf("%s: serve --verify: exit %d\n%s", name, code, said)
		}
	}
	// both set back together: the store knows better
	h.write(filepath.Join(h.state(), "events", "events.jsonl"), string(join(lines[:1]...)))
	if err := os.Remove(filepath.Join(h.state(), "events", "events.checkpoints")); err != nil {
		t.Fatal(err)
	}
	if out, said, code := h.run("", "audit", "verify", "--config", h.file); code != 1 {
		t.Errorf("set back: exit %d\n%s%s", code, out, said)
	}
	h.start()
	h.stop()
	found := map[string]bool{}
	_ = audit.Read(filepath.Join(h.state(), "events"), eventReasons(found))
	if !found["audit.tampered"] {
		t.Errorf("a gateway that starts on a log which was set back says nothing: %v", found)
	}
}

// K4: a log that was set back, with its checkpoints, stays bad over restarts, until somebody settles it and says why.
func TestLogThatWasSetBackStaysBad(t *testing.T) {
	t.Parallel()
	_, recipient := offline(t)
	h := newMachine(t, t.TempDir(), recipient, thing(t))
	events := filepath.Join(h.state(), "events")
	visit := func() {
		h.start()
		token, _, _ := h.run("", "token", "--as", "alice")
		for range 5 {
			h.get(token)
		}
		h.stop()
	}
	visit()
	before := filepath.Join(t.TempDir(), "events")
	if err := os.CopyFS(before, os.DirFS(events)); err != nil {
		t.Fatal(err)
	}
	visit()
	h.must("", "audit", "verify")
	if err := errors.Join(os.RemoveAll(events), os.CopyFS(events, os.DirFS(before))); err != nil {
		t.Fatal(err)
	}
	bad := func(when string) {
		t.Helper()
		if out, said, code := h.run("", "audit", "verify", "--config", h.file); code != 1 {
			t.Errorf("%s: audit verify: exit %d\n%s%s", when, code, out, said)
		} else if when != "at first" && (!strings.Contains(said, "since ") || !strings.Contains(said, "gatehouse audit settle")) {
			t.Errorf("%s: it doesn't say since when, or what to run:\n%s", when, said)
		}
		if out, _, code := h.run("", "serve", "--verify", "--config", h.file); code != 1 {
			t.Errorf("%s: serve --verify: exit %d\n%s", when, code, out)
		}
	}
	bad("at first")
	visit()
	bad("after a start")
	visit() // by now it is longer than what was signed
	visit()
	bad("after more of them")
	if _, said, code := h.run("", "audit", "settle", "--reason", "x", "--config", h.file); code != 1 || !strings.Contains(said, "no gateway runs") {
		t.Errorf("settled without an event: exit %d\n%s", code, said)
	}
	h.start()
	if out, _, code := h.run("", "status", "--config", h.file); code != 2 || !strings.Contains(out, "gatehouse audit settle") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	if _, said, code := h.run("", "audit", "settle", "--config", h.file); code != 1 || !strings.Contains(said, "--reason") {
		t.Errorf("settled without a reason: exit %d\n%s", code, said)
	}
	if out := h.must("", "audit", "settle", "--reason", "drill-17"); !strings.Contains(out, "settled") || !strings.Contains(out, "nothing is wrong") {
		t.Error(out)
	}
	h.must("", "audit", "verify")
	if out, _, _ := h.run("", "status", "--config", h.file); strings.Contains(out, "settle") {
		t.Error(out)
	}
	h.stop()
	h.must("", "audit", "verify")
	h.must("", "serve", "--verify")
	told := false
	_ = audit.Read(events, func(e gate.Event) error {
		told = told || e.Decision.Reason == "audit.settled" && strings.Contains(e.Note, "drill-17") && strings.Contains(e.Note, whoAsks())
		return nil
	})
	if !told {
		t.Error("no event tells who has settled it and why")
	}
}

// Keys that are rotated away take nothing with them: checkpoints of before are still believed, and backups of before proven.
func TestRotationOrphansNothing(t *testing.T) {
	t.Parallel()
	key, recipient := offline(t)
	place := t.TempDir()
	h := newMachine(t, place, recipient, thing(t))
	h.start()
	m := h.create()
	for range 2 {
		h.must("", "key", "rotate")
	}
	h.must("", "audit", "verify")
	h.must("", "backup", "verify", m.Name)
	h.stop()
	out := h.must("", "audit", "verify", "--json")
	var r audit.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || !r.OK || !r.Anchored() || r.Chains[0].Checked < 2 {
		t.Errorf("%v\n%s", err, out)
	}
	into := filepath.Join(t.TempDir(), "state")
	out, said, code := h.run("", "backup", "restore", m.Name, "--identity", key, "--into", into, "--config", h.file, "--json")
	var done restoredState
	if err := json.Unmarshal([]byte(out), &done); err != nil || code != 0 || len(done.Void) != 2 {
		t.Errorf("exit %d, %v\n%s%s", code, err, out, said)
	}
}

// A root key that people hold is not asked for again to prove a backup: the keys in use open the copy, and that is said.
func TestProofWithoutTheRootKey(t *testing.T) {
	t.Parallel()
	_, recipient := offline(t)
	h := newMachine(t, t.TempDir(), recipient, thing(t))
	text, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	for len(h.list()) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	before := h.list()[0]
	h.write(h.file, string(text)+"key: {root: {shares: {threshold: 2, of: 3}}}\n")
	h.must("", "key", "rekey")
	h.must("", "backup", "verify", before) // under the root key of before
	if out := h.must("", "backup", "create"); !strings.Contains(out, "not opened anew") || !strings.Contains(out, "proof ") {
		t.Error(out)
	}
	h.stop()
}

// serve --verify makes nothing that is missing, and says what is wrong.
func TestVerifyNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, recipient := offline(t)
	h := newMachine(t, t.TempDir(), recipient, thing(t))
	if out, _, code := h.run("", "serve", "--verify", "--config", h.file); code != 1 || !strings.Contains(out, "BAD") {
		t.Errorf("without a state: exit %d\n%s", code, out)
	}
	for _, name := range []string{"store.db", "keyring.json"} {
		if _, err := os.Stat(filepath.Join(h.state(), name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	h.must("value", "secret", "set", "shop/password")
	out := h.must("", "serve", "--verify", "--json")
	var v verified
	if err := json.Unmarshal([]byte(out), &v); err != nil || !v.OK || len(v.Checks) != 5 {
		t.Errorf("%v\n%s", err, out)
	}
	path := filepath.Join(h.state(), "store.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h.write(path, string(data[:len(data)/2]))
	if out, said, code := h.run("", "serve", "--verify", "--config", h.file); code != 1 {
		t.Errorf("half a store: exit %d\n%s%s", code, out, said)
	}
	h.write(path, string(data))
	h.write(h.file, "guards: {rat: {}}\n")
	if _, said, code := h.run("", "serve", "--verify", "--config", h.file); code != 1 || !strings.Contains(said, "rat") {
		t.Errorf("a mistake: exit %d\n%s", code, said)
	}
}

// Files of a document keep their places among each other, whatever they are called.
func TestLayout(t *testing.T) {
	p := &papers{file: "/etc/gate machine/conf/gatehouse.yaml", files: map[string][]byte{
		"/etc/gate machine/conf/gatehouse.yaml": nil, "/etc/gate machine/.hidden/ö: 100%.yaml": nil, "/etc/gate machine/conf/../contracts/" + strings.Repeat("x", 200): nil,
	}}
	files, document, err := p.layout()
	if err != nil || document != "conf/gatehouse.yaml" || len(files) != 3 {
		t.Fatalf("%q, %q, %v", files, document, err)
	}
	o := backup.Opened{Directory: t.TempDir(), Manifest: backup.Manifest{Facts: map[string]string{}}}
	for name := range files {
		part := partName(name)
		if part != "document/"+name {
			o.Manifest.Facts[nameFact+part] = name
		}
		path := o.Path(part)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := placePapers(o); err != nil {
			t.Fatal(err)
		}
	}
	for name := range files {
		if _, err := os.Stat(filepath.Join(o.Directory, "document", name)); err != nil {
			t.Error(err)
		}
	}
}
