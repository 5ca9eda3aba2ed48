package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

const development = "guards: {identity: {development: {accept_risk: a test}}, waf: {off: {accept_risk: a test}}}\n"

func (r *house) reload(document string) error {
	r.t.Helper()
	r.write("gatehouse.yaml", document)
	return r.node.reload(r.t.Context())
}

func (r *house) servers() map[string]upstream.ServerState {
	states := map[string]upstream.ServerState{}
	r.node.kept.pools.each(func(api string, p *upstream.Pool) {
		for _, s := range p.State() {
			states[api+" "+s.Server] = s
		}
	})
	return states
}

// The example of the architecture: a reload that changes one API's limit opens no new upstream connection, loses no
// breaker's state and resets no counter.
func TestReloadOfOneLimitTouchesNothingElse(t *testing.T) {
	t.Parallel()
	a, good := newOrigin(t, nil), newOrigin(t, nil)
	bad := newOrigin(t, nil)
	bad.kill()
	document := func(limit string) string {
		return listening + development + fmt.Sprintf(`
apis:
  - {name: a, hosts: [a.test], contract: orders.yaml, to: ["%s"], upstream: {health: {active: off}}, guards: {limits: {url: %s}}}
  - {name: b, hosts: [b.test], contract: orders.yaml, to: ["%s", "%s"], upstream: {health: {active: off, eject_after: 2, eject_for: 1m}, breaker: {min_requests: 3}}}
`, a.url(), limit, good.url(), bad.url())
	}
	r := serving(t, document("4KiB"), nil)
	for range 20 {
		for _, host := range []string{"a.test", "b.test"} {
			if got := r.get(host, "/orders/1"); got.status != 200 {
				t.Fatalf("%s: %+v", host, got)
			}
		}
	}
	before, accepts := r.servers(), a.accepted.Load()+good.accepted.Load()
	if s := before["b "+bad.url()]; !s.Ejected {
		t.Fatalf("the dead server is not ejected: %+v", s)
	}
	left := remaining(t, r.get("a.test", "/orders/1"))
	policy := r.node.gateway.Load().Version()
	for i := range 5 {
		if err := r.reload(document(fmt.Sprintf("%dKiB", 5+i))); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"a.test", "b.test"} {
			if got := r.get(host, "/orders/1"); got.status != 200 {
				t.Fatalf("%s: %+v", host, got)
			}
		}
	}
	if now := a.accepted.Load() + good.accepted.Load(); now != accepts {
		t.Errorf("servers accepted %d connections after reloads, %d before", now, accepts)
	}
	after := r.servers()
	for name, was := range before {
		now := after[name]
		if now.Ejected != was.Ejected || now.Breaker != was.Breaker || now.Failures != was.Failures || now.Requests < was.Requests || now.Dials != was.Dials {
			t.Errorf("%s:\nbefore %+v\nafter  %+v", name, was, now)
		}
	}
	if now := remaining(t, r.get("a.test", "/orders/1")); now >= left {
		t.Errorf("%d requests left after reloads, %d before: the counters were reset", now, left)
	}
	if r.node.gateway.Load().Version() == policy {
		t.Error("the reload is not in force")
	}
	if got := r.metric(`gatehouse_reloads_total{outcome="taken"}`); got != "5" {
		t.Errorf("%q reloads counted, want 5", got)
	}
}

// remaining is what the caller may still ask, by RateLimit.
func remaining(t *testing.T, a answer) int {
	t.Helper()
	var n, after int
	field := a.fields.Get("RateLimit")
	at := strings.Index(field, `"caller"`)
	if at < 0 {
		t.Fatalf("RateLimit: %q", field)
	}
	if _, err := fmt.Sscanf(field[at:], `"caller";r=%d;t=%d`, &n, &after); err != nil {
		t.Fatalf("RateLimit: %q: %v", field, err)
	}
	return n
}

