package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/secret"
)

const canary = "canary-8d1f"

// holders keep a value the way that code does; fmt cannot call methods of what stands in an unexported field.
type holder struct{ Value secret.Value }
type hidden struct{ value secret.Value }

func TestAValueNeverPrintsItself(t *testing.T) {
	v, err := secret.New([]byte(canary), "test")
	if err != nil {
		t.Fatal(err)
	}
	raw := fmt.Sprint([]byte(canary)) // [99 97 110 ...]
	raw = raw[1 : len(raw)-1]
	shows := func(how, text string) {
		t.Helper()
		for _, form := range []string{canary, raw, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("%#v", []byte(canary))} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows the secret: %s", how, text)
			}
		}
	}
	holders := map[string]any{
		"value": v, "pointer": &v, "field": holder{v}, "unexported field": hidden{v}, "pointer to unexported field": &hidden{v},
		"slice": []secret.Value{v}, "map": map[string]secret.Value{"a": v}, "slice of unexported": []hidden{{v}}, "any": []any{v, &v},
	}
	for name, h := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%T", "%t", "%08b", "% x", "%c", "%U"} {
			shows(name+" "+verb, fmt.Sprintf(verb, h))
		}
		shows(name+" Sprint", fmt.Sprint(h)+fmt.Sprintln(h))
		data, _ := json.Marshal(h)
		shows(name+" json", string(data))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "a", h)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "a", h)
		shows(name+" slog", log.String())
		var binary bytes.Buffer
		_ = gob.NewEncoder(&binary).Encode(h) // refuses most
		shows(name+" gob", binary.String())
		shows(name+" error", errors.Join(fmt.Errorf("a: %v", h)).Error())
	}
	if text, err := v.MarshalText(); err != nil || string(text) != "[secret]" {
		t.Errorf("%s %v", text, err)
	}
	if string(v.Reveal()) != canary || v.IsZero() {
		t.Error("Reveal does not reveal")
	}
}

func TestNoValueIsNoSecret(t *testing.T) {
	for _, data := range [][]byte{nil, {}} {
		if v, err := secret.New(data, "test"); err == nil || !v.IsZero() {
			t.Errorf("%v was taken", data)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero Value reveals something")
		}
	}()
	secret.Value{}.Reveal()
}

func TestReferences(t *testing.T) {
	for text, want := range map[string][3]string{
		"file:/run/key": {"file", "/run/key", ""}, "file:key": {"file", "key", ""}, "file:a:b#c": {"file", "a:b#c", ""}, "env:SHOP_KEY": {"env", "SHOP_KEY", ""},
		"credential:tls.key": {"credential", "tls.key", ""}, "store:shop/password": {"store", "shop/password", ""}, "store:a@3": {"store", "a@3", ""},
		"vault:secret/shop#password": {"vault", "secret/shop", "password"}, "vault:database/creds/shop-rw#password": {"vault", "database/creds/shop-rw", "password"},
		"vault:a/b/c.d~e+f#x.y-z_1": {"vault", "a/b/c.d~e+f", "x.y-z_1"}, "kubernetes:shop/db#tls.key": {"kubernetes", "shop/db", "tls.key"},
	} {
		var r secret.Ref
		if err := r.UnmarshalText([]byte(text)); err != nil || r.IsZero() || r.String() != text || [3]string{r.Scheme(), r.Place(), r.Field()} != want {
			t.Errorf("%s: %v, %q, %q, %q, %q", text, err, r, r.Scheme(), r.Place(), r.Field())
		}
		if path := r.Path(); (path != "") != (want[0] == "file") {
			t.Errorf("%s: path %q", text, path)
		}
		if !regexp.MustCompile(r.Pattern()).MatchString(text) {
			t.Errorf("%s doesn't fit the pattern of the schema", text)
		}
	}
	for _, text := range []string{
		"", ":", "file:", "env:", "File:/a", " file:/a", "https://a/b", "vault:a", canary, canary + ":" + canary, "env", "file:a\nb", "file:a\x00", "env:A-B", "env:1A", "env:A\n",
		"credential:a/b", "credential:..", "credential:", "store:A", "store:a//b", "store:/a", "store:a/", "store:a@0", "store:a@01", "store:a@", "store:a@1@2", "store:..", "store:a/../b", "store:.a",
		"vault:secret#a", "vault:secret/#a", "vault:/secret/a#b", "vault:secret/a", "vault:secret/a#", "vault:secret/../a#b", "vault:secret/./a#b", "vault:secret/a?b#c", "vault:secret/a%2e#c", "vault:secret/a#b#c",
		"kubernetes:a#b", "kubernetes:a/b", "kubernetes:a/b/c#d", "kubernetes:A/b#c", "kubernetes:../b#c", "kubernetes:a/b#c/d", "vault:" + canary, "store:" + strings.ToUpper(canary), "vault:a/b#c\n",
		"file:" + strings.Repeat("a", 5000), "store:" + strings.Repeat("a", 300),
	} {
		var r secret.Ref
		err := r.UnmarshalText([]byte(text))
		if err == nil || !r.IsZero() {
			t.Errorf("%q was taken for a reference", text)
			continue
		}
		if strings.Contains(strings.ToLower(err.Error()), canary) {
			t.Errorf("the error repeats what may be the secret itself: %v", err)
		}
	}
}

