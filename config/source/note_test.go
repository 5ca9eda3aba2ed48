package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// desk is a folder with a document, where it is signed.
type desk struct {
	t        *testing.T
	dir      string
	now      time.Time
	floor    *memory
	signer   string
	verifier string
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), floor: &memory{}}
	d.signer, d.verifier = key(t, "shop.example/policy")
	d.put("gatehouse.yaml", "document")
	d.put("contracts/orders.yaml", "orders")
	return d
}

func (d *desk) put(name, text string) { write(d.t, filepath.Join(d.dir, name), text) }

func (d *desk) sign(version int64, life time.Duration) {
	d.t.Helper()
	n, err := Sign(d.dir, "gatehouse.yaml", []string{"contracts/orders.yaml"}, version, d.now.Add(life), d.signer)
	must(d.t, err)
	d.put("gatehouse.yaml.sig", string(n))
}

func (d *desk) source(keys ...string) *Source {
	if keys == nil {
		keys = []string{d.verifier}
	}
	return open(d.t, filepath.Join(d.dir, "gatehouse.yaml"), Options{SignedBy: keys, Floor: d.floor, Now: func() time.Time { return d.now }, Poll: 10 * time.Millisecond})
}

// read does all that a gateway does before it puts a document in force.
func (d *desk) read(s *Source) error {
	_, _, err := both(s, "contracts/orders.yaml")
	return err
}

func TestASignedDocumentIsRead(t *testing.T) {
	d := newDesk(t)
	d.sign(7, time.Hour)
	s := d.source()
	must(t, d.read(s))
	must(t, d.read(s)) // the version in force is read again, also after a restart
	b, err := s.Read(context.Background())
	must(t, err)
	st := b.State()
	if st.Version != 7 || !slices.Equal(st.SignedBy, []string{"shop.example/policy"}) || !st.Expires.Equal(d.now.Add(time.Hour)) || st.Expired {
		t.Errorf("%+v", st)
	}
	if d.floor.mark.Version != 7 {
		t.Errorf("%+v is remembered", d.floor.mark)
	}
}

func TestWhatIsNotSignedIsRefused(t *testing.T) {
	other, otherVerifier := key(t, "shop.example/policy") // same name, another key
	_ = otherVerifier
	for name, c := range map[string]struct {
		change func(d *desk)
		want   error
		words  []string
	}{
		"no note":                     {func(d *desk) { must(d.t, os.Remove(d.dir+"/gatehouse.yaml.sig")) }, ErrUnsigned, []string{"gatehouse.yaml.sig", "gatehouse document sign"}},
		"an empty note":               {func(d *desk) { d.put("gatehouse.yaml.sig", "") }, ErrUnsigned, []string{"malformed"}},
		"another's key, same name":    {func(d *desk) { d.signer = other; d.sign(2, time.Hour) }, ErrUnsigned, []string{"--signed-by"}},
		"another document":            {func(d *desk) { d.put("gatehouse.yaml", "documenT") }, ErrDiffers, []string{"gatehouse.yaml", "sign"}},
		"another contract":            {func(d *desk) { d.put("contracts/orders.yaml", "Orders") }, ErrDiffers, []string{"contracts/orders.yaml"}},
		"a contract that isn't named": {func(d *desk) { d.sign2(nil) }, ErrDiffers, []string{"contracts/orders.yaml", "stands in no note"}},
		"expired":                     {func(d *desk) { d.now = d.now.Add(time.Hour) }, ErrExpired, []string{"2026-11-22T13:00:00Z"}},
		"a clock far ahead":           {func(d *desk) { d.now = d.now.AddDate(20, 0, 0) }, ErrExpired, nil},
		"an older version":            {func(d *desk) { d.floor.mark = Mark{8, "x"} }, ErrReplayed, []string{"version 8", "this is 7", "version 9"}},
		"the version, other content":  {func(d *desk) { d.floor.mark = Mark{7, "x"} }, ErrReplayed, []string{"other content", "version 8"}},
		"the text changed": {func(d *desk) {
			text, _ := os.ReadFile(d.dir + "/gatehouse.yaml.sig")
			d.put("gatehouse.yaml.sig", strings.Replace(string(text), "version 7", "version 8", 1))
		}, ErrUnsigned, nil},
		"a line after the signature": {func(d *desk) {
			text, _ := os.ReadFile(d.dir + "/gatehouse.yaml.sig")
			d.put("gatehouse.yaml.sig", string(text)+"sha256 00 x\n")
		}, ErrUnsigned, nil},
		"the note of another document": {func(d *desk) {
			d.put("staging.yaml", "document")
			n, err := Sign(d.dir, "staging.yaml", []string{"gatehouse.yaml", "contracts/orders.yaml"}, 7, d.now.Add(time.Hour), d.signer)
			must(d.t, err)
			d.put("gatehouse.yaml.sig", string(n))
		}, ErrDiffers, []string{"staging.yaml"}},
		"a floor that cannot be asked": {func(d *desk) { d.floor.err = errors.New("store is away") }, nil, []string{"store is away"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.sign(7, time.Hour)
			c.change(d)
			err := d.read(d.source())
			wants(t, err, c.words...)
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v is not %v", err, c.want)
			}
			if d.floor.mark.Version == 7 && d.floor.mark.Digest != "x" {
				t.Error("what was refused is remembered as accepted")
			}
		})
	}
}

