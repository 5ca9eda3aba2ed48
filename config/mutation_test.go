package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/config/mutate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

var seed = flag.Int64("seed", 1, "of the mutations; 0 takes the time, as make soak does")

func sampleSchema(t testing.TB) []byte {
	t.Helper()
	schema, err := config.Schema(sampleParts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestMutations: row I9. A thousand documents, each wrong in one known place, are all refused.
func TestMutations(t *testing.T) {
	from := *seed
	if from == 0 {
		from = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -seed %d)", from, from)
	list := mutate.All([]byte(sample), from, 1000, mutate.Hints{Schema: sampleSchema(t)})
	refused, placed, words, suggested := 0, 0, 0, 0
	for _, m := range list {
		err := checkSample("gatehouse.yaml", m.Doc)
		if err == nil {
			t.Errorf("accepted: %s, line %d:\n%s", m.Class, m.Line, lineOf(m.Doc, m.Line))
			continue
		}
		refused++
		var found mistake.List
		if !errors.As(err, &found) {
			t.Fatalf("%s: no list of mistakes but %v", m.Class, err)
		}
		at, suggestion := hits(found, m)
		if at {
			placed++
		} else {
			t.Logf("misplaced: %s, wanted %d:%d %q, got %v", m.Class, m.Line, m.Column, lineOf(m.Doc, m.Line), err)
		}
		if m.Word == "" {
			continue
		}
		words++
		if suggestion {
			suggested++
		} else {
			t.Logf("no suggestion of %s: %v", m.Word, err)
		}
	}
	t.Logf("%s", mutate.Classes(list))
	t.Logf("refused %d of %d, right place %d, right word suggested %d of %d", refused, len(list), placed, suggested, words)
	if placed < len(list)*99/100 {
		t.Errorf("only %d of %d at the right place", placed, len(list))
	}
	if suggested < words*90/100 {
		t.Errorf("only %d of %d words suggested", suggested, words)
	}
}

func hits(found mistake.List, m mutate.Mutation) (placed, suggested bool) {
	for _, f := range found {
		if f.Line == m.Line && f.Column == m.Column {
			placed = true
			suggested = suggested || m.Word != "" && f.Write == m.Word
		}
	}
	return placed, suggested
}

func lineOf(doc []byte, line int) string {
	lines := strings.Split(string(doc), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	return lines[line-1]
}

// onlyReader are classes that the schema cannot judge: they are matters of YAML, of secrets, or of a type's own reading.
var onlyReader = map[string]bool{"duplicate key": true, "bad indentation": true, "tab": true, "missing colon": true,
	"unclosed quote": true, "alias": true, "secret": true, "expansion": true, "bad prefix": true, "bad address": true,
	"bad URL": true, "bad date": true, "bad size": true}

// TestSchemaAgrees: what the schema refuses the reader refuses, and what is wrong by its shape both refuse.
func TestSchemaAgrees(t *testing.T) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(sampleSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("gatehouse.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("gatehouse.json")
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
	if err, _ := judge([]byte(sample)); err != nil {
		t.Fatalf("the schema refuses the sample: %v", err)
	}
	both := 0
	for _, m := range mutate.All([]byte(sample), 7, 1000, mutate.Hints{Schema: sampleSchema(t)}) {
		refusal, read := judge(m.Doc)
		switch {
		case !read:
		case refusal != nil && checkSample("gatehouse.yaml", m.Doc) == nil:
			t.Errorf("%s: refused by the schema only: %v", m.Class, refusal)
		case refusal == nil && !onlyReader[m.Class]:
			t.Errorf("%s: accepted by the schema: line %d %q", m.Class, m.Line, lineOf(m.Doc, m.Line))
		case refusal != nil:
			both++
		}
	}
	if both < 300 {
		t.Errorf("only %d mutations were judged by both", both)
	}
}
