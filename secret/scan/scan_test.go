package scan_test

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
	"github.com/gatehouse-sec/gatehouse/secret/scan"
)

// text is n letters by chance. No token stands in this file: each is made when the test runs.
func text(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for i, b := range raw {
		raw[i] = letters[int(b)%len(letters)]
	}
	return string(raw)
}

func pemKey() string {
	raw := make([]byte, 300)
	_, _ = rand.Read(raw)
	body := base64.StdEncoding.EncodeToString(raw)
	var b strings.Builder
	b.WriteString("-----BEGIN " + "EC PRIVATE KEY-----\n")
	for len(body) > 64 {
		b.WriteString(body[:64] + "\n")
		body = body[64:]
	}
	return b.String() + body + "\n-----END " + "EC PRIVATE KEY-----\n"
}

// Every kind in every sort of file: found once, at its place, never repeated.
func TestFindings(t *testing.T) {
	github, password, random := "gh"+"p_"+text(36), text(6)+"7Q"+text(6), text(44)
	for !leak.Looks(random) {
		random = text(44)
	}
	key := pemKey()
	tree := fstest.MapFS{
		"gatehouse.yaml":        {Data: []byte("store:\n  url: postgres://shop:" + password + "@db/shop\n  token: " + github + "\n")},
		"src/main.go":           {Data: []byte("package main\n\nvar token = \"" + github + "\"\n")},
		"deploy/tls.pem":        {Data: []byte("a line\n" + key + "after: " + random + "\n")},
		"deploy/cert.pem":       {Data: []byte("-----BEGIN CERTIFICATE-----\n" + strings.ReplaceAll(key[31:len(key)-30], "-", "A") + "\n-----END CERTIFICATE-----\n")},
		".env":                  {Data: []byte("A=1\nDB_PASSWORD=" + password + "\n")},
		"ünï/öö.yaml":           {Data: []byte("ääää: " + github + "\r\n")},
		".git/config":           {Data: []byte("token = " + github)},
		"node_modules/x/a.json": {Data: []byte(github)},
		"logo.png":              {Data: []byte("PNG\x00" + github)},
		"go.sum":                {Data: []byte("example.com/x v1.0.0 h1:" + base64.StdEncoding.EncodeToString([]byte(text(32))) + "\n")},
		"empty":                 {Data: nil},
	}
	r, err := scan.Tree(t.Context(), tree, ".", scan.Options{})
	if err != nil || r.Stopped != "" || len(r.Left) != 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	var places []string
	for _, f := range r.Findings {
		places = append(places, fmt.Sprintf("%s:%d:%d %s", f.File, f.Line, f.Column, f.Kind))
	}
	slices.Sort(places)
	want := []string{
		".env:2:13 literal under a secret's name", "deploy/tls.pem:2:1 private key", "deploy/tls.pem:" + fmt.Sprint(2+strings.Count(key, "\n")) + ":8 random text",
		"gatehouse.yaml:2:24 password in a URL", "gatehouse.yaml:3:10 github token", "src/main.go:3:14 github token", "ünï/öö.yaml:1:7 github token",
	}
	slices.Sort(want)
	if !slices.Equal(places, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(places, "\n"), strings.Join(want, "\n"))
	}
	out, _ := json.Marshal(r)
	for _, s := range []string{github, password, random, key[40:60]} {
		for n := len(s); n >= 10; n-- {
			if strings.Contains(string(out), s[:n]) {
				t.Errorf("the report repeats %d letters of a secret", n)
				break
			}
		}
	}
}

func TestAllowedByAComment(t *testing.T) {
	token := "gh" + "p_" + text(36)
	for _, c := range []struct {
		name, text string
		findings   []string
		allowed    int
	}{
		{"on the line", token + " # gatehouse:allow-secret revoked in 2024\n", nil, 1},
		{"on the line before", "# gatehouse:allow-secret example of the docs\n" + token + "\n", nil, 1},
		{"for one line only", "# gatehouse:allow-secret example of the docs\n" + token + "\n" + token, []string{"github token"}, 1},
		{"without a reason", token + " # gatehouse:allow-secret\n", []string{"github token", "allowed without a reason"}, 0},
		{"in HTML", "<!-- gatehouse:allow-secret: an example -->\n" + token, nil, 1},
		{"empty reason in HTML", "<!-- gatehouse:allow-secret -->\n" + token, []string{"allowed without a reason", "github token"}, 0},
	} {
		r := scan.File("a.md", []byte(c.text), scan.Options{})
		var kinds []string
		for _, f := range r.Findings {
			kinds = append(kinds, f.Kind)
		}
		slices.Sort(kinds)
		slices.Sort(c.findings)
		if !slices.Equal(kinds, c.findings) || r.Allowed != c.allowed {
			t.Errorf("%s: %q, %d allowed", c.name, kinds, r.Allowed)
		}
	}
}

