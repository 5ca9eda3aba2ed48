package service

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// A target full of holes must not be reachable from elsewhere.
func TestLoopbackOnly(t *testing.T) {
	for address, fine := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:0": true, "0.0.0.0:0": false, ":7001": false, "192.0.2.1:80": false, "localhost:0": false, "": false,
	} {
		if err := loopback(address); (err == nil) != fine {
			t.Errorf("%q: %v", address, err)
		}
	}
	shop, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	if err := shop.Start(map[string]string{"orders": "0.0.0.0:0"}); err == nil || !strings.Contains(err.Error(), "orders") {
		t.Errorf("started on all addresses: %v", err)
	}
}

// Behind Gatehouse its fields win over everything that a client may bring along (B1, B13).
func TestCaller(t *testing.T) {
	token := "Bearer h." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"tok","roles":["admin"],"scope":"a b"}`)) + ".s"
	for name, c := range map[string]struct {
		fields  map[string]string
		subject string
		role    string
	}{
		"nobody":        {nil, "", ""},
		"gatehouse":     {map[string]string{"Gatehouse-Subject": "ann", "Gatehouse-Roles": "customer,support", "X-User": "eve", "Authorization": token}, "ann", "support"},
		"forged proxy":  {map[string]string{"X-User": "eve", "X-Role": "admin"}, "eve", "admin"},
		"forwarded":     {map[string]string{"X-Forwarded-User": "eve"}, "eve", ""},
		"folded":        {map[string]string{"Gatehouse-Subject": "ann", "Gatehouse_Subject": "eve"}, "eve", ""},
		"unread token":  {map[string]string{"Authorization": token}, "tok", "admin"},
		"broken token":  {map[string]string{"Authorization": "Bearer a.!.c"}, "", ""},
		"short token":   {map[string]string{"Authorization": "Bearer a"}, "", ""},
		"no JSON in it": {map[string]string{"Authorization": "Bearer a.YQ.c"}, "", ""},
	} {
		h := http.Header{}
		for k, v := range c.fields {
			h.Set(k, v)
		}
		who := readCaller(h)
		if who.subject != c.subject || c.role != "" && !who.is(c.role) || c.role == "" && len(who.roles) > 0 {
			t.Errorf("%s: %+v", name, who)
		}
	}
}

// The careless path: twice decoded, matrix parameters cut, dots folded.
func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b":                    "/a/b",
		"/a/..;/admin":            "/admin",
		"/a;x=1/b":                "/a/b",
		"/a%2f..%2fadmin":         "/admin",
		"/a%252f%252e%252e/admin": "/admin",
		"//a//b/":                 "/a/b",
	} {
		if got := cleanPath(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// A second start finds the rows of the first; a reset brings back the first day.
func TestReset(t *testing.T) {
	dir := t.TempDir()
	shop, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shop.services[1].db.exec(`DELETE FROM items`); err != nil {
		t.Fatal(err)
	}
	shop.Close()
	if shop, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	left := func() int {
		all, err := shop.services[1].db.dump()
		if err != nil {
			t.Fatal(err)
		}
		return len(all["items"])
	}
	if n := left(); n != 0 {
		t.Errorf("%d items after a restart, want none", n)
	}
	if err := shop.Reset(); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 4 {
		t.Errorf("%d items after a reset, want 4", n)
	}
}