// Tokens stay verified unless what the document says of identity changes.
func TestIdentityVersion(t *testing.T) {
	t.Parallel()
	version := func(text string) string {
		d, err := config.Parse("x.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return identityVersion(d)
	}
	const base = "guards: {identity: {issuers: [{issuer: \"https://a.test\", audience: x}]}, rate: {per_caller: 20/s burst 100}}\napis: [{name: a, to: [\"http://h\"]}, {name: b, guards: {identity: {pass_credential: true}}}]\n"
	same := version(base)
	for what, c := range map[string]struct {
		old, new string
		stays    bool
	}{
		"a rate":       {"20/s", "30/s", true},
		"a server":     {"http://h", "http://i", true},
		"an API":       {"apis: [", "apis: [{name: c}, ", true},
		"an audience":  {"audience: x", "audience: y", false},
		"an issuer":    {"https://a.test", "https://b.test", false},
		"an API's own": {"pass_credential: true", "pass_credential: false", false},
		"whose it is":  {"name: b", "name: d", false},
	} {
		if (version(strings.Replace(base, c.old, c.new, 1)) == same) != c.stays {
			t.Errorf("after a change of %s: stays = %t", what, !c.stays)
		}
	}
}

// I5, I6, I9: a document that cannot be served changes nothing and is told three times: in the log, as an event, and in the
// metrics. At the start it prevents the start.
func TestRefusedDocuments(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	good := listening + development + "apis: [{name: a, contract: orders.yaml, to: [\"" + server.url() + "\"]}]\n"
	api := func(more string) string {
		return strings.Replace(good, "to: [", more+", to: [", 1)
	}
	tls := func(more string) string {
		return strings.Replace(strings.Replace(good, "http://"+server.address, "https://"+server.address, 1), "to: [", "upstream: {tls: {"+more+"}}, to: [", 1)
	}
	issuer := func(more string) string {
		return strings.Replace(good, "{identity: {", `{identity: {issuers: [{issuer: "https://id.test", audience: x, `+more+"}], ", 1)
	}
	taken := newOrigin(t, nil).address
	cases := map[string]struct{ document, why string }{
		"not YAML":              {"listen: [", ""},
		"empty":                 {"", ""},
		"an unknown word":       {good + "gaurds: {}\n", "gaurds"},
		"contract missing":      {strings.Replace(good, "orders.yaml", "nowhere.yaml", 1), "nowhere.yaml"},
		"contract empty":        {strings.Replace(good, "orders.yaml", "empty", 1), "empty"},
		"contract garbled":      {strings.Replace(good, "orders.yaml", "garbled", 1), "not YAML"},
		"CA missing":            {tls("ca: DIR/nowhere"), "nowhere"},
		"CA empty":              {tls("ca: DIR/empty"), "no certificate"},
		"CA garbled":            {tls("ca: DIR/garbled"), "no certificate"},
		"client key missing":    {tls(`client_cert: "file:DIR/nowhere", client_key: "file:DIR/nowhere"`), "nowhere"},
		"client key empty":      {tls(`client_cert: "file:DIR/empty", client_key: "file:DIR/empty"`), "empty"},
		"client key unset":      {tls(`client_cert: "env:GATEHOUSE_UNSET", client_key: "env:GATEHOUSE_UNSET"`), "GATEHOUSE_UNSET"},
		"keys missing":          {issuer("keys: DIR/nowhere"), "nowhere"},
		"keys empty":            {issuer("keys: DIR/empty"), ""},
		"keys garbled":          {issuer("keys: DIR/garbled"), ""},
		"no audience":           {strings.Replace(good, "{identity: {", `{identity: {issuers: [{issuer: "https://id.test"}], `, 1), "audience"},
		"issuer's CA missing":   {issuer("ca: DIR/nowhere"), "nowhere"},
		"issuer's CA empty":     {issuer("ca: DIR/empty"), "empty"},
		"certificate missing":   {strings.Replace(good, "listen: {", `listen: {certificates: [{cert: DIR/nowhere, key: "file:DIR/nowhere"}], `, 1), "nowhere"},
		"certificate empty":     {strings.Replace(good, "listen: {", `listen: {certificates: [{cert: DIR/empty, key: "file:DIR/empty"}], `, 1), "empty"},
		"address in use":        {strings.Replace(good, "https://127.0.0.1:0", "https://"+taken, 1), taken},
		"admin in use":          {strings.Replace(good, `admin: "http://127.0.0.1:0"`, `admin: "http://`+taken+`"`, 1), taken},
		"events nowhere":        {good + "audit: {directory: /dev/null/events}\n", "/dev/null"},
		"events also nowhere":   {good + "audit: {also: [\"file:DIR/no/where\"]}\n", "where"},
		"unrecorded, no reason": {good + "audit: {on_failure: allow}\n", "accept_risk"},
		"unknown guard key":     {api("guards: {rate: {per_adress: 5/s}}"), "per_adress"},
	}
	r := serving(t, good, map[string]string{"empty": "", "garbled": "\x00\x01 garbled {"})
	policy := r.node.gateway.Load().Version()
	refused := 0
	for name, c := range cases {
		document := strings.ReplaceAll(c.document, "DIR", r.dir)
		err := r.reload(document)
		if err == nil {
			t.Errorf("%s: taken by a reload", name)
			continue
		}
		refused++
		if !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v: does not say %q", name, err, c.why)
		}
		if got := r.get("h", "/orders/1"); got.status != 200 || r.node.gateway.Load().Version() != policy {
			t.Errorf("%s: the old document does not serve on: %+v", name, got)
		}
		fresh := prepared(t, document, map[string]string{"empty": "", "garbled": "\x00\x01 garbled {"})
		fresh.write("gatehouse.yaml", strings.ReplaceAll(c.document, "DIR", fresh.dir))
		if err := fresh.tryStart(); err == nil {
			t.Errorf("%s: started", name)
			_ = fresh.end()
		}
	}
	if got := r.metric(`gatehouse_reloads_total{outcome="refused"}`); got != fmt.Sprint(refused) {
		t.Errorf("%s refusals counted, want %d", got, refused)
	}
	r.until("all refusals are events", func() bool {
		n := 0
		for _, e := range r.events() {
			if e.Decision.Reason == "gateway.reload_refused" && e.Note != "" {
				n++
			}
		}
		return n == refused
	})
	if n := len(r.servers()); n != 1 {
		t.Errorf("%d pools are left of refused documents, want 1", n)
	}
}

