package prefilter

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// hunter looks for requests that give mutants away.
type hunter struct {
	w     world
	rules map[int]referee.Rule
	suite map[int][]referee.Request // by the rule that a test is about
	learn []referee.Request
	tuned map[string]string
	other []referee.Request // for mutants of no rule
	ids   []int             // of all rules that look for attacks
}

var sharedHunter = sync.OnceValues(func() (*hunter, error) {
	w, err := shared()
	if err != nil {
		return nil, err
	}
	h := &hunter{w: w, rules: map[int]referee.Rule{}, suite: map[int][]referee.Request{}}
	rules, err := referee.CoreRules()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		h.rules[r.ID] = r
		if r.ID > 911000 && r.ID < 945000 && r.Level > 0 {
			h.ids = append(h.ids, r.ID)
		}
	}
	tests, err := referee.Suite()
	if err != nil {
		return nil, err
	}
	for i, x := range tests {
		r, err := w.collector.Request(x)
		if x.Answered() || err != nil {
			continue
		}
		h.suite[x.Rule] = append(h.suite[x.Rule], r)
		h.tuned = r.Settings.TX
		if i%9 == 0 {
			h.other = append(h.other, r)
		}
	}
	for _, spot := range referee.Spots() {
		r, err := w.collector.Placed("learn", "plain", spot, referee.Settings{})
		if err != nil {
			return nil, err
		}
		h.learn = append(h.learn, r)
		const script = "<script>alert(1)</script>"
		for _, text := range []string{script, "1' or '1'='1' union select a from b--", "a\x00" + script, strings.Repeat("x", 70) + script} {
			if r, err = w.collector.Placed(text, text, spot, referee.Settings{}); err != nil {
				return nil, err
			}
			h.other = append(h.other, r)
		}
	}
	seen := map[string]bool{}
	for _, id := range h.ids { // texts that a rule looks for, in every variable
		if !slices.ContainsFunc(h.rules[id].Variables, func(v string) bool { return !seen[v] }) {
			continue
		}
		for _, v := range h.rules[id].Variables {
			seen[v] = true
		}
		probes, err := w.collector.Probes([]referee.Rule{h.rules[id]}, referee.Seed(1), 40)
		if err != nil {
			return nil, err
		}
		h.other = append(h.other, probes...)
	}
	for i, m := range benign() {
		if i%8 == i/8 || i < 8 {
			r, err := w.collector.Collect(m)
			if err != nil {
				return nil, err
			}
			h.learn = append(h.learn, r)
		}
	}
	return h, nil
})