// A scan ends within its bounds, and says so.
func TestBounds(t *testing.T) {
	token := "gh" + "p_" + text(36)
	tree := fstest.MapFS{}
	for i := range 50 {
		tree[fmt.Sprintf("f%02d", i)] = &fstest.MapFile{Data: []byte(strings.Repeat(token+"\n", 20))}
	}
	tree["long"] = &fstest.MapFile{Data: make([]byte, 1000)}
	run := func(ctx context.Context, o scan.Options) scan.Report {
		t.Helper()
		r, err := scan.Tree(ctx, tree, ".", o)
		if err != nil {
			t.Error(err)
		}
		return r
	}
	if r := run(t.Context(), scan.Options{MaxFindings: 7}); len(r.Findings) != 7 || !strings.Contains(r.Stopped, "7 findings") {
		t.Errorf("%d, %s", len(r.Findings), r.Stopped)
	}
	if r := run(t.Context(), scan.Options{MaxTotal: 2000}); r.Bytes > 3000 || !strings.Contains(r.Stopped, "2000 bytes") {
		t.Errorf("%d, %s", r.Bytes, r.Stopped)
	}
	if r := run(t.Context(), scan.Options{MaxFile: 900, MaxFindings: 5000}); len(r.Left) != 1 || r.Left[0].File != "long" || r.Stopped != "" {
		t.Errorf("%+v, %s", r.Left, r.Stopped)
	}
	at := time.Unix(0, 0)
	if r := run(t.Context(), scan.Options{MaxTime: time.Minute, Now: func() time.Time { at = at.Add(time.Second); return at }}); r.Stopped == "" || r.Files > 62 {
		t.Errorf("%d, %s", r.Files, r.Stopped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := run(ctx, scan.Options{}); r.Stopped != "was told to stop" || r.Files != 0 {
		t.Errorf("%d, %s", r.Files, r.Stopped)
	}
	if _, err := scan.Tree(t.Context(), tree, "none", scan.Options{}); err == nil {
		t.Error("scanned nothing without a word")
	}
}

// Links that lead round in a circle or out of the tree, pipes, and files that can't be read.
func TestOddTrees(t *testing.T) {
	folder := t.TempDir()
	token := "gh" + "p_" + text(36)
	outside := filepath.Join(t.TempDir(), "outside")
	_ = os.WriteFile(outside, []byte(token), 0o600)
	_ = os.WriteFile(filepath.Join(folder, "a"), []byte(token+"\n"), 0o600)
	_ = os.Symlink(".", filepath.Join(folder, "loop"))
	_ = os.Symlink(outside, filepath.Join(folder, "out"))
	_ = os.Symlink("nowhere", filepath.Join(folder, "dangling"))
	r, err := scan.Tree(t.Context(), os.DirFS(folder), ".", scan.Options{})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].File != "a" || r.Files != 1 || len(r.Left) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	broken := failing{fstest.MapFS{"a": {Data: []byte("x\n" + token)}, "b": {Data: []byte(token)}}}
	r, err = scan.Tree(t.Context(), broken, ".", scan.Options{})
	if err != nil || len(r.Left) != 2 || r.Left[0].Why != "input/output error" {
		t.Errorf("%+v, %v", r, err)
	}
}

// failing is a file system whose files fail when they are read.
type failing struct{ fstest.MapFS }

func (f failing) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if info, e := fs.Stat(f.MapFS, name); err != nil || e != nil || info.IsDir() {
		return file, err
	}
	return failingFile{file}, nil
}

type failingFile struct{ fs.File }

func (f failingFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: "x", Err: errors.New("input/output error")}
}

// A very long line, as of a minified program, is looked at whole.
func TestLongLines(t *testing.T) {
	token := "gh" + "p_" + text(36)
	filler := strings.Repeat("var a = 1; ", 20000)
	line := filler[:65500] + " " + token + " " + filler + " " + token
	r := scan.File("a.js", []byte(line), scan.Options{})
	if len(r.Findings) != 2 || r.Findings[0].Column != 65502 {
		t.Errorf("%+v", r.Findings)
	}
	for _, f := range r.Findings {
		if len([]rune(f.Excerpt)) > 130 {
			t.Errorf("an excerpt of %d characters", len([]rune(f.Excerpt)))
		}
	}
}

