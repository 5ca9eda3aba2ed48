package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/mutate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

var seed = flag.Int64("seed", 1, "of the mutations; 0 takes the time, as make soak does")

// documents are the real ones that are changed: the shop's, and one that uses every section.
var documents = []string{"../../examples/shop/gatehouse.yaml", "testdata/full/gatehouse.yaml"}

// bench is where documents are checked as the command check does.
type bench struct {
	state string
	rules *waf.Rules
}

func newBench(t testing.TB) *bench { return &bench{filepath.Join(t.TempDir(), "state"), crs()} }

func (b *bench) check(file string, data []byte) error {
	_, err := checkDocument(b.state, file, data, b.rules)
	return err
}

// settle copies a document and what it names into a folder of its own, with a certificate, and goes there: files are named
// from the working directory, but for contracts.
func settle(t *testing.T, file string) []byte {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(filepath.Dir(file))); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example"}, DNSNames: []string{"*.shop.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(to, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(to)
	data, err := os.ReadFile(filepath.Base(file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func realSchema(t testing.TB) []byte {
	t.Helper()
	m, err := manual()
	if err != nil {
		t.Fatal(err)
	}
	text, err := config.Schema(sections(), m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestMutations: row I9. A thousand real documents, each wrong in one known place, through all that check does: every one is
// refused, and told at its place.
func TestMutations(t *testing.T) {
	from := *seed
	if from == 0 {
		from = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -seed %d)", from, from)
	b, score := newBench(t), score{}
	for i, file := range documents {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			data := settle(t, file)
			if err := b.check("gatehouse.yaml", data); err != nil {
				t.Fatalf("the right document is refused:\n%v", err)
			}
			n := []int{300, 700}[i]
			list := mutate.All(data, from, n, mutate.Hints{Schema: realSchema(t)})
			for _, m := range list {
				score.count(t, m, b.check("gatehouse.yaml", m.Doc))
			}
			t.Log(mutate.Classes(list))
		})
	}
	t.Logf("refused %d of %d, right place %d, right word suggested %d of %d", score.refused, score.all, score.placed, score.suggested, score.words)
	if score.refused != 1000 || score.all != 1000 {
		t.Errorf("refused %d of %d, want all of 1000", score.refused, score.all)
	}
	if score.placed < 990 {
		t.Errorf("only %d of 1000 at the right place", score.placed)
	}
	if score.suggested*100 < score.words*99 || score.words < 50 {
		t.Errorf("only %d of %d words suggested", score.suggested, score.words)
	}
}

type score struct{ all, refused, placed, words, suggested int }

func (s *score) count(t *testing.T, m mutate.Mutation, err error) {
	s.all++
	if err == nil {
		t.Errorf("accepted: %s, line %d: %q", m.Class, m.Line, lineOf(m.Doc, m.Line))
		return
	}
	s.refused++
	var found mistake.List
	if !errors.As(err, &found) {
		t.Errorf("%s: no list of mistakes but %v", m.Class, err)
		return
	}
	placed, suggested := false, false
	for _, f := range found {
		if f.Line == m.Line && f.Column == m.Column {
			placed = true
			suggested = suggested || f.Write == m.Word
		}
	}
	if placed {
		s.placed++
	} else {
		t.Logf("misplaced: %s, wanted %d:%d %q, got %v", m.Class, m.Line, m.Column, lineOf(m.Doc, m.Line), err)
	}
	if m.Word == "" {
		return
	}
	s.words++
	if suggested {
		s.suggested++
	} else {
		t.Logf("no suggestion of %s for %q: %v", m.Word, lineOf(m.Doc, m.Line), err)
	}
}

func lineOf(doc []byte, line int) string {
	lines := strings.Split(string(doc), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	return lines[line-1]
}

// bySchema are classes that the schema must see as well; the others are matters of YAML, of secrets or of a part's own sense.
var bySchema = map[string]bool{"typo": true, "unknown key": true, "missing required": true, "no value": true, "bad word": true, "out of bounds": true, "wrong type": true, "empty list": true, "bad duration": true}

// TestSchema: the schema that editors use accepts every document that check accepts, refuses what is wrong by its shape, and
// refuses nothing that check accepts.
func TestSchema(t *testing.T) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(realSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("gatehouse.schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("gatehouse.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	judge := func(doc []byte) (error, bool) {
		d, _ := config.Parse("gatehouse.yaml", doc)
		if d == nil {
			return nil, false
		}
		plain, err := json.Marshal(d.Value(""))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value), true
	}
	for _, file := range stories(t) {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			f.Data = day.ReplaceAll(f.Data, []byte("2099-01-01")) // as a story writes a date
			if err, read := judge(f.Data); f.Name == "gatehouse.yaml" && (err != nil || !read) {
				t.Errorf("%s: the schema refuses its document: %v", file, err)
			}
		}
	}
	refused := 0
	for _, file := range documents {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err, _ := judge(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, m := range mutate.All(data, 11, 500, mutate.Hints{Schema: realSchema(t)}) {
			refusal, read := judge(m.Doc)
			switch {
			case !read:
			case refusal != nil:
				refused++
			case bySchema[m.Class]:
				t.Errorf("%s is accepted: %s, line %d %q", file, m.Class, m.Line, lineOf(m.Doc, m.Line))
			}
		}
	}
	if refused < 300 {
		t.Errorf("only %d mutations were refused by the schema", refused)
	}
}

// TestCheckAndServeAgree: row I9. What check refuses serve refuses, for the same mistakes, before it binds anything.
func TestCheckAndServeAgree(t *testing.T) {
	data := settle(t, documents[1])
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	b := newBench(t)
	for i, m := range mutate.All(data, 5, 12, mutate.Hints{Schema: realSchema(t)}) {
		checked := b.check("gatehouse.yaml", m.Doc)
		if err := os.WriteFile("gatehouse.yaml", m.Doc, 0o600); err != nil {
			t.Fatal(err)
		}
		served := service{place: "gatehouse.yaml"}.serve(t.Context(), stdio{nil, new(bytes.Buffer), new(bytes.Buffer)})
		if served == nil || checked == nil {
			t.Fatalf("%d: check says %v, serve says %v", i, checked, served)
		}
		var found mistake.List
		if !errors.As(served, &found) || inOrder(found)[0] != checked.(mistake.List)[0] {
			t.Errorf("%s: check says\n%v\nserve says\n%v", m.Class, checked, served)
		}
	}
}
