package oidc

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDescriptions(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(f *fake)
		says   string // "": it can be used
	}{
		{"good", func(*fake) {}, ""},
		{"more is left alone", func(f *fake) { f.description = f.say(object{"x": []int{1}, "jwks_uri": 7}) }, ""},
		{"as large as may be", func(f *fake) { f.description = f.say(object{"x": strings.Repeat("a", 250<<10)}) }, ""},
		{"it can what we need", func(f *fake) {
			f.description = f.say(object{"code_challenge_methods_supported": []string{"plain", "S256"}, "token_endpoint_auth_methods_supported": []string{"none", "client_secret_basic"}, "authorization_response_iss_parameter_supported": false})
		}, ""},
		{"too large", func(f *fake) { f.description = f.say(object{"x": strings.Repeat("a", 257<<10)}) }, "more than 256 KiB"},
		{"another issuer", func(f *fake) { f.description = f.say(object{"issuer": "https://evil.example"}) }, "the same to the letter"},
		{"a slash more", func(f *fake) { f.description = f.say(object{"issuer": f.URL + "/"}) }, "the same to the letter"},
		{"no issuer", func(f *fake) { f.description = f.say(object{"issuer": without}) }, "the same to the letter"},
		{"an issuer of no string", func(f *fake) { f.description = f.say(object{"issuer": []string{f.URL}}) }, "the same to the letter"},
		{"issuer twice", func(f *fake) { f.description = `{"issuer":"x",` + js(t, f.say())[1:] }, "JSON that is not read"},
		{"two objects", func(f *fake) { f.description = js(t, f.say()) + "{}" }, "JSON that is not read"},
		{"a list", func(f *fake) { f.description = "[]" }, "no object"},
		{"HTML", func(f *fake) { f.description = "<html>" }, "JSON that is not read"},
		{"another media type", func(f *fake) { f.media = "text/html" }, "something else than application/json"},
		{"404", func(f *fake) { f.status = 404 }, "it answered 404"},
		{"500", func(f *fake) { f.status = 500 }, "it answered 500"},
		{"a redirect", func(f *fake) { f.status = 302 }, "redirects are not followed"},
		{"gone", func(f *fake) { f.Close() }, "connection refused"},
		{"no authorization endpoint", func(f *fake) { f.description = f.say(object{"authorization_endpoint": without}) }, "authorization_endpoint: it is missing"},
		{"no token endpoint", func(f *fake) { f.description = f.say(object{"token_endpoint": null}) }, "token_endpoint: it is missing"},
		{"an endpoint that may not be asked", func(f *fake) { f.description = f.say(object{"token_endpoint": "http://169.254.169.254/"}) }, "token_endpoint: "},
		{"a place to push to that may not be asked", func(f *fake) {
			f.description = f.say(object{"pushed_authorization_request_endpoint": "http://id.example"})
		}, "pushed_authorization_request_endpoint: "},
		{"an end of sessions that is none", func(f *fake) { f.description = f.say(object{"end_session_endpoint": "javascript:alert(1)"}) }, "end_session_endpoint: "},
		{"a query that is none", func(f *fake) { f.description = f.say(object{"authorization_endpoint": f.URL + "/?a;b"}) }, "authorization_endpoint: "},
		{"a long endpoint", func(f *fake) {
			f.description = f.say(object{"token_endpoint": f.URL + "/" + strings.Repeat("a", 2048)})
		}, "longer than 2048"},
		{"no S256", func(f *fake) { f.description = f.say(object{"code_challenge_methods_supported": []string{"plain"}}) }, "code_challenge_methods_supported does not have S256"},
		{"no such authentication", func(f *fake) {
			f.description = f.say(object{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}})
		}, "token_endpoint_auth_methods_supported does not have client_secret_basic, which the client \"shop\" uses"},
		{"methods of no list", func(f *fake) { f.description = f.say(object{"token_endpoint_auth_methods_supported": []int{1}}) }, "is not a list of names"},
		{"neither true nor false", func(f *fake) {
			f.description = f.say(object{"authorization_response_iss_parameter_supported": "true"})
		}, "neither true nor false"},
		{"demands to be pushed", func(f *fake) { f.description = f.say(object{"require_pushed_authorization_requests": true}) }, "names no place for them"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake(t)
			row.change(f)
			location, err := f.client(t, nil).Begin(t.Context(), login())
			if row.says == "" {
				expect(t, err, nil, "")
				return
			}
			expect(t, err, ErrUnavailable, row.says)
			if location != "" {
				t.Error(location)
			}
		})
	}
}