// This repository's own programs and pages: measured, so that people keep trusting the findings.
func TestFalsePositivesOnOurOwnTree(t *testing.T) {
	bounds := map[string]int{"../../docs": 2, "../../gate": 0, "../../pipeline": 0, "../../guard": 2, "../../listen": 0, "../../upstream": 0, "../../audit": 0}
	for folder, most := range bounds {
		r, err := scan.Tree(t.Context(), os.DirFS(folder), ".", scan.Options{})
		if err != nil || r.Stopped != "" {
			t.Fatalf("%s: %v, %s", folder, err, r.Stopped)
		}
		n := 0
		for _, f := range r.Findings {
			if strings.HasSuffix(f.File, "_test.go") || strings.HasSuffix(f.File, ".txtar") {
				continue
			}
			n++
			t.Logf("%s/%s:%d:%d %s: %s", folder, f.File, f.Line, f.Column, f.Kind, f.Excerpt)
		}
		if n > most {
			t.Errorf("%s: %d findings in %d files, at most %d are known", folder, n, r.Files, most)
		}
	}
}

// FuzzFile: no text panics, findings lie within it, and no excerpt holds what was found.
func FuzzFile(f *testing.F) {
	f.Add("a.yaml", "password: hunter2hunter\ntoken: x")
	f.Add("a", pemKey())
	f.Add("a.go", "// gatehouse:allow-secret\nx := \"y\"\r\n\xff\xfe")
	f.Fuzz(func(t *testing.T, name, content string) {
		r := scan.File(name, []byte(content), scan.Options{})
		lines := strings.Split(content, "\n")
		for _, found := range r.Findings {
			if found.Line < 1 || found.Line > len(lines) || found.Column < 1 || found.Column > len(lines[found.Line-1])+1 || found.Kind == "" {
				t.Errorf("%+v in %q", found, content)
			}
			if strings.ContainsAny(found.Excerpt, "\x1b\r\n\x00") || len([]rune(found.Excerpt)) > 130 {
				t.Errorf("%q", found.Excerpt)
			}
		}
	})
}

// What our own programs, tests and pages hold is no secret, or has its reason in the list: else nobody would believe a gate
// that says otherwise.
func TestThisRepositoryScansClean(t *testing.T) {
	r, err := scan.Tree(t.Context(), os.DirFS("../.."), ".", scan.Options{})
	if err != nil || r.Stopped != "" {
		t.Fatalf("%v, %s", err, r.Stopped)
	}
	for _, f := range r.Findings {
		t.Errorf("%s:%d:%d %s: %s", f.File, f.Line, f.Column, f.Kind, f.Excerpt)
	}
	list, err := os.ReadFile("../../" + scan.IgnoreFile)
	if n := strings.Count(string(list), "\n"); err != nil || n > 20 {
		t.Errorf("%d lines in %s, %v: who reads that?", n, scan.IgnoreFile, err)
	}
}

// Whatever makes examples known must not make secrets unknown: nearly every one by chance is found, in every form.
func TestSecretsByChanceAreFound(t *testing.T) {
	raw := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	for name, c := range map[string]struct {
		most  int // missed of 1000
		write func() string
	}{
		"letters and digits, 24": {60, func() string { return "x: " + text(24) }},
		"letters and digits, 32": {30, func() string { return "x: " + text(32) }},
		"letters and digits, 44": {10, func() string { return "x: " + text(44) }},
		"hex, 32 bytes":          {5, func() string { return fmt.Sprintf("x: %x", raw(32)) }},
		"hex, 16 bytes":          {10, func() string { return fmt.Sprintf("x: %x", raw(16)) }},
		"base64":                 {10, func() string { return "x: " + base64.StdEncoding.EncodeToString(raw(32)) }},
		"base64 for URLs":        {10, func() string { return "x: " + base64.RawURLEncoding.EncodeToString(raw(32)) }},
		"base32":                 {50, func() string { return "x: " + base32.StdEncoding.EncodeToString(raw(20)) }},
		"in a variable":          {60, func() string { return "NAME=" + text(28) }},
		"a password":             {5, func() string { return "password: " + text(12) }},
		"a password in a URL":    {5, func() string { return "postgres://u:" + text(12) + "@h/db" }},
		"a token of GitHub":      {5, func() string { return "gh" + "p_" + text(36) }},
		"a signed token": {5, func() string {
			e := base64.RawURLEncoding.EncodeToString
			return "Bearer " + e([]byte(`{"alg":"ES256"}`)) + "." + e([]byte(`{"sub":"alice"}`)) + "." + e(raw(64))
		}},
	} {
		missed := 0
		for range 1000 {
			if len(scan.File("a.yaml", []byte(c.write()), scan.Options{}).Findings) == 0 {
				missed++
			}
		}
		if missed > c.most {
			t.Errorf("%s: %d of 1000 were missed, at most %d may be", name, missed, c.most)
		}
		t.Logf("%s: %d of 1000 missed", name, missed)
	}
}

