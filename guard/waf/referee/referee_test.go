package referee

import (
	"os"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3"
)

// A referee in whose process somebody has registered an operator of his own would agree with its mistakes (issue 6, point 3).
func TestATouchedRefereeIsRefused(t *testing.T) {
	t.Setenv("REFEREE_TOUCHED", "1")
	r, err := Start(`SecRule ARGS "@rx x" "id:1,phase:2,pass"`)
	if err == nil {
		_ = r.Close()
		t.Fatal("a touched referee serves")
	}
	if !strings.Contains(err.Error(), "not the engine's own") {
		t.Fatal(err)
	}
}

func TestARefereeWithWrongDirectivesSaysSo(t *testing.T) {
	if r, err := Start(`SecNonsense On`); err == nil {
		_ = r.Close()
		t.Fatal("nonsense was taken")
	}
}

func TestTheRefereeIsAnotherProcess(t *testing.T) {
	if pid := the(t).referee.process.Process.Pid; pid == os.Getpid() || pid == 0 {
		t.Fatalf("process %d", pid)
	}
}

// What cannot be fed is said and not left out.
func TestWhatCannotBeFedFails(t *testing.T) {
	w := the(t)
	for _, v := range []Value{{"NO_SUCH", "", "x"}, {"ARGS", "a", "x"}, {"ARGS_COMBINED_SIZE", "", "1"}, {"REQUEST_COOKIES_NAMES", "a", "x"}} {
		if o := w.plain.Engine.Run(Request{Head: []Value{v}}); o.Failed == "" {
			t.Errorf("%v was fed", v)
		}
	}
}

// The engine keeps what it has transformed by the address of the key and the position of the value, and positions are
// random: two values of one key string are at times taken for each other, and an attack is missed. Feed gives each value a
// key of its own; an empty key too.
func TestValuesWithOneKeyAreNotTakenForEachOther(t *testing.T) {
	const directives = `
SecRuleEngine On
SecRule ARGS_NAMES "@rx nothing" "id:1,phase:1,pass,t:none,t:lowercase"
SecRule ARGS_GET "@rx nothing" "id:2,phase:1,pass,t:none,t:lowercase"
SecRule ARGS_GET "@rx attack" "id:3,phase:1,pass,t:none,t:lowercase"
`
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(directives))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"k", ""} {
		missedShared, missedOwn := 0, 0
		for range 300 {
			shared := waf.NewTransaction().(transaction)
			own := waf.NewTransaction().(transaction)
			values := []Value{{"ARGS_GET", "other", "x"}, {"ARGS_GET", key, "harmless"}, {"ARGS_GET", "K2", "x"}, {"ARGS_GET", key, "ATTACK"}}
			for _, v := range values {
				shared.Variables().ArgsGet().Add(v.Key, v.Text)
			}
			if err := feed(own, values); err != nil {
				t.Fatal(err)
			}
			for tx, missed := range map[transaction]*int{shared: &missedShared, own: &missedOwn} {
				tx.ProcessRequestHeaders()
				if outcome(tx).Matched[3] == 0 {
					*missed++
				}
				_ = tx.Close()
			}
		}
		if missedOwn > 0 {
			t.Errorf("key %q: missed %d times of 300 although each value has its own key", key, missedOwn)
		}
		if missedShared == 0 {
			t.Errorf("key %q: nothing is missed with shared keys: the engine has changed, and this test shows nothing any more", key)
		}
	}
}

// Of derives what the engine derives.
func TestOfIsWhatTheEngineDerives(t *testing.T) {
	w := the(t)
	for _, test := range thin(w.suite, 40*every(1)) {
		r, err := w.collector.Request(test)
		if err != nil {
			t.Fatal(err)
		}
		tx := w.plain.Engine.waf.NewTransaction().(transaction)
		if err := feed(tx, append(append([]Value{}, r.Head...), r.Body...)); err != nil {
			t.Fatal(err)
		}
		for name := range sources {
			var want, got []Place
			for _, d := range tx.Collection(mustVariable(t, name)).FindAll() {
				want = append(want, Place{name, d.Key(), d.Value()})
			}
			for _, v := range r.Of(name, true) {
				got = append(got, Place(v))
			}
			if a, b := sortedPlaces(got), sortedPlaces(want); len(a) != len(b) || len(a) > 0 && a[0] != b[0] || len(a) > 0 && a[len(a)-1] != b[len(b)-1] {
				t.Errorf("%s: %s is %v, the engine has %v", test.ID, name, a, b)
			}
		}
		if got, want := r.Of("ARGS_COMBINED_SIZE", true)[0].Text, tx.Collection(mustVariable(t, "ARGS_COMBINED_SIZE")).FindAll()[0].Value(); got != want {
			t.Errorf("%s: ARGS_COMBINED_SIZE %s, the engine has %s", test.ID, got, want)
		}
		_ = tx.Close()
	}
}

func TestDifferences(t *testing.T) {
	a := Outcome{Matched: map[int]int{1: 1, 2: 2}, Places: map[int][]Place{1: {{"ARGS", "a", "x"}}}, TX: map[string]string{"score": "5"}}
	b := Outcome{Interruption: &Interruption{2, 403, "deny"}, Matched: map[int]int{1: 1, 2: 1}, Places: map[int][]Place{1: {{"ARGS", "a", "x"}}}, TX: map[string]string{"score": "5"}}
	if d := (Judgement{First: a}).Differences(a); len(d) != 0 {
		t.Errorf("a differs from itself: %v", d)
	}
	if d := (Judgement{First: a}).Differences(b); len(d) != 4 {
		t.Errorf("four differences expected: %v", d)
	}
	both := Judgement{First: a, Runs: 1}.and(b).and(a)
	if both.Stable() || both.Runs != 3 || len(both.Others) != 1 {
		t.Errorf("%+v", both)
	}
	if d := both.Differences(b); len(d) != 0 {
		t.Errorf("what the referee may say is refused: %v", d)
	}
	c := a
	c.TX = map[string]string{"score": "6"}
	if d := both.Differences(c); len(d) != 2 {
		t.Errorf("a score that was never said: %v", d)
	}
}
