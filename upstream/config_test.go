package upstream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Wrong uses: each must be refused at its place.
func TestWrongConfigurations(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var missing secret.Ref
	if err := missing.UnmarshalText([]byte("file:/nowhere/to/be/found")); err != nil {
		t.Fatal(err)
	}
	good := []string{"https://a.example"}
	for name, c := range map[string]struct {
		cfg     Config
		targets []string
		path    string
		write   string
	}{
		"balance with a typo":      {Config{Balance: "round_robbin"}, good, "balance", "round_robin"},
		"unknown protocol":         {Config{Protocol: "h2"}, good, "protocol", "h2c"},
		"unknown probe":            {Config{Health: Health{Active: "ping"}}, good, "health.active", ""},
		"probe path":               {Config{Health: Health{Path: "health"}}, good, "health.path", "/"},
		"hash of nothing":          {Config{Balance: "hash"}, good, "hash_on", "hash_on: caller"},
		"hash of a bad field":      {Config{Balance: "hash", HashOn: "header:a b"}, good, "hash_on", "hash_on: caller"},
		"hash_on without hash":     {Config{HashOn: "caller"}, good, "hash_on", "balance: hash"},
		"negative connections":     {Config{MaxConnections: -1}, good, "max_connections", ""},
		"negative head":            {Config{MaxResponseHead: -1}, good, "max_response_head", ""},
		"negative timeout":         {Config{Timeouts: Timeouts{Idle: -time.Second}}, good, "timeouts.idle", ""},
		"timeout without a unit":   {Config{Timeouts: Timeouts{FirstByte: 30}}, good, "timeouts.first_byte", ""},
		"too many attempts":        {Config{Retry: Retry{Attempts: 11}}, good, "retry.attempts", "3"},
		"budget above all":         {Config{Retry: Retry{Budget: 101}}, good, "retry.budget", ""},
		"negative breaker":         {Config{Breaker: Breaker{FailureRate: -1}}, good, "breaker.failure_rate", ""},
		"missing CA (I5)":          {Config{TLS: TLS{CA: empty + "x"}}, good, "tls.ca", ""},
		"empty CA (I5)":            {Config{TLS: TLS{CA: empty}}, good, "tls.ca", ""},
		"half a client":            {Config{TLS: TLS{ClientCert: missing}}, good, "tls.client_cert", ""},
		"missing client (I6)":      {Config{TLS: TLS{ClientCert: missing, ClientKey: missing}}, good, "tls.client_cert", ""},
		"risk without reason":      {Config{TLS: TLS{InsecureSkipVerify: gate.Risk{Until: time.Now().Add(time.Hour)}}}, good, "tls.insecure_skip_verify.accept_risk", `accept_risk: "why this is acceptable here"`},
		"risk that is over":        {Config{TLS: TLS{InsecureSkipVerify: gate.Risk{AcceptRisk: "test", Until: time.Now().Add(-time.Hour)}}}, good, "tls.insecure_skip_verify.until", ""},
		"TLS settings without TLS": {Config{TLS: TLS{ServerName: "a"}}, []string{"http://a"}, "tls", ""},
		"no target":                {Config{}, nil, "targets", ""},
		"not a URL":                {Config{}, []string{"https://a", "::"}, "targets[1]", ""},
		"no scheme":                {Config{}, []string{"localhost:8080"}, "targets[0]", ""},
		"another scheme":           {Config{}, []string{"ftp://a"}, "targets[0]", ""},
		"no host":                  {Config{}, []string{"http:///a"}, "targets[0]", ""},
		"a password":               {Config{}, []string{"http://me:hunter2@a"}, "targets[0]", ""},
		"a query":                  {Config{}, []string{"http://a/?x"}, "targets[0]", ""},
		"a port too high":          {Config{}, []string{"http://a:65536"}, "targets[0]", ""},
		"two slashes":              {Config{}, []string{"http://a//b"}, "targets[0]", ""},
		"the same twice":           {Config{}, []string{"http://a", "http://a:80/"}, "targets[1]", ""},
		"http2 without TLS":        {Config{Protocol: "http2"}, []string{"http://a"}, "targets[0]", ""},
		"h2c with TLS":             {Config{Protocol: "h2c"}, []string{"https://a"}, "targets[0]", ""},
		"too many targets":         {Config{}, many(maxTargets + 1), "targets", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := New(c.cfg, c.targets, Deps{})
			if err == nil {
				p.Close()
				t.Fatal("accepted")
			}
			var list mistake.List
			if !errors.As(err, &list) {
				t.Fatalf("%T is no list of mistakes", err)
			}
			if list[0].Path != c.path || list[0].Write != c.write || list[0].What == "" {
				t.Errorf("%+v", list)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("a password was repeated")
			}
		})
	}
}

func many(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("http://a%d", i))
	}
	return list
}

// Every mistake is found in one pass.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := New(Config{Balance: "x", Protocol: "y", Retry: Retry{Attempts: 99}}, []string{"ftp://a"}, Deps{})
	var list mistake.List
	if errors.As(err, &list); len(list) != 4 {
		t.Errorf("%v", err)
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]Percent{"10%": 10, "1%": 1, " 100 % ": 100, "0%": 0, "101%": 0, "10": 0, "-1%": 0, "1.5%": 0, "%": 0, "": 0} {
		var p Percent
		if err := p.UnmarshalText([]byte(text)); p != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d, %v", text, p, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"http://a", "https://[::1]:8443/base%2F", "http://a:0", "http://a/%zz", "http://a@b", "http://[fe80::1%25eth0]/", "http://a/b?c#d", "http://a//", "http://a/b//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseTarget("http1", raw)
		if err != nil {
			return
		}
		again, err := parseTarget("http1", got.name)
		if err != nil || again != got {
			t.Errorf("%q is %+v, which is read as %+v, %v", raw, got, again, err)
		}
		if got.base != "" && !validPath(got.base) || strings.HasSuffix(got.base, "/") {
			t.Errorf("base %q", got.base)
		}
	})
}

func FuzzPercent(f *testing.F) {
	f.Add("10%")
	f.Fuzz(func(t *testing.T, text string) {
		var p Percent
		if p.UnmarshalText([]byte(text)) != nil {
			return
		}
		var again Percent
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p || p < 1 || p > 100 {
			t.Errorf("%q is %d, %d, %v", text, p, again, err)
		}
	})
}
