package key_test

import (
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/key/keytest"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// startTPM starts a software TPM (Debian: swtpm) on a socket and gives its path.
func startTPM(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("swtpm")
	if err != nil {
		t.Fatal("swtpm is missing: apt-get install swtpm")
	}
	dir, err := os.MkdirTemp("", "tpm") // a short path: sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "tpm")
	c := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket,
		"--ctrl", "type=unixio,path="+socket+".ctrl", "--flags", "not-need-init,startup-clear")
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	waitFor(t, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return socket
}

func tpm(socket string, pcrs ...int) key.Config {
	return key.Config{Root: key.Choice{TPM: &key.TPM{Device: socket, PCRs: pcrs}}}
}

func device(t *testing.T, socket string) transport.TPMCloser {
	t.Helper()
	d, err := linuxudstpm.Open(socket)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTPMRoot(t *testing.T) {
	socket, otherSocket := startTPM(t), startTPM(t)
	keytest.Root(t, newRoot(t, tpm(socket), key.Options{}), newRoot(t, tpm(otherSocket), key.Options{}))
	keytest.Root(t, newRoot(t, tpm(socket, 7, 4), key.Options{}), newRoot(t, tpm(otherSocket, 7, 4), key.Options{}))

	// the first start gives words, for the day on which the machine dies
	h := newHouse(t)
	r, first := h.open(t, tpm(socket))
	sealed := seal(t, r, "store", "a")
	r, _ = h.open(t, tpm(socket))
	opens(t, r, "store", "a", sealed)
	h.exists = true
	for name, cfg := range map[string]key.Config{"another machine": tpm(otherSocket), "no TPM": tpm(socket + "-none"), "a file": tpm(write(t, nil))} {
		if _, _, err := key.Open(t.Context(), cfg, h.options()); err == nil || name != "a file" && !strings.Contains(err.Error(), "gatehouse key recover") {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := h.options()
	var err error
	if o.Root, err = key.FromWords(first.Words, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if r, _, err = key.Open(t.Context(), tpm(otherSocket), o); err != nil {
		t.Fatal(err)
	}
	next := newRoot(t, tpm(otherSocket), key.Options{})() // of another installation by name only
	if err := r.Rekey(t.Context(), next, func(key.Handout) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r, _ = h.open(t, tpm(otherSocket))
	opens(t, r, "store", "a", sealed)
	if _, _, err := key.Open(t.Context(), tpm(socket), h.options()); !errors.Is(err, key.ErrWrong) {
		t.Errorf("the old machine still opens it: %v", err)
	}
}

// After a register has changed the key is not given, and after a restart of the machine with the same registers it is.
func TestTPMRegisters(t *testing.T) {
	socket := startTPM(t)
	h := newHouse(t)
	h.open(t, tpm(socket, 16))
	h.open(t, tpm(socket, 16))
	d := device(t, socket)
	digest := make([]byte, 32)
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(16), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest}}},
	}.Execute(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := key.Open(t.Context(), tpm(socket, 16), h.options()); !errors.Is(err, key.ErrWrong) || !strings.Contains(err.Error(), "PCRs 16 have changed") {
		t.Errorf("%v", err)
	}
	// the policy is in what the TPM sealed: leaving the registers out of the document does not help
	if _, _, err := key.Open(t.Context(), tpm(socket), h.options()); err == nil {
		t.Error("a document without registers opens it")
	}
	if _, err := (tpm2.PCRReset{PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(16), Auth: tpm2.PasswordAuth(nil)}}).Execute(d); err != nil {
		t.Fatal(err)
	}
	h.open(t, tpm(socket, 16))
	// nothing of ours stays in the TPM's few slots
	for range 10 {
		h.open(t, tpm(socket, 16))
	}
	for _, kind := range []uint32{0x80000000, 0x02000000, 0x03000000} {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: kind, PropertyCount: 10}.Execute(d)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := got.CapabilityData.Data.Handles(); err != nil || len(list.Handle) != 0 {
			t.Errorf("left in the TPM: %v %v", list, err)
		}
	}
}
