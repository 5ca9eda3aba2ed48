package listen

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// A key that lies elsewhere follows its rotation; one that is withdrawn is not used any more, and the other certificates
// serve on (row I6). Once it is there again its certificate is shown again.
func TestWithdrawnKey(t *testing.T) {
	ca := newAuthority(t)
	elsewhere, here := ca.issue("a", "a.test"), ca.issue("b", "b.test")
	file := elsewhere.Key.Path()
	if err := elsewhere.Key.UnmarshalText([]byte("store:tls/key")); err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	d := deps(t, http.HandlerFunc(tell))
	d.Resolve = func(ref secret.Ref) (secret.Value, error) {
		switch {
		case ref.Scheme() != secret.Kept:
			return ref.Resolve()
		case gone.Load():
			return secret.Value{}, fmt.Errorf("secret %s: %w", ref, secret.ErrGone)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return secret.Value{}, err
		}
		return secret.New(text, ref.String())
	}
	b := run(t, Config{At: at(t, "https://127.0.0.1:0"), Certificates: []CertificateFiles{elsewhere, here}}, d)
	shown := func(name string) string {
		state, err := handshake(b.hostport("https"), &tls.Config{RootCAs: ca.pool, ServerName: name})
		if err != nil {
			return ""
		}
		return state.PeerCertificates[0].SerialNumber.String()
	}
	first := shown("a.test")
	ca.issue("a", "a.test")
	if !eventually(func() bool { now := shown("a.test"); return now != "" && now != first }) {
		t.Error("the rotation is not followed")
	}
	gone.Store(true)
	if !eventually(func() bool { return shown("a.test") == "" }) {
		t.Error("a withdrawn key is still used")
	}
	if shown("b.test") == "" {
		t.Error("another certificate is closed as well")
	}
	b.expect(reasonCertificate)
	gone.Store(false)
	if !eventually(func() bool { return shown("a.test") != "" }) {
		t.Error("a key that is there again is not used")
	}
}
