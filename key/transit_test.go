package key_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/key/keytest"
)

// bao stands in for an OpenBao server, from its published API of the Transit engine (POST /v1/MOUNT/encrypt/KEY and
// decrypt/KEY): strict about paths, methods, fields and base64. It is no real server.
type bao struct {
	token  string
	cipher cipher.AEAD
	status atomic.Int64 // answered instead, when set
	asked  atomic.Int64
	long   atomic.Bool
}

func newBao(t *testing.T) (*bao, *httptest.Server) {
	t.Helper()
	block, err := aes.NewCipher(random(t))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	b := &bao{token: "hvs.canary-token", cipher: gcm}
	server := httptest.NewTLSServer(b)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	return b, server
}

func (b *bao) fail(w http.ResponseWriter, status int, what string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {what}})
}

func (b *bao) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	if s := int(b.status.Load()); s != 0 {
		if s == http.StatusTemporaryRedirect {
			w.Header().Set("Location", "https://evil.example/")
		}
		b.fail(w, s, "canary-detail")
		return
	}
	if b.long.Load() {
		_, _ = io.Copy(w, io.LimitReader(rand.Reader, 10<<20))
		return
	}
	if r.Header.Get("X-Vault-Token") != b.token || r.Header.Get("X-Vault-Request") != "true" || r.Header.Get("X-Vault-Namespace") != "team/a" {
		b.fail(w, http.StatusForbidden, "permission denied")
		return
	}
	operation, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/keys/transit/"), "/gatehouse")
	if !ok || r.Method != http.MethodPost && r.Method != http.MethodPut {
		b.fail(w, http.StatusNotFound, "no handler for route")
		return
	}
	var body map[string]string
	dec := json.NewDecoder(r.Body)
	if err := dec.Decode(&body); err != nil {
		b.fail(w, http.StatusBadRequest, "failed to parse JSON input")
		return
	}
	data, err := b.run(operation, body)
	if err != nil {
		b.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data, "warnings": nil})
}

func (b *bao) run(operation string, body map[string]string) (map[string]any, error) {
	needed := map[string]string{"encrypt": "plaintext", "decrypt": "ciphertext"}[operation]
	for name := range body {
		if name != needed && name != "associated_data" {
			return nil, errors.New("unknown field " + name)
		}
	}
	aad, err := base64.StdEncoding.DecodeString(body["associated_data"])
	if err != nil || needed == "" || body[needed] == "" {
		return nil, errors.New("missing or no base64")
	}
	if operation == "encrypt" {
		plain, err := base64.StdEncoding.DecodeString(body["plaintext"])
		if err != nil {
			return nil, err
		}
		nonce := make([]byte, 12)
		_, _ = rand.Read(nonce)
		return map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(b.cipher.Seal(nonce, nonce, plain, aad)), "key_version": 1}, nil
	}
	text, ok := strings.CutPrefix(body["ciphertext"], "vault:v1:")
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(raw) < 12 {
		return nil, errors.New("invalid ciphertext")
	}
	plain, err := b.cipher.Open(nil, raw[:12], raw[12:], aad)
	if err != nil {
		return nil, errors.New("cipher: message authentication failed")
	}
	return map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}, nil
}

func transit(t *testing.T, b *bao, server *httptest.Server) key.Config {
	t.Helper()
	ca := write(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return key.Config{Root: key.Choice{Transit: &key.Transit{Address: server.URL, Key: "gatehouse", Mount: "/keys/transit/", Namespace: "team/a",
		Token: ref(t, "file:"+write(t, []byte(b.token+"\n"))), CA: ca}}}
}

func TestTransitRoot(t *testing.T) {
	b, server := newBao(t)
	b2, server2 := newBao(t)
	cfg, other := transit(t, b, server), transit(t, b2, server2)
	keytest.Root(t, newRoot(t, cfg, key.Options{}), newRoot(t, other, key.Options{}))
	h := newHouse(t)
	r, first := h.open(t, cfg)
	if !first.Words.IsZero() {
		t.Error("a key that never leaves its server has words")
	}
	sealed := seal(t, r, "store", "a")
	r, _ = h.open(t, cfg)
	opens(t, r, "store", "a", sealed)
	before := b.asked.Load()
	opens(t, r, "store", "a", seal(t, r, "store", "a"))
	if _, err := r.Begin(t.Context(), "store"); err != nil || b.asked.Load() != before {
		t.Errorf("the server is asked for each value or version: %v", err)
	}
}

// What a server answers decides what is said; its words and the token are never repeated, and it is never followed elsewhere.
func TestTransitFaults(t *testing.T) {
	b, server := newBao(t)
	h := newHouse(t)
	cfg := transit(t, b, server)
	h.open(t, cfg)
	before := h.files(t)
	refused := func(name string, cfg key.Config, want error) {
		t.Helper()
		_, _, err := key.Open(t.Context(), cfg, h.options())
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
			return
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s tells what the server or the token says: %v", name, err)
		}
	}
	for status, want := range map[int]error{400: key.ErrWrong, 401: key.ErrUnavailable, 403: key.ErrUnavailable, 404: key.ErrLost, 500: key.ErrUnavailable, 503: key.ErrUnavailable, 307: key.ErrUnavailable, 429: key.ErrUnavailable} {
		b.status.Store(int64(status))
		refused(http.StatusText(status), cfg, want)
	}
	b.status.Store(0)
	b.long.Store(true)
	refused("an endless answer (H14)", cfg, key.ErrUnavailable)
	b.long.Store(false)

	untrusted := transit(t, b, server)
	untrusted.Root.Transit.CA = ""
	refused("a certificate of nobody", untrusted, key.ErrUnavailable)
	badToken := transit(t, b, server)
	badToken.Root.Transit.Token = ref(t, "file:"+write(t, []byte("canary-of-another")))
	refused("another token", badToken, key.ErrUnavailable)
	noToken := transit(t, b, server)
	noToken.Root.Transit.Token = ref(t, "file:/nowhere/token")
	refused("no token", noToken, key.ErrUnavailable)
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	slow := transit(t, b, silent)
	slow.Root.Transit.Timeout = 50 * time.Millisecond
	refused("a silent server", slow, key.ErrUnavailable)
	server.Close()
	refused("no server", cfg, key.ErrUnavailable)
	for path, data := range h.files(t) {
		if before[path] != data {
			t.Errorf("%s was changed", path)
		}
	}
}
