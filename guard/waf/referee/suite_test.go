package referee

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// differs is the file of the tests that plain Coraza does not pass at the boundary, with the reason. They are compared
// like all others: what Coraza gets wrong a candidate must get wrong as well.
const differs = "testdata/engine-differs.txt"

func requests(t testing.TB, w world, tests []Test) []Request {
	t.Helper()
	list := make([]Request, len(tests))
	for i, test := range tests {
		var err error
		if list[i], err = w.collector.Request(test); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// The rule set's own tests at the boundary: what they demand, plain Coraza says, but for the few that are listed; and a
// candidate that is plain Coraza as well says the same.
func TestTheSuite(t *testing.T) {
	w := the(t)
	tests := thin(w.suite, every(1))
	records, err := w.referee.Records(requests(t, w, tests), runs())
	if err != nil {
		t.Fatal(err)
	}
	levels, answers := [5]int{}, 0
	var wrong []string
	for i, test := range tests {
		levels[test.Level]++
		if test.Answered() {
			answers++
		}
		if failed := records[i].Judgement.First.Failed; failed != "" {
			t.Errorf("%s: %s", test.ID, failed)
		}
		if kept := test.Kept(records[i].Judgement.First); len(kept) > 0 {
			wrong = append(wrong, test.ID+" "+strings.Join(kept, ", "))
		}
	}
	if !raced {
		exact(t, differs, wrong)
	}
	report, err := w.referee.Hold(w.plain, records, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Error(f)
	}
	t.Logf("%d steps of tests, %v by level, %d about answers, %d that plain Coraza does not pass; %v", len(tests), levels[1:], answers, len(wrong), report)
}

// exact compares a list with a file whose lines begin with the same words; what follows after " # " is the reason.
func exact(t *testing.T, file string, got []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(data)) {
		if entry, _, _ := strings.Cut(strings.TrimSpace(line), " # "); entry != "" && !strings.HasPrefix(entry, "#") {
			want = append(want, strings.TrimSpace(entry))
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s lacks: %s", file, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s has what is no longer so: %s", file, line)
		}
	}
}

// All tests are read, and each says what it wants.
func TestTheSuiteIsWhole(t *testing.T) {
	w := the(t)
	expect, never, messages, status, ids := 0, 0, 0, 0, map[string]bool{}
	for _, test := range w.suite {
		if ids[test.ID] {
			t.Errorf("%s twice", test.ID)
		}
		ids[test.ID] = true
		switch {
		case len(test.Expect) > 0:
			expect++
		case len(test.Never) > 0:
			never++
		case test.Log != "" || test.NotLog != "":
			messages++
		case test.Status != 0:
			status++
		default:
			t.Errorf("%s demands nothing", test.ID)
		}
		if len(test.Message.Bytes()) < 16 {
			t.Errorf("%s: %q", test.ID, test.Message.Bytes())
		}
	}
	if got, want := fmt.Sprint(len(w.suite), expect, never, messages, status), "4680 3746 899 14 21"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

// Collections stand for bytes: what the engine says when it reads a message itself is what it says when it is fed what it
// has read.
func TestCollectionsStandForBytes(t *testing.T) {
	w := the(t)
	engine, err := NewEngine(withReaders(w.directives))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range thin(w.suite, every(6)) {
		if test.Answered() {
			continue
		}
		request, err := w.collector.Request(test)
		if err != nil {
			t.Fatal(err)
		}
		j := Judgement{First: engine.Run(request), Runs: 1}
		got := readAndRun(t, engine, test.Message.parsed(), request.Settings)
		for n := 0; n < 40 && len(j.Differences(got)) > 0; n++ {
			j = j.and(engine.Run(request))
			got = readAndRun(t, engine, test.Message.parsed(), request.Settings)
		}
		if d := j.Differences(got); len(d) > 0 {
			t.Errorf("%s: %s", test.ID, strings.Join(d, "\n  "))
		}
	}
}

// readAndRun lets the engine read the message.
func readAndRun(t *testing.T, e *Engine, m Message, s Settings) Outcome {
	t.Helper()
	tx := e.waf.NewTransactionWithID("bytes").(transaction)
	defer tx.Close()
	for name, text := range s.settings() {
		tx.Variables().TX().Set(name, []string{text})
	}
	tx.ProcessConnection("127.0.0.1", 40000, "127.0.0.1", 80)
	tx.ProcessURI(m.Target, m.Method, m.Version)
	if host, ok := m.field("Host"); ok {
		tx.SetServerName(host)
	}
	for _, f := range m.Fields {
		tx.AddRequestHeader(f.Name, f.Value)
	}
	if tx.ProcessRequestHeaders() == nil {
		if _, _, err := tx.WriteRequestBody(m.Body); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ProcessRequestBody(); err != nil {
			t.Fatal(err)
		}
	}
	return outcome(tx)
}
