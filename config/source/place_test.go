package source

import (
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	for text, want := range map[string]string{
		"gatehouse.yaml":                            "file gatehouse.yaml",
		"/etc/gatehouse/gatehouse.yaml":             "file /etc/gatehouse/gatehouse.yaml",
		"a b@c#d?.yaml":                             "file a b@c#d?.yaml",
		"./git:x":                                   "file ./git:x",
		"git:/srv/policy//gatehouse.yaml@main":      "git /srv/policy gatehouse.yaml main",
		"git:/srv/policy.git//prod/g.yaml":          "git /srv/policy.git prod/g.yaml HEAD",
		"git:policy//g.yaml@refs/tags/v1.2":         "git policy g.yaml refs/tags/v1.2",
		"https://policy.example/gatehouse.yaml":     "http https://policy.example/gatehouse.yaml gatehouse.yaml",
		"https://policy.example:8443/a/b/g.yaml":    "http https://policy.example:8443/a/b/g.yaml g.yaml",
		"http://127.0.0.1:80/g.yaml":                "http http://127.0.0.1:80/g.yaml g.yaml",
		"http://[::1]/g.yaml":                       "http http://[::1]/g.yaml g.yaml",
		"http://localhost/g.yaml":                   "http http://localhost/g.yaml g.yaml",
		"":                                          "error --config",
		"git:":                                      "error git:/path/to/checkout//gatehouse.yaml@main",
		"git:/srv/policy/g.yaml@main":               "error which file",
		"git:/srv/policy//@main":                    "error inside the repository",
		"git:/srv/policy//../g.yaml@main":           "error inside the repository",
		"git:/srv/policy///etc/passwd@main":         "error inside the repository",
		"git:/srv/policy//g.yaml@":                  "error branch",
		"git:/srv/policy//g.yaml@main@{1}":          "git /srv/policy g.yaml@main {1}",
		"git:/srv/policy//g.yaml@main{@{1}":         "git /srv/policy g.yaml@main{ {1}",
		"git:/srv/policy//g.yaml@a..b":              "error branch",
		"git:/srv/policy//g.yaml@--upload-pack=x":   "error branch",
		"git:/srv/policy//g.yaml@main~1":            "error branch",
		"http://policy.example/g.yaml":              "error without TLS",
		"http://127.0.0.1.example/g.yaml":           "error without TLS",
		"http://169.254.169.254/g.yaml":             "error without TLS",
		"https://ann:hunter2@policy.example/g.yaml": "error no user name",
		"https:///g.yaml":                           "error no host",
		"https://policy.example/":                   "error plain path",
		"https://policy.example":                    "error plain path",
		"https://policy.example/g.yaml?x=1":         "error query",
		"https://policy.example/g.yaml?":            "error query",
		"https://policy.example/g.yaml#":            "error query",
		"https://policy.example/%2e%2e/g.yaml":      "error plain path",
		"https://policy.example/a/../g.yaml":        "error plain path",
		"https:policy.example/g.yaml":               "error",
		"https://policy.example:port/hunter2":       "error not a URL",
	} {
		p, err := parsePlace(text)
		if words, bad := strings.CutPrefix(want, "error"); bad {
			if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(words)) {
				t.Errorf("%q: %v, %v, want an error with %q", text, p, err, words)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v repeats what may be a password", text, err)
			}
			continue
		}
		got := p.kind + " " + p.file
		switch p.kind {
		case kindGit:
			got = "git " + p.repo + " " + p.file + " " + p.ref
		case kindHTTP:
			got = "http " + p.url.String() + " " + p.file
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// FuzzPlace: what is understood is written as it was read, names no file outside, and http stays on this machine.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"gatehouse.yaml", "git:/a//b@c", "git:/a//b", "https://h/x.yaml", "http://127.0.0.1/x", "https://u:p@h/x", "git:a//b/../c@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err != nil {
			return
		}
		if again, err := parsePlace(p.String()); err != nil || again.String() != p.String() || again.kind != p.kind {
			t.Errorf("%q is written %q, which is read as %v, %v", text, p, again, err)
		}
		if p.kind == kindFile && p.file != text {
			t.Errorf("file %q of %q", p.file, text)
		}
		if p.kind != kindFile && !localName(p.file) {
			t.Errorf("%q names %q", text, p.file)
		}
		if p.kind == kindHTTP && p.url.Scheme != "https" && !loopback(p.url.Hostname()) {
			t.Errorf("%q without TLS", text)
		}
	})
}