// A description lasts an hour; one that can't be had anew, a day; and nobody asks more often than every five seconds.
func TestDescriptionsLast(t *testing.T) {
	f := newFake(t)
	p := f.client(t, nil)
	wait := func(d time.Duration) { f.set(func() { f.now = f.now.Add(d) }) }
	begin := func(want error) string {
		t.Helper()
		location, err := p.Begin(t.Context(), login())
		expect(t, err, want, "")
		return location
	}
	described := func(want int) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if got, _ := f.times(); got == want {
				time.Sleep(20 * time.Millisecond) // until it is remembered, and none more comes
				break
			}
		}
		if got, _ := f.times(); got != want {
			t.Fatalf("described %d times, want %d", got, want)
		}
	}
	f.set(func() { f.status = 503 })
	begin(ErrUnavailable)
	begin(ErrUnavailable)
	wait(4 * time.Second)
	begin(ErrUnavailable)
	described(1)
	f.set(func() { f.status = 0 })
	wait(time.Second)
	begin(nil)
	wait(time.Hour - 1)
	begin(nil)
	described(2)
	// After an hour the old one serves once more, and the next login has the new one.
	f.set(func() { f.description = f.say(object{"authorization_endpoint": f.URL + "/new"}) })
	wait(1)
	if location := begin(nil); !strings.Contains(location, "/authorize") {
		t.Error(location)
	}
	described(3)
	if location := begin(nil); !strings.Contains(location, "/new") {
		t.Error(location)
	}
	// The provider goes, or says something else.
	f.set(func() {
		f.description = f.say(object{"issuer": "https://evil.example", "token_endpoint": "https://evil.example"})
	})
	wait(time.Hour)
	begin(nil)
	described(4)
	begin(nil)
	begin(nil)
	described(4)
	wait(5 * time.Second)
	begin(nil)
	described(5)
	wait(23 * time.Hour)
	begin(ErrUnavailable)
	described(6)
	f.set(func() { f.description = f.say() })
	begin(ErrUnavailable)
	wait(5 * time.Second)
	begin(nil)
	described(7)
}

// Many at once ask once; a description that stays the same keeps its connections.
func TestDescriptionsAreReadOnce(t *testing.T) {
	f := newFake(t)
	made := 0
	p := f.client(t, func(c *Config) {
		c.HTTP = func(u *url.URL) (*http.Client, error) {
			f.set(func() {
				if u.Path == "/token" {
					made++
				}
			})
			return noRedirects(u)
		}
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := p.Begin(t.Context(), login()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if described, _ := f.times(); described != 1 {
		t.Errorf("described %d times", described)
	}
	f.set(func() { f.now = f.now.Add(25 * time.Hour) })
	if _, err := p.Begin(t.Context(), login()); err != nil {
		t.Error(err)
	}
	if described, _ := f.times(); described != 2 || made != 1 {
		t.Errorf("described %d times, %d clients made", described, made)
	}
}

func TestAFaultOfOurOwn(t *testing.T) {
	f := newFake(t)
	p := f.client(t, func(c *Config) { c.HTTP = func(*url.URL) (*http.Client, error) { panic("out") } })
	_, err := p.Begin(t.Context(), login())
	expect(t, err, ErrUnavailable, "fault of the gateway's own")
}
