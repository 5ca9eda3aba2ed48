package apikey_test

import (
	"encoding/base32"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// shelf is the keys of a test.
type shelf struct {
	keys   map[apikey.Digest]*apikey.Entry
	silent bool
}

func (s *shelf) Find(d apikey.Digest) *apikey.Entry { return s.keys[d] }
func (s *shelf) Heard() bool                        { return !s.silent }

func (s *shelf) put(t testing.TB, change func(*apikey.Key)) (id, key string) {
	t.Helper()
	id, key = fresh(t)
	k := apikey.Key{ID: id, Owner: "billing", Scopes: []string{"orders:read"}, Roles: []string{"partner"}, APIs: []string{"shop"}, Created: noon().Add(-time.Hour), Expires: noon().Add(time.Hour)}
	if change != nil {
		change(&k)
	}
	s.keys[apikey.DigestOf(key)] = apikey.NewEntry(k, apikey.DigestOf(key))
	return id, key
}

func asked(field string, values ...string) *gate.Exchange {
	fields := http.Header{}
	if len(values) > 0 {
		fields[field] = values
	}
	return &gate.Exchange{Request: &canon.Request{Method: "GET", Path: "/orders", Fields: fields}}
}

const field = "X-Api-Key"

func TestWhoCalls(t *testing.T) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	id, key := s.put(t, nil)
	r := apikey.New("shop", field, s, noon)
	p, found, v := r.Read(t.Context(), asked(field, key))
	if !found || !v.Allowed() {
		t.Fatalf("%+v", v)
	}
	if p.Issuer != apikey.Issuer || p.Subject != "billing" || p.Token != id || !p.Expires.Equal(noon().Add(time.Hour)) || p.Scopes[0] != "orders:read" || p.Roles[0] != "partner" {
		t.Errorf("%+v", p)
	}
	if !s.keys[apikey.DigestOf(key)].Used().Equal(noon()) {
		t.Error("the use is not noted")
	}
	for _, x := range []*gate.Exchange{asked(field), asked("Authorization", "ApiKey "+key), asked("X-Other-Key", key)} {
		if p, found, v := r.Read(t.Context(), x); p != nil || found || !v.Allowed() {
			t.Errorf("%v: found %v, %+v", x.Request.Fields, found, v)
		}
	}
}

// E23, E25, E32, E35: whatever isn't a whole key in force for this API is a refusal, and repeats nothing.
func TestRefusals(t *testing.T) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	id, good := s.put(t, nil)
	_, ended := s.put(t, func(k *apikey.Key) { k.Expires = noon() })
	_, revoked := s.put(t, func(k *apikey.Key) { k.Revoked = &apikey.Revoking{By: "ann"} })
	_, elsewhere := s.put(t, func(k *apikey.Key) { k.APIs = []string{"shop2", "sho"} })
	_, nobodys := fresh(t)
	forged := withID(t, nobodys, id)
	r := apikey.New("shop", field, s, noon)
	for _, c := range []struct {
		name   string
		values []string
		reason gate.Reason
	}{
		{"empty", []string{""}, apikey.Malformed},
		{"any word", []string{"letmein"}, apikey.Malformed},
		{"truncated", []string{good[:len(good)-1]}, apikey.Malformed},
		{"only the prefix and the id", []string{good[:13]}, apikey.Malformed},
		{"longer", []string{good + "A"}, apikey.Malformed},
		{"two of them", []string{good, good}, apikey.Malformed},
		{"a list", []string{good + ", " + good}, apikey.Malformed},
		{"the scheme before", []string{"Bearer " + good}, apikey.Malformed},
		{"nobody's", []string{nobodys}, apikey.Unknown},
		{"a known id and another secret", []string{forged}, apikey.Unknown},
		{"ended", []string{ended}, apikey.Ended},
		{"revoked", []string{revoked}, apikey.Revoked},
		{"for other APIs", []string{elsewhere}, apikey.Elsewhere},
	} {
		p, found, v := r.Read(t.Context(), asked(field, c.values...))
		if p != nil || !found || v.Allowed() || v.Code != gate.NoIdentity || v.Reason != c.reason {
			t.Errorf("%s: found %v, %+v", c.name, found, v)
		}
		if text := v.Detail + v.Shown + v.Fix + v.Rule; strings.Contains(text, good[13:25]) || len(c.values[0]) > 30 && strings.Contains(text, c.values[0][13:25]) {
			t.Errorf("%s: the key stands in %q", c.name, text)
		}
	}
}

