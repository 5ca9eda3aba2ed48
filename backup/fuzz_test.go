package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

func FuzzName(f *testing.F) {
	for _, s := range []string{"gatehouse-20261122T120000Z-0a1b2c3d-1048576.age", "gatehouse-.age", "gatehouse-20261322T120000Z-0a1b2c3d-1.age", "gatehouse-20261122T120000Z-0a1b2c3d-+1.age", "../x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		id, when, size, ok := readName(name)
		if !ok {
			return
		}
		if fileName(id, size) != name || filepath.Base(name) != name || when.IsZero() || !validID(id) {
			t.Errorf("%q reads as %s, %s, %d", name, id, when, size)
		}
	})
}

func FuzzManifest(f *testing.F) {
	key, _ := signer(ring{"one"})
	m := Manifest{Format: format, ID: "20261122T120000Z-0a1b2c3d", Time: noon, End: true, Parts: []Sum{{"a/b", 3, strings.Repeat("0", 64)}}}
	data, _ := m.seal(key)
	f.Add(data)
	m.Parts[0].Name = "../b"
	data, _ = m.seal(key)
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := readManifest(data)
		if err != nil {
			return
		}
		for _, p := range m.Parts {
			if !filepath.IsLocal(p.Name) || p.Size < 0 {
				t.Errorf("%+v", p)
			}
		}
		if _, err := json.Marshal(m); err != nil {
			t.Error(err)
		}
	})
}

// What lies in an archive, whatever it is, never leaves its directory, and is never taken for whole when it is not signed.
func FuzzArchive(f *testing.F) {
	key, _ := signer(ring{"one"})
	me, _ := newIdentity(make([]byte, 32), false)
	var whole bytes.Buffer
	plain := &pace{rate: 1 << 50, now: nowNever, sleep: sleep}
	_, err := write(context.Background(), &whole, Manifest{ID: "20261122T120000Z-0a1b2c3d", Time: noon}, []Part{Bytes("a/b", []byte("hello")), Bytes("c", nil)}, []age.Recipient{me.recipient}, key, plain, quiet(nil))
	if err != nil {
		f.Fatal(err)
	}
	opened, _ := age.Decrypt(bytes.NewReader(whole.Bytes()), me.Identity)
	unpacked, _ := zstd.NewReader(opened)
	tarred, err := io.ReadAll(unpacked)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tarred)
	f.Add(bytes.ReplaceAll(tarred, []byte("part/a/b"), []byte("part/../")))
	f.Add(bytes.ReplaceAll(tarred, []byte("/00000001"), []byte("/00000002")))
	keys, _ := PublicKeys(ring{"one"})
	f.Fuzz(func(t *testing.T, data []byte) {
		var sealed bytes.Buffer
		to, _ := age.Encrypt(&sealed, me.recipient)
		packed, _ := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(64<<10))
		_, _ = packed.Write(data)
		_ = packed.Close()
		_ = to.Close()
		outside := t.TempDir()
		into := filepath.Join(outside, "in", "to")
		if err := os.MkdirAll(into, 0o700); err != nil {
			t.Fatal(err)
		}
		m, err := unpack(into, false, &reader{ctx: t.Context(), ids: []age.Identity{me.Identity}, size: -1, trust: trustOnly(keys), pace: plain, told: quiet(nil)}, &sealed)
		if err == nil && (m.ID != "20261122T120000Z-0a1b2c3d" || len(m.Parts) != 2) {
			t.Errorf("%+v", m)
		}
		for _, dir := range []string{outside, filepath.Join(outside, "in")} {
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("something was written beside: %v", entries)
			}
		}
	})
}
