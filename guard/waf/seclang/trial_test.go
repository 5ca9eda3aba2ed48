package seclang

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTwoRuleSetsAreCompared(t *testing.T) {
	f, wrong := read(t, `SecRuleRemoveById 942100`+"\n"+`SecRule ARGS:color "@streq red" "id:10001,phase:2,deny,status:451,msg:'red'"`+"\n"+`SecRule ARGS:color "@pmFromFile words.data" "id:10002,phase:2,pass,msg:'words'"`)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if err := Check(Set{Core: core(), After: f}).Err(false); err != nil {
		t.Fatal(err)
	}
	text, err := f.Text()
	if err != nil {
		t.Fatal(err)
	}
	request := func(color string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("GET /a?color=" + color + " HTTP/1.1\r\nHost: example.org\r\nUser-Agent: a\r\nAccept: */*\r\n\r\n")}
	}
	folder := fstest.MapFS{
		"good.http": request("blue"), "red.http": request("red"), "deep/attack.http": request("1%27%20or%20%271%27=%271"), "select.http": request("select"),
		"bad.http": {Data: []byte("hello")}, "notes.txt": {Data: []byte("not a request")},
	}
	c, err := Diff(context.Background(), Plain(engine()), Plain(compiledCore("", &text)), folder)
	if err != nil {
		t.Fatal(err)
	}
	if c.Requests != 5 || c.NowDenied != 1 || len(c.Unread) != 1 || c.Verdicts() || c.Same != 1 {
		t.Errorf("%+v", c)
	}
	if ch := c.Changes[0]; c.NowAllowed == 0 && (ch.Request != "red.http" || ch.Kind != NowDenied || ch.New.Status != 451 || ch.New.Rule != 10001 || ch.Unstable) {
		t.Errorf("%+v", ch)
	}
	gone := false
	for _, ch := range c.Changes {
		gone = gone || ch.Request == "deep/attack.http" && len(ch.Gone) > 0
	}
	if out, err := json.Marshal(c); err != nil || !gone || !strings.Contains(string(out), `"now_denied":1`) {
		t.Errorf("%s %v", out, err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := Diff(ended, Plain(engine()), Plain(engine()), folder); err == nil {
		t.Error("an ended context is not the end")
	}
	if _, err := Diff(context.Background(), Plain(engine()), Plain(engine()), fstest.MapFS{}); err == nil {
		t.Error("a trial without requests went well")
	}
}

func TestRecordedRequestsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"POST /a HTTP/1.1\r\nHost: x\r\n\r\nbody\r\n\r\nmore": "POST /a HTTP/1.1 [[Host x]] \"body\\r\\n\\r\\nmore\"",
		"POST /a HTTP/1.1\nA:  b \nContent-Length: 2\n\nbody": "[[A b] [Content-Length 2]] \"bo\"",
		"GET /a HTTP/1.1\n":                     "[] \"\"",
		"GET /a HTTP/1.1\r\nA: b\n\nx\r\n\r\ny": "[[A b]] \"x\\r\\n\\r\\ny\"",
		"GET /a":                                "x.http:1: ",
		"":                                      "x.http:1: ",
		"GET /a HTTP/1.1\nno field\n\n":         "x.http:2: ",
		"GET /a HTTP/1.1\nContent-Length: 9\n\nshort":  "x.http:2: ",
		"GET /a HTTP/1.1\nContent-Length: -1\n\nshort": "x.http:2: ",
	} {
		r, err := ParseRecorded("x.http", []byte(text))
		got := strings.Join([]string{r.Method, r.Target, r.Proto, sprint(r.Fields), sprintq(r.Body)}, " ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func FuzzParseRecorded(f *testing.F) {
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: x\r\n\r\nbody"))
	f.Add([]byte("GET /a HTTP/1.1\nContent-Length: 1\n\n\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecorded("x", data)
		if err == nil && len(r.Body) > len(data) {
			t.Error("more body than bytes")
		}
	})
}

func sprint(v any) string     { return strings.TrimSpace(fmt.Sprint(v)) }
func sprintq(b []byte) string { return fmt.Sprintf("%q", b) }
