package everyday

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

// TestTrafficIsWhatTheContractSays: each request of both halves, and each text in its field, is valid by a reader of
// contracts that isn't ours.
func TestTrafficIsWhatTheContractSays(t *testing.T) {
	for _, text := range []string{Contract(), WithoutSinks()} {
		valid := validator(t, text)
		for _, odd := range []bool{false, true} {
			for _, r := range Requests(odd, 100) {
				if err := valid(r.Request); err != nil {
					t.Errorf("%s: %s\n%v", r.Operation, r.Bytes(), err)
				}
			}
			for _, v := range Values(odd) {
				if err := valid(With(v.Field, v.Text)); err != nil {
					t.Errorf("%s %s %q: %v", v.Operation, v.Name, v.Text, err)
				}
			}
		}
	}
}

func validator(t *testing.T, contract string) func(firewall.Request) error {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(contract))
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return func(r firewall.Request) error {
		read, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.Bytes())))
		if err != nil {
			return err
		}
		route, parameters, err := router.FindRoute(read)
		if err != nil {
			return err
		}
		return openapi3filter.ValidateRequest(t.Context(), &openapi3filter.RequestValidationInput{Request: read, PathParams: parameters, Route: route})
	}
}

// TestFields: the fields of the traffic are those of the contract, and each text out of a pool stands in a free one, in a
// link or in a file.
func TestFields(t *testing.T) {
	fields, err := Fields()
	if err != nil {
		t.Fatal(err)
	}
	declared := map[Field]Declared{}
	kinds := map[string]int{}
	for _, d := range fields {
		if _, twice := declared[d.Field]; twice {
			t.Errorf("%v stands in the contract twice", d.Field)
		}
		declared[d.Field] = d
		kinds[d.Kind()]++
	}
	for _, kind := range []string{"html", "sql", "shell", "path", "url", "none", "unsaid", "confined"} {
		if kinds[kind] == 0 {
			t.Errorf("no field is %s", kind)
		}
	}
	for _, op := range operations() {
		for name, text := range op.texts() {
			f := Field{op.name, name}
			if d, ok := declared[f]; !ok || d.Kind() == "confined" {
				t.Errorf("%v of the pool %s is no free text of the contract", f, text.pool)
			}
		}
	}
	for _, d := range fields {
		const mark = "zzmarkzz"
		if r := With(d.Field, mark); strings.Count(r.Target+string(r.Body), mark) != 1 && !strings.Contains(d.Name, "*") || !bytes.Contains(r.Bytes(), []byte(mark)) {
			t.Errorf("%v: the text doesn't stand in %s", d.Field, r.Bytes())
		}
	}
	if strings.Contains(WithoutSinks(), "x-gatehouse-sink") {
		t.Error("a sink is left")
	}
}

// TestHalves: the halves share no text, each pool has some for both, and what is made of them is the same every time.
func TestHalves(t *testing.T) {
	entries, err := files.ReadDir("texts")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, op := range operations() {
		for _, text := range op.texts() {
			used[text.pool] = true
		}
	}
	for _, e := range entries {
		pool := strings.TrimSuffix(e.Name(), ".txt")
		if !used[pool] {
			t.Errorf("nothing of %s is ever sent", pool)
		}
		even, odd := half(pool, false), half(pool, true)
		if len(even) < 2 || len(odd) < 2 {
			t.Errorf("%s: %d and %d texts", pool, len(even), len(odd))
		}
		all := append(slices.Clone(even), odd...)
		slices.Sort(all)
		if n := len(all); len(slices.Compact(all)) != n || n != len(texts(pool)) {
			t.Errorf("%s: a text is there twice, or lost", pool)
		}
		for _, text := range all {
			if strings.TrimSpace(text) == "" || !utf8.ValidString(text) {
				t.Errorf("%s: %q is no text", pool, text)
			}
		}
	}
	first, again := Requests(false, 60), Requests(false, 60)
	for i := range first {
		if !bytes.Equal(first[i].Bytes(), again[i].Bytes()) {
			t.Errorf("request %d is another one the second time", i)
		}
	}
}

// TestLanguages: free texts come in eight languages, told by their script or by words that no other one has.
func TestLanguages(t *testing.T) {
	marks := map[string]*regexp.Regexp{
		"Arabic": regexp.MustCompile(`\p{Arabic}{3}`), "Russian": regexp.MustCompile(`\p{Cyrillic}{3}`), "Japanese": regexp.MustCompile(`\p{Hiragana}{2}`),
		"Chinese": regexp.MustCompile(`[这们请谢时间经颈你]|不推荐|质量`), "German": regexp.MustCompile(`\b(und|nicht|Sie|für)\b`), "French": regexp.MustCompile(`\b(est|vous|pas|les)\b`),
		"Spanish": regexp.MustCompile(`[¿¡]|\b(una|del|los|por|mi)\b`), "English": regexp.MustCompile(`\b(the|and|is)\b`),
	}
	for _, pool := range []string{"reviews", "tickets", "notes", "mails"} {
		for _, language := range slices.Sorted(maps.Keys(marks)) {
			if !slices.ContainsFunc(texts(pool), marks[language].MatchString) {
				t.Errorf("%s: no text is %s", pool, language)
			}
		}
	}
}
