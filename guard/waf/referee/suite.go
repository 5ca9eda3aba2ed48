package referee

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	yaml "github.com/oasdiff/yaml3"
)

// Test is one step of one regression test of the Core Rule Set.
type Test struct {
	ID      string // such as 942100-3, or 942100-3/2 for the second step
	Rule    int    // that it is about
	Level   int    // of paranoia at which all rules that it names run
	Message Message
	Expect  []int  // rules that must match
	Never   []int  // rules that must not
	Log     string // expression that a message of a rule must match
	NotLog  string // and one that none may
	Status  int    // that their own server would answer below the rules; 0 when that is not said
}

// document is a file of tests. What is not named here does not concern us.
type document struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int `yaml:"test_id"`
		Stages []struct {
			Input  input  `yaml:"input"`
			Output output `yaml:"output"`
		} `yaml:"stages"`
	} `yaml:"tests"`
}

type input struct {
	Headers  yaml.Node `yaml:"headers"`
	URI      *string   `yaml:"uri"`
	Method   *string   `yaml:"method"`
	Version  *string   `yaml:"version"`
	Data     *string   `yaml:"data"`
	Encoded  string    `yaml:"encoded_request"`
	Complete *bool     `yaml:"autocomplete_headers"`
}

type output struct {
	Status int `yaml:"status"`
	Log    struct {
		Expect   []int  `yaml:"expect_ids"`
		Never    []int  `yaml:"no_expect_ids"`
		Match    string `yaml:"match_regex"`
		NotMatch string `yaml:"no_match_regex"`
	} `yaml:"log"`
}

// Suite reads all tests, in the order of their numbers.
func Suite() ([]Test, error) {
	rules, err := CoreRules()
	if err != nil {
		return nil, err
	}
	levels := map[int]int{}
	for _, r := range rules {
		levels[r.ID] = r.Level
	}
	files, err := fs.Glob(crstests.FS, "*/*.yaml")
	if err != nil {
		return nil, err
	}
	var list []Test
	for _, file := range files {
		text, err := fs.ReadFile(crstests.FS, file)
		if err != nil {
			return nil, err
		}
		tests, err := readTests(text, levels)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, tests...)
	}
	return list, nil
}

func readTests(text []byte, levels map[int]int) ([]Test, error) {
	var d document
	if err := yaml.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	var list []Test
	for _, t := range d.Tests {
		for i, stage := range t.Stages {
			id := fmt.Sprintf("%d-%d", d.RuleID, t.ID)
			if len(t.Stages) > 1 {
				id += "/" + strconv.Itoa(i+1)
			}
			message, err := stage.Input.message()
			if err != nil {
				return nil, fmt.Errorf("test %s: %w", id, err)
			}
			log := stage.Output.Log
			one := Test{ID: id, Rule: d.RuleID, Level: 1, Message: message, Expect: log.Expect, Never: log.Never, Log: log.Match, NotLog: log.NotMatch, Status: stage.Output.Status}
			for _, rule := range append([]int{d.RuleID}, append(slices.Clone(log.Expect), log.Never...)...) {
				one.Level = max(one.Level, levels[rule])
			}
			list = append(list, one)
		}
	}
	return list, nil
}

func (in input) message() (Message, error) {
	or := func(text *string, otherwise string) string {
		if text == nil {
			return otherwise
		}
		return *text
	}
	if in.Encoded != "" {
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(in.Encoded), ""))
		return Message{Raw: raw}, err
	}
	m := Message{Method: or(in.Method, "GET"), Target: or(in.URI, "/"), Version: or(in.Version, "HTTP/1.1"), Body: []byte(or(in.Data, ""))}
	for i := 0; i+1 < len(in.Headers.Content); i += 2 {
		m.Fields = append(m.Fields, Field{in.Headers.Content[i].Value, in.Headers.Content[i+1].Value})
	}
	complete := in.Complete == nil || *in.Complete
	if complete {
		m = m.complete()
	}
	if media, _ := m.field("Content-Type"); strings.HasPrefix(media, "multipart/form-data;") {
		m.Body = crlf(m.Body)
	}
	if complete {
		m = m.measured()
	}
	return m, nil
}

// Answered tells that the test is about an answer.
func (t Test) Answered() bool { return t.Rule >= 950000 && t.Rule < 990000 }

// tuned are the settings under which the rule set's authors run their tests: limits that are otherwise off.
var tuned = map[string]string{
	"crs_validate_utf8_encoding": "1", "arg_name_length": "100", "arg_length": "400", "total_arg_length": "64000",
	"max_num_args": "255", "max_file_size": "64100", "combined_file_sizes": "65535",
}

// Request makes the collections of a test, under the settings of the rule set's authors, at the test's level. The request of
// a test about answers is let through whatever it says, since it holds the answer.
func (c *Collector) Request(t Test) (Request, error) {
	m := t.Message.parsed()
	r, err := c.Collect(m)
	if err != nil {
		return r, fmt.Errorf("test %s: %w", t.ID, err)
	}
	r.Name = "crs " + t.ID
	r.Settings = Settings{Paranoia: t.Level, TX: tuned}
	r.Logging = t.Rule >= 980000 && t.Rule < 990000
	if !t.Answered() {
		return r, nil
	}
	if t.Rule < 980000 {
		r.Settings.Threshold = 1 << 20
	}
	path, _, _ := strings.Cut(m.Target, "?")
	reply, err := Reflect(m.Method, path, m.Body)
	if err != nil {
		return r, fmt.Errorf("test %s: %w", t.ID, err)
	}
	return r.Answer(reply), nil
}

// Answer adds the answer to a request.
func (r Request) Answer(reply Reply) Request {
	r.Answered = true
	r.AnswerHead = []Value{{"RESPONSE_STATUS", "", strconv.Itoa(reply.Status)}, {"RESPONSE_PROTOCOL", "", "HTTP/1.1"}}
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		for _, value := range reply.Header[name] {
			r.AnswerHead = append(r.AnswerHead, Value{"RESPONSE_HEADERS", name, value})
		}
	}
	if media, _, _ := strings.Cut(reply.Header.Get("Content-Type"), ";"); media != "" {
		r.AnswerHead = append(r.AnswerHead, Value{"RESPONSE_CONTENT_TYPE", "", media})
	}
	r.AnswerBody = []Value{{"RESPONSE_BODY", "", string(reply.Body)}, {"RESPONSE_CONTENT_LENGTH", "", strconv.Itoa(len(reply.Body))}}
	return r
}

// Kept tells in what an outcome is not what the test demands. The messages of rules are not compared.
func (t Test) Kept(o Outcome) []string {
	var list []string
	for _, id := range t.Expect {
		if o.Matched[id] == 0 {
			list = append(list, fmt.Sprintf("%d does not match", id))
		}
	}
	for _, id := range t.Never {
		if o.Matched[id] != 0 {
			list = append(list, fmt.Sprintf("%d matches", id))
		}
	}
	return list
}

// ByID orders tests by rule and number.
func ByID(a, b Test) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), strings.Compare(a.ID, b.ID)) }