// What tests and pages are full of is no finding.
func TestExamplesAreKnown(t *testing.T) {
	e := base64.RawURLEncoding.EncodeToString
	for name, line := range map[string]string{
		"id of an event":        "gatehouse explain 01K5V8Q2ZJX3M9T7WBQ4RNE0AF",
		"backup":                "gatehouse backup restore gatehouse-20261122T120000Z-9a1f77cd-1048576.age",
		"handshake":             `"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x4tqZ1rDQ6iT0sQ9JcVb2w==\r\n"`,
		"trace":                 `"00-7d1c3b5e9f02a4680b7d1c3b5e9f0246-b7ad6b7169203331-01"`,
		"counting bytes":        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"counting in turns":     `cardToken: tok_a1b2c3d4e5f6a7b8`,
		"name of a test":        "func TestK8WhatNodesShareIsNoDurableRecord(t *testing.T) {",
		"receiver of a backup":  "recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]",
		"header of a token":     `const part = "` + e([]byte(`{"alg":"ES256","kid":"k1"}`)) + `"`,
		"token without a mark":  "Bearer " + e([]byte(`{"alg":"RS256"}`)) + "." + e([]byte(`{"sub":"alice","aud":"api"}`)) + "." + e([]byte("signature signature")),
		"encrypted, no content": "Bearer " + e([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM"}`)) + ".YQ.YQ.YQ.YQ",
		"key without a key":     `"tls.key": "-----BEGIN ` + `PRIVATE KEY-----\nAAAA\n-----END ` + `PRIVATE KEY-----\n"`,
		"canary":                `const password = "canary-pg-5e1d0b7c"`,
		"joined before":         `"{\"password\":\"" + next() + "\"}"`,
		"joined behind":         `{"password": "pw-of-" + user}`,
	} {
		if r := scan.File("a.go", []byte(line), scan.Options{}); len(r.Findings) > 0 {
			t.Errorf("%s: %+v", name, r.Findings)
		}
	}
}

func TestTheListOfWhatIsIgnored(t *testing.T) {
	token := "gh" + "p_" + text(36)
	for name, c := range map[string]struct {
		list    string
		allowed int
		found   []string
	}{
		"none":             {"", 0, []string{"a/b.json github token", "c.txt github token"}},
		"a file":           {"# why\n\na/*.json: recorded answers\n", 1, []string{"c.txt github token"}},
		"of a kind":        {"a/*.json [github token]: recorded answers\nc.txt [random text, npm token]: as well\n", 1, []string{".gatehouse-scan-ignore ignored for nothing: no such finding is there", "c.txt github token"}},
		"a folder":         {"a/: recorded answers\n", 0, []string{"c.txt github token"}},
		"a folder's kind":  {"a/ [github token]: recorded answers\n", 1, []string{"c.txt github token"}},
		"no reason":        {"a/b.json:\na/b.json: x\n", 0, []string{".gatehouse-scan-ignore ignored without a reason", ".gatehouse-scan-ignore ignored without a reason", "a/b.json github token", "c.txt github token"}},
		"for nothing":      {"d.txt: gone since\n", 0, []string{".gatehouse-scan-ignore ignored for nothing: no such finding is there", "a/b.json github token", "c.txt github token"}},
		"everything":       {"*: I am lazy\n", 0, []string{".gatehouse-scan-ignore not understood; write a path below this folder, such as testdata/*.json or testdata/", "a/b.json github token", "c.txt github token"}},
		"out of the tree":  {"../a: it is mine\n", 0, []string{".gatehouse-scan-ignore not understood; write a path below this folder, such as testdata/*.json or testdata/", "a/b.json github token", "c.txt github token"}},
		"half a list":      {"c.txt [github token: forgot it\n", 0, []string{".gatehouse-scan-ignore not understood; write PATTERN [KIND, KIND]: REASON", "a/b.json github token", "c.txt github token"}},
		"a secret in here": {"c.txt: it was " + token + "\n", 1, []string{".gatehouse-scan-ignore github token", "a/b.json github token"}},
	} {
		tree := fstest.MapFS{"a/b.json": {Data: []byte(token)}, "c.txt": {Data: []byte(token)}}
		if c.list != "" {
			tree[scan.IgnoreFile] = &fstest.MapFile{Data: []byte(c.list)}
		}
		r, err := scan.Tree(t.Context(), tree, ".", scan.Options{})
		var found []string
		for _, f := range r.Findings {
			found = append(found, f.File+" "+f.Kind)
		}
		slices.Sort(found)
		if err != nil || !slices.Equal(found, c.found) || r.Allowed != c.allowed {
			t.Errorf("%s: %v, %d allowed\n%s", name, err, r.Allowed, strings.Join(found, "\n"))
		}
	}
}
