package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
)

// animals is a core rule set that knows one word.
func animals(word string) fstest.MapFS {
	return fstest.MapFS{
		"crs-setup.conf.example": {Data: []byte("SecDefaultAction \"phase:2,log,pass\"\n")},
		"rules/REQUEST-942.conf": {Data: []byte("SecComponentSignature \"OWASP_CRS/0.1.0\"\nSecRule REQUEST_HEADERS:X-Animal \"@pmFromFile animals.data\" \"id:942100,phase:1,deny,msg:'An animal'\"\n")},
		"rules/animals.data":     {Data: []byte(word + "\n")},
	}
}

// release puts a core rule set into the folder crs, and gives its pin.
func (r *house) release(files fstest.MapFS) string {
	r.t.Helper()
	folder := filepath.Join(r.dir, "crs")
	if err := os.RemoveAll(folder); err != nil {
		r.t.Fatal(err)
	}
	if err := os.CopyFS(folder, files); err != nil {
		r.t.Fatal(err)
	}
	opened, err := seclang.OpenRelease(seclang.Dir(files))
	if err != nil {
		r.t.Fatal(err)
	}
	return opened.Pin
}

// Core rules in a folder apply when they are the ones that were pinned. Whatever else comes to lie there changes nothing: the
// rules in force stay so, until a document pins what is there.
func TestPinnedRulesStayInForce(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	document := func(pin string) string {
		return listening + fmt.Sprintf(`
guards:
  identity: {development: {accept_risk: a test}}
  waf:
    rules:
      core:
        from: crs
        pin: %q
apis:
  - {name: a, hosts: [a.test], contract: orders.yaml, to: [%q]}
  - {name: b, hosts: [b.test], contract: orders.yaml, to: [%q]}
`, pin, server.url(), server.url())
	}
	r := prepared(t, "", nil)
	first := r.release(animals("zebra"))
	r.write("gatehouse.yaml", document(first))
	r.start()
	denies := func(host, animal string) bool {
		t.Helper()
		q := r.request(http.MethodGet, host, "/products", "")
		q.Header.Set("X-Animal", animal)
		got, err := r.do(q)
		if err != nil || got.status != 200 && got.status != 403 {
			t.Fatal(got, err)
		}
		return got.status == 403
	}
	in := func(animal, other string) {
		t.Helper()
		for _, host := range []string{"a.test", "b.test"} {
			if !denies(host, animal) || denies(host, other) {
				t.Errorf("%s: the rules that deny a %s are not in force", host, animal)
			}
		}
	}
	in("zebra", "lion")
	policy := r.node.gateway.Load().Version()

	second := r.release(animals("lion"))
	err := r.reload(document(first))
	want := fmt.Sprintf(`%s:9:14: guards.waf.rules.core.pin: the core rules in crs are not those of this pin: they are %s; put back what was pinned, or try what is there (gatehouse waf try --rules crs --requests DIR`, r.file, second)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	in("zebra", "lion")
	if err := os.RemoveAll(filepath.Join(r.dir, "crs")); err != nil {
		t.Fatal(err)
	}
	if err := r.reload(document(first)); err == nil || !strings.Contains(err.Error(), r.file+":8:15: guards.waf.rules.core.from: crs: ") {
		t.Errorf("without a folder: %v", err)
	}
	in("zebra", "lion")
	if now := r.node.gateway.Load().Version(); now != policy {
		t.Error("a refused document is in force")
	}

	r.release(animals("lion"))
	if err := r.reload(document(second)); err != nil {
		t.Fatal(err)
	}
	in("lion", "zebra")
	if r.node.gateway.Load().Version() == policy {
		t.Error("other rules, and events name the same policy")
	}
	if said := r.node.report().CoreRules; said != "OWASP_CRS/0.1.0, "+second {
		t.Errorf("the node says that it judges by %q", said)
	}
	// the rules are a part of what is in force, so that they stand in backups and in notes
	files, _, err := r.node.papers.Load().layout()
	if err != nil || string(files["crs/rules/animals.data"]) != "lion\n" || len(files) != 5 {
		t.Errorf("%d files, %v", len(files), err)
	}
}
