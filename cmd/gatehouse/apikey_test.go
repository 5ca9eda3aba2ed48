package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
)

// A stream ends when the key is revoked that opened it, and when it is replaced without overlap; another key's goes on.
func TestAPIKeyEndsItsStreams(t *testing.T) {
	t.Parallel()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}))
	defer behind.Close()
	s := newStory(t, txtar.Parse([]byte(fmt.Sprintf(`Streams that API keys open.
-- gatehouse.yaml --
apis: [{name: live, contract: live.yaml, to: [%q], guards: {identity: {api_keys: {header: X-API-Key}}}}]
-- live.yaml --
%s
-- keys --
one scope=a api=live
two scope=a api=live
three scope=a api=live
`, behind.URL, streamsContract))), crs())
	opened := map[string]*bufio.Reader{}
	for name, key := range s.keys {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.node.server.Addresses()[0]+"/v1/news", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		opened[name] = bufio.NewReader(response.Body)
		if line, err := opened[name].ReadString('\n'); err != nil || line != "data: x\n" {
			t.Fatalf("%s: %d %q %v", name, response.StatusCode, line, err)
		}
	}
	id := func(name string) string { return s.keys[name][len(apikey.Prefix):][:8] }
	if _, err := s.node.held.revokeKey(t.Context(), s.node, keyRevocation{ID: id("one"), By: "ann"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.node.held.rotateKey(t.Context(), s.node, keyRotation{ID: id("two"), By: "ann"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if _, err := io.Copy(io.Discard, opened[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 20 {
		if _, err := opened["three"].ReadString('\n'); err != nil {
			t.Fatal("another key's stream has ended:", err)
		}
	}
	ended := map[string]gate.Reason{}
	for _, e := range s.end() {
		if e.Kind != gate.KindSystem && e.Result.Messages > 0 {
			ended[e.From.Subject] = e.Decision.Reason
		}
	}
	if ended["one"] != "stream.revoked" || ended["two"] != "stream.revoked" || ended["three"] != "stream.draining" {
		t.Errorf("%v", ended)
	}
}

// No way of printing an answer prints the key in it.
func TestKeysPrintNowhere(t *testing.T) {
	_, key, err := apikey.Make(random())
	if err != nil {
		t.Fatal(err)
	}
	made := keyMade{Key: key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(verb, made) + fmt.Sprintf(verb, &made); strings.Contains(text, key[13:20]) {
			t.Errorf("%s: %s", verb, text)
		}
	}
	for _, args := range [][]string{{key}, {"x", "--id=" + key}} {
		if err := noKeyIn(args); err == nil || strings.Contains(err.Error(), key[13:]) {
			t.Errorf("%v", err)
		}
	}
}