func newHunter(t testing.TB) *hunter {
	t.Helper()
	h, err := sharedHunter()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// at sets all requests to one level, and to the limits of the rule set's authors.
func (h *hunter) at(level int, requests ...[]referee.Request) (list []referee.Request) {
	for _, r := range slices.Concat(requests...) {
		r.Settings = referee.Settings{Paranoia: level, TX: h.tuned}
		list = append(list, r)
	}
	return list
}

// more makes requests for a mutant and a rule that it concerns, of some texts and others each time.
func (h *hunter) more(m mutant, texts []string, rule *secrule.Rule, n int) (list []referee.Request) {
	random := referee.Seed(uint64(n))
	if rule == nil {
		if n == 0 {
			return slices.Concat(h.at(1, h.other), h.at(4, h.other), h.at(1, h.twins()))
		}
		return h.at(1+n%4, referee.Mutations(random, append(h.other, h.learn...), 1000, nil))
	}
	var near, put, others []referee.Request
	for range 20 {
		probes, err := h.w.collector.Probes([]referee.Rule{h.rules[rule.ID]}, random, 1000)
		if err != nil {
			return nil
		}
		for _, p := range probes {
			if m.near != "" && holds(p, m.near) {
				near = append(near, p)
			} else {
				others = append(others, p)
			}
		}
		if len(near)+len(others) > 300 {
			break
		}
	}
	others = some(random, others, 150)
	for _, p := range others {
		if other, ok := swapped(random, p, m); ok {
			put = append(put, other)
		}
	}
	placed, err := h.w.collector.Placements(h.rules[rule.ID], texts)
	if err != nil {
		return nil
	}
	probes := slices.Concat(placed, some(random, near, 100), put, others)
	for i, p := range probes { // and the odd letters
		list = append(list, oddly(p, i))
	}
	list = append(append(list, probes...), h.suite[rule.ID]...)
	if n > 0 {
		list = append(list, referee.Mutations(random, append(list, h.learn...), 300, nil)...)
	}
	return h.at(h.level(rule), list)
}

// twins are ordinary requests that differ in one thing from those that were learned.
func (h *hunter) twins() (list []referee.Request) {
	for _, r := range h.learn {
		for _, reader := range []string{"", "JSON", "XML", "URLENCODED", "MULTIPART"} {
			list = append(list, r.Put("REQBODY_PROCESSOR", "", reader))
		}
		for _, protocol := range []string{"HTTP/0.9", "HTTP/1.0", "HTTP/2.0", "HTTP/4"} {
			list = append(list, r.Put("REQUEST_PROTOCOL", "", protocol))
		}
		for _, method := range []string{"GET", "HEAD", "POST", "TRACE"} {
			list = append(list, r.Put("REQUEST_METHOD", "", method))
		}
	}
	return list
}

// level is the lowest one at which a rule runs.
func (h *hunter) level(r *secrule.Rule) int { return max(h.rules[r.ID].Level, 1) }

// odd writes letters of ASCII as others that some fold to them: as they are, and percent-encoded for rules that decode once
// more.
var odd = []*strings.Replacer{
	strings.NewReplacer("s", "ſ", "S", "ſ", "k", "\u212a", "K", "\u212a"),
	strings.NewReplacer("s", "%c5%bf", "S", "%C5%BF", "k", "%e2%84%aa", "K", "%E2%84%AA"),
	strings.NewReplacer("i", "İ"),
}

// oddly writes letters in the n-th of their odd forms.
func oddly(r referee.Request, n int) referee.Request {
	odd := odd[n%len(odd)]
	change := func(list []referee.Value) []referee.Value {
		list = slices.Clone(list)
		for i := range list {
			if v := &list[i]; strings.HasPrefix(v.Variable, "ARGS") || v.Variable == "REQUEST_COOKIES" || v.Variable == "REQUEST_XML" || v.Variable == "FILES" || v.Variable == "REQUEST_BODY" {
				v.Text = odd.Replace(v.Text)
			}
		}
		return list
	}
	r.Head, r.Body = change(r.Head), change(r.Body)
	return r
}

// swapped puts the literal that a mutant lacks in the place of another one.
func swapped(random *rand.Rand, r referee.Request, m mutant) (referee.Request, bool) {
	done := false
	change := func(list []referee.Value) []referee.Value {
		list = slices.Clone(list)
		for i := range list {
			folded := literal.Fold(list[i].Text)
			for _, word := range some(random, m.beside, 60) {
				plain, instead := strings.ReplaceAll(word, "\xff", ""), strings.ReplaceAll(strings.ReplaceAll(m.near, "\xff", ""), "\n", " ")
				if at := strings.Index(folded, plain); plain != "" && at >= 0 && len(folded) == len(list[i].Text) {
					list[i].Text, done = list[i].Text[:at]+instead+list[i].Text[at+len(plain):], true
					break
				}
			}
		}
		return list
	}
	r.Head, r.Body = change(r.Head), change(r.Body)
	return r, done
}

// holds tells that a text of a request holds a literal, with or without what shells leave out.
func holds(r referee.Request, word string) bool {
	bare := strings.NewReplacer("'", "", `"`, "", `\`, "", "^", "")
	return slices.ContainsFunc(slices.Concat(r.Head, r.Body), func(v referee.Value) bool {
		return slices.ContainsFunc([]string{v.Text, v.Key, bare.Replace(v.Text)}, func(text string) bool {
			return strings.Contains(literal.Fold("\xff"+text+"\xff"), word)
		})
	})
}

// tame is a harmless request of the same class, or nearly, so that a class is learned.
func tame(r referee.Request) referee.Request {
	change := func(list []referee.Value) (kept []referee.Value) {
		for _, v := range list {
			switch v.Variable {
			case "ARGS_GET", "ARGS_POST", "ARGS_PATH", "REQUEST_COOKIES", "REQUEST_XML", "FILES", "MULTIPART_PART_HEADERS", "QUERY_STRING", "TX":
				continue
			case "REQUEST_HEADERS":
				if !slices.Contains([]string{"host", "accept", "user-agent", "content-type", "content-length", "connection"}, strings.ToLower(v.Key)) {
					continue
				}
			case "REQUEST_URI", "REQUEST_URI_RAW", "REQUEST_FILENAME":
				v.Text = "/"
			case "REQUEST_LINE":
				continue
			case "REQUEST_BODY", "REQUEST_BASENAME":
				v.Text = ""
			}
			kept = append(kept, v)
		}
		return kept
	}
	r.Head, r.Body = change(r.Head), change(r.Body)
	return r
}

// chase is the hunt for a mutant by one rule, all rules being on or only that one.
type chase struct {
	rule      *secrule.Rule
	alone     bool
	candidate *candidate
}

// begin has the candidate learn what ordinary traffic comes to, and what is nearly an attack.
func (h *hunter) begin(x *chase, m mutant, f *Filter) error {
	x.candidate = h.w.over(func(int) (*Filter, error) { return f, nil })
	x.candidate.spoil, x.candidate.twist = m.spoil, m.twist
	level := 1
	var twins []referee.Request
	if x.rule != nil {
		level = h.level(x.rule)
		for _, r := range some(referee.Seed(1), h.suite[x.rule.ID], 12) {
			twins = append(twins, tame(r))
		}
	}
	for _, id := range h.ids {
		if x.alone && id != x.rule.ID {
			x.candidate.off = append(x.candidate.off, id)
		}
	}
	for _, r := range h.at(level, h.learn, twins) {
		if _, _, err := x.candidate.Judge(r); err != nil {
			return err
		}
	}
	return nil
}

// kill tells by which request a mutant is found out.
func (h *hunter) kill(t testing.TB, m mutant, texts []string, rounds int) (by string, alone bool, asked int) {
	f := m.filter()
	chases := []chase{{}}
	if len(m.rules) > 0 {
		chases = nil
	}
	for _, r := range m.rules {
		chases = append(chases, chase{rule: r}, chase{rule: r, alone: true})
	}
	for n := range rounds {
		var list []referee.Request
		for i := range chases {
			x := &chases[i]
			if x.candidate == nil {
				if err := h.begin(x, m, f); err != nil {
					return err.Error(), x.alone, asked
				}
			}
			if !x.alone {
				list = h.more(m, texts, x.rule, n)
			}
			for _, r := range slices.Concat(h.claimed(x, list), some(referee.Seed(uint64(n)), list, 20)) { // and where nothing is said of the rule
				asked++
				if found := h.differs(t, x.candidate, r); found != "" {
					h.isRight(t, x, r)
					return found, x.alone, asked
				}
			}
		}
	}
	return "", false, asked
}

// isRight fails when the filter without a mistake is wrong about a request too: then nothing is shown by it.
func (h *hunter) isRight(t testing.TB, x *chase, r referee.Request) {
	right := chase{rule: x.rule, alone: x.alone}
	f, err := h.w.filter(4)
	if err == nil {
		err = h.begin(&right, mutant{}, f)
	}
	if err != nil {
		t.Fatal(err)
	}
	if found := h.differs(t, right.candidate, r); found != "" {
		t.Errorf("the filter itself is wrong: %s", found)
	}
}

// claimed are the requests of which the filter says by itself that the rule does not match.
func (h *hunter) claimed(x *chase, list []referee.Request) (claimed []referee.Request) {
	for _, r := range list {
		if said, err := x.candidate.claims(r, x.rule); said || err != nil {
			claimed = append(claimed, r)
		}
	}
	return claimed
}

// differs tells how what a candidate says of a request is not what the engine says.
func (h *hunter) differs(t testing.TB, c *candidate, r referee.Request) string {
	got, _, err := c.Judge(r)
	if err != nil {
		return err.Error()
	}
	return h.against(t, c, r, got)
}

// against compares an outcome with the engine's, and with the referee's where they differ.
func (h *hunter) against(t testing.TB, c *candidate, r referee.Request, got referee.Outcome) string {
	j := referee.Judgement{First: h.w.engine.Without(r, c.off), Runs: 1}
	if len(j.Differences(got)) == 0 {
		return ""
	}
	if c.off == nil { // the referee has the last word
		asked, err := h.w.referee.Judge([]referee.Request{r}, 6)
		if err != nil {
			t.Fatal(err)
		}
		j = asked[0]
	} else {
		for range 6 {
			j.Others = append(j.Others, h.w.engine.Without(r, c.off))
		}
	}
	if d := j.Differences(got); len(d) > 0 {
		return r.Name + ": " + d[0]
	}
	return ""
}