func (d *desk) sign2(files []string) {
	n, err := Sign(d.dir, "gatehouse.yaml", files, 7, d.now.Add(time.Hour), d.signer)
	must(d.t, err)
	d.put("gatehouse.yaml.sig", string(n))
}

// An old document, rightly signed at its time, cannot be put back: not while running, not after a restart, and not by a
// clock that was set back.
func TestReplay(t *testing.T) {
	d := newDesk(t)
	d.sign(1, 24*time.Hour)
	old, _ := os.ReadFile(d.dir + "/gatehouse.yaml.sig")
	must(t, d.read(d.source()))
	d.put("gatehouse.yaml", "document with the hole closed")
	d.sign(2, 24*time.Hour)
	s := d.source()
	must(t, d.read(s))
	d.put("gatehouse.yaml", "document")
	d.put("gatehouse.yaml.sig", string(old))
	for _, clock := range []time.Duration{0, -48 * time.Hour, 10 * time.Hour} {
		d.now = d.now.Add(clock)
		for _, s := range []*Source{s, d.source()} {
			if err := d.read(s); !errors.Is(err, ErrReplayed) {
				t.Errorf("clock %v: %v", clock, err)
			}
		}
	}
}

// A version that another node accepts between reading and accepting counts as well.
func TestReplayAcrossNodes(t *testing.T) {
	d := newDesk(t)
	d.sign(1, time.Hour)
	b, err := d.source().Read(context.Background())
	must(t, err)
	d.put("gatehouse.yaml", "newer")
	d.sign(2, time.Hour)
	must(t, d.read(d.source()))
	if err := b.Accept(context.Background()); !errors.Is(err, ErrReplayed) {
		t.Errorf("%v", err)
	}
}

// What is in force stays when its note expires, and says so; nothing that has expired is put in force.
func TestExpiryWhileRunning(t *testing.T) {
	d := newDesk(t)
	d.sign(1, time.Hour)
	s := d.source()
	b, err := s.Read(context.Background())
	must(t, err)
	must(t, b.Accept(context.Background()))
	before := b.State()
	d.now = d.now.Add(2 * time.Hour)
	after := b.State()
	if before.Expired || !after.Expired || after.Generation != before.Generation {
		t.Errorf("%+v, then %+v", before, after)
	}
	if changed(s, 50*time.Millisecond) {
		t.Error("expiry makes the document be read again, to be refused")
	}
	if err := d.read(s); !errors.Is(err, ErrExpired) {
		t.Errorf("%v", err)
	}
	d.sign(2, time.Hour)
	if !changed(s, 2*time.Second) {
		t.Error("the document signed anew is not noticed")
	}
	must(t, d.read(s))
	d.now = d.now.Add(-2 * time.Hour) // a clock that was ahead is put right: the newer one stays
	must(t, d.read(s))
}

// Keys are exchanged without a moment in which nothing or everything is accepted: pin both, sign with the new one, unpin
// the old one. A note may carry several signatures.
func TestKeyRotation(t *testing.T) {
	d := newDesk(t)
	oldVerifier := d.verifier
	newSigner, newVerifier := key(t, "shop.example/policy-2027")
	d.sign(1, time.Hour)
	must(t, d.read(d.source(oldVerifier, newVerifier)))
	must(t, d.read(d.source(newVerifier, oldVerifier)))
	if err := d.read(d.source(newVerifier)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("%v", err)
	}
	d.signer = newSigner
	d.sign(2, time.Hour)
	must(t, d.read(d.source(oldVerifier, newVerifier)))
	if err := d.read(d.source(oldVerifier)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("%v", err)
	}
	must(t, d.read(d.source(newVerifier)))
}

func TestWrongKeysAndNotes(t *testing.T) {
	signer, verifier := key(t, "k")
	dir := t.TempDir()
	write(t, dir+"/gatehouse.yaml", "d")
	write(t, dir+"/a b.yaml", "d")
	for name, keys := range map[string][]string{
		"no key": {""}, "half a key": {verifier[:20]}, "the signing key": {signer}, "twice": {verifier, verifier}, "one good, one bad": {verifier, "x"},
	} {
		_, err := Open(dir+"/gatehouse.yaml", Options{SignedBy: keys, Floor: &memory{}})
		wants(t, err, "--signed-by")
		if err != nil && strings.Contains(err.Error(), signer[12:]) {
			t.Errorf("%s: %v tells the signing key", name, err)
		}
	}
	_, err := Open(dir+"/gatehouse.yaml", Options{SignedBy: []string{verifier}})
	wants(t, err, "highest version")
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		document string
		files    []string
		version  int64
		signer   string
	}{
		"no version":              {"gatehouse.yaml", nil, 0, signer},
		"a version below":         {"gatehouse.yaml", nil, -1, signer},
		"no document":             {"none.yaml", nil, 1, signer},
		"a file outside":          {"gatehouse.yaml", []string{"../x"}, 1, signer},
		"an absolute file":        {"gatehouse.yaml", []string{"/etc/passwd"}, 1, signer},
		"a name with a space":     {"gatehouse.yaml", []string{"a b.yaml"}, 1, signer},
		"a name with a line end":  {"gatehouse.yaml", []string{"a\nb"}, 1, signer},
		"the verifier as the key": {"gatehouse.yaml", nil, 1, verifier},
	} {
		if _, err := Sign(dir, c.document, c.files, c.version, soon, c.signer); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", "ä"} {
		if _, _, err := GenerateKey(rand.Reader, name); err == nil {
			t.Errorf("a key named %q is made", name)
		}
	}
}