// withID is a well-formed key of an id, with the secret of another: its checksum is right.
func withID(t *testing.T, key, id string) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(strings.ToUpper(id)) // the first bits that Make reads
	if err != nil {
		t.Fatal(err)
	}
	got, forged, err := apikey.Make(strings.NewReader(string(raw) + strings.Repeat("s", 32)))
	if err != nil || got != id || forged == key {
		t.Fatal(got, err)
	}
	return forged
}

// E35: of a key that isn't there and of one with another secret the same is said, also while the store is silent.
func TestAlike(t *testing.T) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	id, good := s.put(t, nil)
	_, nobodys := fresh(t)
	r := apikey.New("shop", field, s, noon)
	say := func(key string) (gate.Code, gate.Reason, string) {
		_, _, v := r.Read(t.Context(), asked(field, key))
		return v.Code, v.Reason, strings.ReplaceAll(v.Detail, key[4:12], "ID")
	}
	for _, silent := range []bool{false, true} {
		s.silent = silent
		c1, r1, d1 := say(nobodys)
		c2, r2, d2 := say(withID(t, good, id))
		if c1 != c2 || r1 != r2 || d1 != d2 || silent != (r1 == apikey.Unsure) || silent != (c1 == gate.Unavailable) {
			t.Errorf("silent %v: %s %s %q and %s %s %q", silent, c1, r1, d1, c2, r2, d2)
		}
		if _, _, v := r.Read(t.Context(), asked(field, good)); !v.Allowed() {
			t.Errorf("a known key holds while the store is silent: %+v", v)
		}
	}
	if _, found, v := apikey.New("shop", field, nil, noon).Read(t.Context(), asked(field, good)); !found || v.Reason != apikey.Unsure {
		t.Errorf("without keys: %+v", v)
	}
}

// A key in an address is refused, wherever it stands there, and whatever stands in its field.
func TestInTheAddress(t *testing.T) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	id, key := s.put(t, nil)
	r := apikey.New("shop", field, s, noon)
	for name, change := range map[string]func(*canon.Request){
		"a value":        func(q *canon.Request) { q.Query = []canon.Pair{{Name: "api_key", Value: key}} },
		"part of one":    func(q *canon.Request) { q.Query = []canon.Pair{{Name: "a"}, {Name: "b", Value: "x:" + key + ";"}} },
		"a name":         func(q *canon.Request) { q.Query = []canon.Pair{{Name: key}} },
		"path":           func(q *canon.Request) { q.Path = "/keys/" + key + "/orders" },
		"beside a field": func(q *canon.Request) { q.Fields[field], q.Path = []string{key}, "/"+key },
	} {
		x := asked(field)
		change(x.Request)
		p, found, v := r.Read(t.Context(), x)
		if p != nil || !found || v.Reason != apikey.InURL || !strings.Contains(v.Detail, "gatehouse apikey rotate "+id) || strings.Contains(v.Detail, key[13:]) {
			t.Errorf("%s: %v %+v", name, found, v)
		}
	}
	// Of a key that somebody made up with a known id nobody is told to replace the true one.
	_, other := fresh(t)
	x := asked(field)
	x.Request.Query = []canon.Pair{{Name: withID(t, other, id)}}
	if _, _, v := r.Read(t.Context(), x); v.Reason != apikey.InURL || strings.Contains(v.Detail, "rotate") {
		t.Errorf("made up: %+v", v)
	}
	x = asked(field, key)
	x.Request.Query = []canon.Pair{{Name: "q", Value: key[:40]}, {Name: "r", Value: apikey.Prefix}}
	if _, _, v := r.Read(t.Context(), x); !v.Allowed() {
		t.Errorf("what is no key may stand in an address: %+v", v)
	}
}

// A key that is good costs its checksum, with the two small buffers of that, and its digest.
func TestCost(t *testing.T) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	_, key := s.put(t, nil)
	r, x := apikey.New("shop", field, s, noon), asked(field, key)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = r.Read(t.Context(), x) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRead(b *testing.B) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	_, key := s.put(b, nil)
	r, x := apikey.New("shop", field, s, noon), asked(field, key)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = r.Read(b.Context(), x)
	}
}