func TestResolve(t *testing.T) {
	folder := t.TempDir()
	file := func(name, data string) secret.Ref {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return reference(t, "file:"+path)
	}
	t.Setenv("GATEHOUSE_TEST_KEY", canary+"\n")
	t.Setenv("GATEHOUSE_TEST_EMPTY", "")
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	for _, c := range []struct {
		name string
		ref  secret.Ref
		want string // "" for a mistake
	}{
		{"a line", file("a", canary+"\n"), canary},
		{"a line of Windows", file("b", canary+"\r\n"), canary},
		{"no line end", file("c", canary), canary},
		{"two line ends", file("d", canary+"\n\n"), canary + "\n"},
		{"spaces count", file("e", " "+canary+" "), " " + canary + " "},
		{"a variable is taken whole", reference(t, "env:GATEHOUSE_TEST_KEY"), canary + "\n"},
		{"empty file", file("f", ""), ""},
		{"only a line end", file("g", "\n"), ""},
		{"missing file", reference(t, "file:"+filepath.Join(folder, "none")), ""},
		{"a folder", reference(t, "file:"+folder), ""},
		{"empty variable", reference(t, "env:GATEHOUSE_TEST_EMPTY"), ""},
		{"missing variable", reference(t, "env:GATEHOUSE_TEST_MISSING"), ""},
		{"no reference", secret.Ref{}, ""},
		{"a credential", reference(t, "credential:a"), canary},
		{"missing credential", reference(t, "credential:none"), ""},
		{"the gateway's own store, at boot", reference(t, "store:a"), ""},
		{"another store, at boot", reference(t, "vault:secret/a#b"), ""},
		{"a cluster's, at boot", reference(t, "kubernetes:a/b#c"), ""},
	} {
		v, err := c.ref.Resolve()
		switch {
		case c.want == "" && (err == nil || !v.IsZero()):
			t.Errorf("%s: resolved (I6)", c.name)
		case c.want == "" && !c.ref.IsZero() && !strings.Contains(err.Error(), c.ref.String()) && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("%s: the error does not say which: %v", c.name, err)
		case c.want != "" && (err != nil || string(v.Reveal()) != c.want):
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func reference(t *testing.T, text string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzRef: what is taken is written back as it came and fits the schema's pattern; an error is one of a few fixed
// sentences, so that it can't repeat what it refuses (K2).
func FuzzRef(f *testing.F) {
	sentences := map[string]bool{}
	for _, s := range []string{"file:", "env:", "credential:", "store:", "vault:", "kubernetes:", "x:y"} {
		var r secret.Ref
		sentences[r.UnmarshalText([]byte(s)).Error()] = true
	}
	for _, s := range []string{"file:/a", "env:A", "file:", "x:y", "hunter2hunter2", "file:a:b\n", "store:a/b@3", "vault:a/b#c", "kubernetes:a/b#c", "credential:a"} {
		f.Add(s)
	}
	pattern := regexp.MustCompile(secret.Ref{}.Pattern())
	f.Fuzz(func(t *testing.T, text string) {
		var r secret.Ref
		if err := r.UnmarshalText([]byte(text)); err != nil {
			if !sentences[err.Error()] {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if r.String() != text || !pattern.MatchString(text) || (r.Path() == "") == strings.HasPrefix(text, "file:") {
			t.Errorf("%q became %q", text, r)
		}
		if again := r.Scheme() + ":" + r.Place(); again != text && again+"#"+r.Field() != text {
			t.Errorf("%q has the parts %q, %q, %q", text, r.Scheme(), r.Place(), r.Field())
		}
		if strings.Contains(text, "..") && r.Scheme() == secret.Vault && strings.Contains("/"+r.Place()+"/", "/../") {
			t.Errorf("%q climbs", text)
		}
	})
}