func TestVerifyAndDiffers(t *testing.T) {
	d := newDesk(t)
	d.sign(3, time.Hour)
	text, _ := os.ReadFile(d.dir + "/gatehouse.yaml.sig")
	n, err := Verify(text, []string{d.verifier})
	must(t, err)
	read := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(d.dir, name)) }
	if n.Version != 3 || n.Document != "gatehouse.yaml" || len(n.Files) != 2 || len(n.Differs(read)) != 0 {
		t.Errorf("%+v differs in %q", n, n.Differs(read))
	}
	d.put("gatehouse.yaml", "x")
	must(t, os.Remove(d.dir+"/contracts/orders.yaml"))
	if got := n.Differs(read); !slices.Equal(got, []string{"contracts/orders.yaml", "gatehouse.yaml"}) {
		t.Errorf("%q", got)
	}
}

const goodNote = "gatehouse.document/1\nversion 12\nexpires 2027-01-31T00:00:00Z\ndocument gatehouse.yaml\n" +
	"sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 gatehouse.yaml\n"

func TestNoteTexts(t *testing.T) {
	if _, err := parseNote(goodNote); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":                "",
		"another schema":       strings.Replace(goodNote, "/1", "/2", 1),
		"no file":              strings.Join(strings.SplitAfter(goodNote, "\n")[:4], ""),
		"leading zero":         strings.Replace(goodNote, "version 12", "version 012", 1),
		"a sign":               strings.Replace(goodNote, "version 12", "version +12", 1),
		"too large":            strings.Replace(goodNote, "version 12", "version 9223372036854775808", 1),
		"another zone":         strings.Replace(goodNote, "00:00:00Z", "00:00:00+00:00", 1),
		"parts of a second":    strings.Replace(goodNote, "00:00:00Z", "00:00:00.5Z", 1),
		"digest in capitals":   strings.Replace(goodNote, "e3b0c4", "E3B0C4", 1),
		"short digest":         strings.Replace(goodNote, "e3b0c4", "", 1),
		"no document's digest": strings.Replace(goodNote, "document gatehouse.yaml", "document other.yaml", 1),
		"twice":                goodNote + "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 gatehouse.yaml\n",
		"wrong order":          goodNote + "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 a.yaml\n",
		"outside":              goodNote + "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 ../z.yaml\n",
		"no end of line":       strings.TrimSuffix(goodNote, "\n"),
		"an empty line more":   goodNote + "\n",
	} {
		if n, err := parseNote(text); err == nil {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

// FuzzNote: what is understood has one form, and everything that is signed is read back.
func FuzzNote(f *testing.F) {
	f.Add(goodNote)
	f.Add(strings.Replace(goodNote, "version 12", "version -1", 1))
	f.Add(goodNote + "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 z/z.yaml\n")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseNote(text)
		if err != nil {
			return
		}
		if n.text() != text || n.Version < 1 {
			t.Errorf("%q is written %q", text, n.text())
		}
		for name := range maps.Keys(n.Files) {
			if !localName(name) {
				t.Errorf("name %q", name)
			}
		}
	})
}

// FuzzSigned: nothing but what the key signed is opened, however the message is bent.
func FuzzSigned(f *testing.F) {
	signer, verifier, err := GenerateKey(rand.Reader, "k")
	must(f, err)
	dir := f.TempDir()
	write(f, dir+"/gatehouse.yaml", "d")
	good, err := Sign(dir, "gatehouse.yaml", nil, 1, time.Unix(2e9, 0), signer)
	must(f, err)
	want, err := Verify(good, []string{verifier})
	must(f, err)
	f.Add(0, []byte("x"))
	f.Add(len(good), []byte("— k AAAA\n"))
	f.Add(20, []byte("\n"))
	f.Fuzz(func(t *testing.T, at int, insert []byte) {
		if at < 0 || at > len(good) {
			return
		}
		bent := fmt.Appendf(nil, "%s%s%s", good[:at], insert, good[at:])
		if n, err := Verify(bent, []string{verifier}); err == nil && n.digest != want.digest {
			t.Errorf("%q is taken for signed", bent)
		}
		if n, err := Verify(insert, []string{verifier}); err == nil && n.digest != want.digest {
			t.Errorf("%q is taken for signed", insert)
		}
	})
}