// A changed document, contract or key set is read again, a ConfigMap too, whose files are links through a link ..data that
// is exchanged; a refused document is tried again when the contract it lacked appears.
func TestFilesAreWatched(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	r := prepared(t, "", nil)
	// a ConfigMap as the kubelet mounts it
	mount := func(version, document, contract string) {
		dir := filepath.Join(r.dir, "mount", version)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		r.write("mount/"+version+"/gatehouse.yaml", document)
		r.write("mount/"+version+"/api.yaml", contract)
		_ = os.Symlink(version, filepath.Join(r.dir, "mount", "..data_tmp"))
		if err := os.Rename(filepath.Join(r.dir, "mount", "..data_tmp"), filepath.Join(r.dir, "mount", "..data")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"gatehouse.yaml", "api.yaml"} {
			_ = os.Symlink("..data/"+name, filepath.Join(r.dir, "mount", name))
		}
	}
	document := listening + development + "apis: [{name: a, contract: api.yaml, to: [\"" + server.url() + "\"]}]\n"
	mount("..v1", document, orders)
	r.file = filepath.Join(r.dir, "mount", "gatehouse.yaml")
	r.start()
	hangup := make(chan os.Signal)
	watching := make(chan struct{})
	ctx := t.Context()
	go func() { r.node.watch(ctx, r.file, hangup); close(watching) }()
	reloads := func(outcome string) string { return r.metric(`gatehouse_reloads_total{outcome="` + outcome + `"}`) }

	mount("..v2", document, strings.ReplaceAll(orders, "/products", "/goods"))
	r.until("the exchanged contract is in force", func() bool { return r.get("h", "/goods").status == 200 })
	if got := r.get("h", "/products"); got.status != 404 {
		t.Errorf("the old contract's path: %+v", got)
	}

	r.write("mount/..v2/gatehouse.yaml", strings.Replace(document, "api.yaml", "later.yaml", 1))
	r.until("a document whose contract is missing is refused", func() bool { return reloads("refused") == "1" })
	if got := r.get("h", "/goods"); got.status != 200 {
		t.Errorf("the old document does not serve on: %+v", got)
	}
	if log := r.log.String(); !strings.Contains(log, "the old one stays in force") {
		t.Errorf("log: %s", log)
	}
	taken := reloads("taken")
	r.write("mount/later.yaml", orders)
	r.until("the contract that appears is in force", func() bool { return r.get("h", "/products").status == 200 })
	time.Sleep(2 * time.Second)
	if now := reloads("taken"); now != fmt.Sprint(atoi(t, taken)+1) {
		t.Errorf("%s reloads, %s before one change: unchanged files are read again", now, taken)
	}
	hangup <- os.Interrupt
	r.until("SIGHUP reads it again", func() bool { return reloads("taken") == fmt.Sprint(atoi(t, taken)+2) })
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What stands in a file that an API or a guard names is watched as well.
func TestFilesNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"keys.json", "ca.pem", "client.key", "also.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(`
guards: {identity: {issuers: [{issuer: a, keys: DIR/keys.json}]}}
apis: [{name: a, upstream: {tls: {ca: DIR/ca.pem, client_key: "file:DIR/client.key"}}}]
audit: {also: ["file:DIR/also.jsonl"]}
`, "DIR", dir)
	d, err := config.Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	files := filesNamed(d)
	slices.Sort(files)
	want := []string{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.key"), filepath.Join(dir, "keys.json")}
	if !slices.Equal(files, want) {
		t.Errorf("%q are watched, want %q", files, want)
	}
}

// The section audit and the admin address can change while requests come; the log of the new place begins without a gap.
func TestReloadOfAuditAndAdmin(t *testing.T) {
	t.Parallel()
	server := newOrigin(t, nil)
	document := func(more string) string {
		return listening + development + "apis: [{name: a, contract: orders.yaml, to: [\"" + server.url() + "\"]}]\n" + more
	}
	r := serving(t, document(""), nil)
	first := r.get("h", "/orders/x")
	old := r.node.admin.Addr
	second := filepath.Join(r.dir, "elsewhere")
	next := strings.Replace(document("audit: {directory: "+second+"}\n"), `admin: "http://127.0.0.1:0"`, `admin: "http://localhost:0"`, 1)
	if err := r.reload(next); err != nil {
		t.Fatal(err)
	}
	if r.node.admin.Addr == old || r.admin("/readyz").status != 200 {
		t.Errorf("admin at %s", r.node.admin.Addr)
	}
	got := r.get("h", "/orders/x")
	if e := r.event(got.event); e.Decision.Code != gate.InvalidInput {
		t.Errorf("event in the new place: %+v", e)
	}
	r.node.written.config.Directory = filepath.Join(r.node.state, "events")
	if e := r.event(first.event); e.ID != first.event {
		t.Errorf("event in the old place: %+v", e)
	}
	r.node.written.config.Directory = second
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
}
