package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	earlier "github.com/corazawaf/coraza-coreruleset"
	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
)

func coreRules(ts *testscript.TestScript, neg bool, args []string) {
	release := coreruleset.FS
	switch {
	case neg || len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "earlier":
		ts.Fatalf("usage: corerules FOLDER [earlier]")
	case len(args) == 2:
		release = earlier.FS
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), release))
}

// What is told of an API that doesn't learn has the same form as of one that does: jq goes over its lines.
func TestLearnedLinesAreAList(t *testing.T) {
	n := newNode(t.TempDir(), slog.New(slog.DiscardHandler), waf.Load())
	defer n.close()
	n.current.apis = []string{"shop"}
	answer, err := n.learned(t.Context(), learnedOf{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(answer)
	if err != nil || !bytes.Contains(text, []byte(`"lines":[]`)) || bytes.Contains(text, []byte(`"since"`)) {
		t.Errorf("%s %v", text, err)
	}
}

// What is printed of learning, in each of its states.
func TestLearnedIsTold(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.Local)
	line := seclang.LearnedLine{Operation: "search", Rule: 942130, Level: 2, Argument: "q", Matches: 9, Would: 7, Last: now, Exception: "x"}
	complete(&line, now)
	other := seclang.LearnedLine{Operation: "search", Rule: 942200, Level: 2, Argument: "(other)", Matches: 1, Last: now}
	body := seclang.LearnedLine{Operation: "note", Rule: 920300, Level: 3, Matches: 2, Last: now, Exception: "x"}
	complete(&body, now)
	on := learnedAPI{Name: "shop", Learns: true, Learned: seclang.Learned{Since: now, Requests: 12, Lost: 3, Lines: []seclang.LearnedLine{line, other, body}}}
	for want, l := range map[string]learned{
		`Nothing is learned: no API of the document says so. Write, and reload:

  learn: true   at guards.waf, or at apis[].guards.waf for one API
`: {APIs: []learnedAPI{{Name: "shop"}}},
		`The rules judged 12 requests since the start: 10 by the prefilter alone, 2 by the engine.

shop: in 12 requests since 2026-11-22 03:00 the next paranoia level finds

  WOULD DENY  MATCHED  RULE    LEVEL  OPERATION  ARGUMENT                                        LAST
  7           9        942130  2      search     q                                               2026-11-22 03:00
  0           1        942200  2      search     (other) (made up by clients: no exception)      2026-11-22 03:00
  0           2        920300  3      note       - (no argument: the exception is for the rule)  2026-11-22 03:00
  and 3 matches for which there was no room

Where a rule errs, and nowhere else, at guards.waf:

  except:
    - {rule: 942130, argument: q, operation: search, author: YOU, reason: "why the rule errs here", until: 2027-02-22}
    - {rule: 920300, operation: note, author: YOU, reason: "why the rule errs here", until: 2027-02-22}

quiet: in 5 requests since 2026-11-22 03:00 the next paranoia level finds nothing.

new: learning, and no request has been let pass yet; ask again later

off: nothing is learned; learn: true   at apis[].guards.waf
`: {Fast: 10, Slow: 2, APIs: []learnedAPI{on, {Name: "quiet", Learns: true, Learned: seclang.Learned{Since: now, Requests: 5}}, {Name: "new", Learns: true}, {Name: "off"}}},
	} {
		var out bytes.Buffer
		printLearned(&out, l, paint{})
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	}
}
