package prefilter

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"

	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
)

// bare is what the guard's directives say without the Core Rule Set.
func bare(t testing.TB) string {
	var kept []string
	for line := range strings.Lines(guards(t)) {
		if !strings.HasPrefix(line, "Include ") && !strings.Contains(line, "id:100010") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// own are rules as operators may write them, each for one way in which the argument of the package could be wrong. Why is
// a part of the reason for which no class can be learned; without it, some requests must take the fast path.
var own = []struct{ name, rules, why string }{
	{"a skip passes over one rule", `
SecRule ARGS:x "@streq 1" "id:1,phase:2,pass,nolog,skip:1"
SecRule ARGS "@contains evil" "id:2,phase:2,deny"
SecRule ARGS "@contains admin" "id:3,phase:2,deny"`, ""},
	{"a skip passes over rules of its phase and markers", `
SecRule REQUEST_METHOD "@streq POST" "id:1,phase:2,pass,nolog,skip:3"
SecRule REQUEST_HEADERS "@contains evil" "id:2,phase:1,deny"
SecRule ARGS "@contains evil" "id:3,phase:2,deny"
SecMarker HERE
SecRule ARGS "@contains admin" "id:4,phase:2,deny"
SecRule ARGS "@contains xyz" "id:5,phase:2,deny"`, ""},
	{"a skip counts no rule that another takes out", `
SecRule ARGS:y "@streq 1" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=3"
SecRule ARGS:x "@streq 1" "id:2,phase:2,pass,nolog,skip:1"
SecRule ARGS "@contains evil" "id:3,phase:2,deny"
SecRule ARGS "@contains admin" "id:4,phase:2,deny"
SecRule ARGS "@contains xyz" "id:5,phase:2,pass,setvar:tx.n=+1"`, ""},
	{"a jump to a marker", `
SecRule REQUEST_METHOD "@streq GET" "id:1,phase:1,pass,nolog,skipAfter:END"
SecRule ARGS_GET "@contains evil" "id:2,phase:1,deny"
SecMarker END
SecRule ARGS "@contains admin" "id:3,phase:2,deny"`, ""},
	{"a jump to no marker", `
SecRule REQUEST_HEADERS:Content-Type "@contains json" "id:1,phase:1,pass,nolog,skipAfter:NOWHERE"
SecRule ARGS "@contains evil" "id:2,phase:2,deny"`, ""},
	{"a jump from what the request says", `
SecRule ARGS:x "@streq 1" "id:1,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@contains evil" "id:2,phase:2,deny"
SecMarker END`, ""},
	{"a head sets though its chain fails", `
SecRule ARGS:x "@contains evil" "id:1,phase:2,pass,nolog,setvar:tx.seen=1,chain"
	SecRule ARGS:y "@streq never"
SecRule TX:seen "@eq 1" "id:2,phase:2,deny"`, ""},
	{"a head of phase 1 sets what it captured though its chain fails", `
SecRule REQUEST_HEADERS:X-A "@rx ^(.)(.*)$" "id:1,phase:1,pass,nolog,capture,setvar:tx.first=%{TX.1},chain"
	SecRule ARGS:never "@streq never"
SecRule TX:first "@streq e" "id:2,phase:2,deny"`, ""},
	{"groups that look alike when joined", `
SecRule REQUEST_HEADERS:X-A "@rx ^(e|e.)(.*)l$" "id:1,phase:1,pass,nolog,capture,chain"
	SecRule ARGS:never "@streq never"
SecRule TX:1|TX:2 "@rx \x00$" "id:2,phase:2,pass,setvar:tx.n=+1"`, ""},
	{"a link sets though the next fails", `
SecRule ARGS:x "@contains evil" "id:1,phase:2,pass,nolog,chain"
	SecRule ARGS:y "@streq 1" "setvar:tx.seen=1,chain"
	SecRule ARGS:z "@streq never"
SecRule TX:seen "@eq 1" "id:2,phase:2,deny"`, ""},
	{"a head that reads more than its value sets though its chain fails", `
SecRule ARGS:x "@streq %{REQUEST_HEADERS.X-A}" "id:1,phase:2,pass,nolog,setvar:tx.seen=1,chain"
	SecRule ARGS:never "@streq never"
SecRule TX:seen "@eq 1" "id:2,phase:2,deny"`, "rule 1"},
	{"a head that reads more than its value, without setting", `
SecRule ARGS:x "@streq %{REQUEST_HEADERS.X-A}" "id:1,phase:2,pass,nolog,chain"
	SecRule ARGS:never "@streq never" "setvar:tx.seen=1"
SecRule TX:seen "@eq 1" "id:2,phase:2,deny"`, ""},
	{"a head of TX and arguments sets though its chain fails", `
SecAction "id:3,phase:1,pass,nolog,setvar:tx.a=1"
SecRule TX:a|ARGS:x "@streq evil" "id:1,phase:2,pass,nolog,setvar:tx.seen=1,chain"
	SecRule ARGS:never "@streq never"
SecRule TX:seen "@eq 1" "id:2,phase:2,deny"`, "rule 1"},
	{"an operator on TX reads the request", `
SecAction "id:1,phase:1,pass,nolog,setvar:tx.hosts=evil xyz"
SecRule TX:hosts "@contains %{REQUEST_HEADERS.X-A}" "id:2,phase:1,deny"`, "rule 2"},
	{"a rule that matched reads more of the request than the class has", `
SecRule REQUEST_METHOD "!@streq %{ARGS.x}" "id:1,phase:2,pass,setvar:tx.n=+1"`, "rule 1"},
	{"a part of the request is written to TX", `
SecAction "id:1,phase:2,pass,nolog,setvar:tx.copy=%{ARGS.x}"
SecRule TX:copy "@streq evil" "id:2,phase:2,deny"`, "rule 1"},
	{"a head on TX writes a part of the request though its chain fails", `
SecAction "id:3,phase:1,pass,nolog,setvar:tx.a=1"
SecRule TX:a "@eq 1" "id:1,phase:2,pass,nolog,setvar:tx.copy=%{ARGS.x},chain"
	SecRule ARGS:never "@streq never"
SecRule TX:copy "@streq evil" "id:2,phase:2,deny"`, "rule 1"},
	{"a name of TX holds a part of the request", `
SecAction "id:1,phase:2,pass,nolog,setvar:tx.copy_%{ARGS.x}=1"
SecRule TX:copy_evil "@streq 1" "id:2,phase:2,deny"`, "rule 1"},
	{"the value that a small head matched, in its chain", `
SecRule REQUEST_HEADERS:X-A "@rx e" "id:1,phase:1,pass,nolog,setvar:tx.seen=1,chain"
	SecRule MATCHED_VAR "@rx v"
SecRule TX:seen "@eq 2" "id:2,phase:2,deny"`, "rule 1 reads MATCHED_VAR"},
	{"the values that a head matched, in its chain", `
SecRule ARGS "@rx e" "id:1,phase:2,deny,chain"
	SecRule MATCHED_VARS "@rx vil" "t:lowercase"`, ""},
	{"the name of what matched, in its chain", `
SecRule REQUEST_FILENAME|REQUEST_BODY "@rx evil" "id:1,phase:2,deny,chain"
	SecRule MATCHED_VAR_NAME "@rx (?i)body"`, ""},
	{"what matched before", `
SecRule ARGS:x "@rx v" "id:1,phase:2,pass,nolog"
SecRule MATCHED_VAR "@streq evil" "id:2,phase:2,deny"`, "rule 2"},
	{"what the engine says of a rule", `
SecRule ARGS:x "@rx v" "id:1,phase:2,pass,nolog,msg:'%{MATCHED_VAR}'"
SecRule RULE:msg "@rx evil" "id:2,phase:2,deny"`, "rule 2"},
	{"what was captured by another", `
SecRule ARGS:x "@rx (v)" "id:1,phase:2,pass,nolog,capture"
SecRule TX:1 "@streq v" "id:2,phase:2,deny"`, ""},
	{"the highest severity", `
SecRule ARGS:x "@rx v" "id:1,phase:2,pass,severity:2"
SecRule HIGHEST_SEVERITY "@le 2" "id:2,phase:2,deny"`, "rule 2"},
	{"a link's value is transformed between two forms of the head's", `
SecRule ARGS:x "@rx [A-Z]" "id:1,phase:2,pass,t:trim,chain"
	SecRule REQUEST_HEADERS:X-A "@streq never" "t:urlDecodeUni,t:lowercase"
SecRule ARGS:x "@streq xyz" "id:6,phase:2,deny,t:removeWhitespace,t:lowercase"
SecRule ARGS:x "@streq evil" "id:2,phase:2,deny,t:urlDecode,t:lowercase"
SecRule ARGS:x "@streq QQQ" "id:3,phase:2,deny,t:hexDecode"
SecRule ARGS:x "@streq <script>" "id:4,phase:2,deny,t:htmlEntityDecode"
SecRule ARGS:x "@streq live" "id:5,phase:2,deny,t:base64Decode"`, ""},
	{"values left out of a rule", `
SecRule REQUEST_HEADERS:X-A "@streq 1" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=3;ARGS:x"
SecRule REQUEST_METHOD "@streq POST" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetByTag=mine;ARGS:/^f/"
SecRule ARGS "@contains evil" "id:3,phase:2,deny,tag:mine"`, ""},
	{"values left out of a rule that counts", `
SecRule REQUEST_METHOD "@streq POST" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetById=3;ARGS:x"
SecRule &ARGS "@eq 3" "id:3,phase:2,deny"`, ""},
	{"names left out of a rule that all requests have in common", `
SecAction "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetById=3;REQUEST_HEADERS_NAMES:X-A"
SecRule REQUEST_HEADERS_NAMES "@rx (?i)^x-(?:a|b)$" "id:3,phase:1,pass,nolog,setvar:tx.n=+1,chain"
	SecRule REQUEST_METHOD "@rx ."`, "rule 3"},
	{"a head leaves values out though its chain fails", `
SecRule REQUEST_HEADERS:X-A "@streq 1" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetById=3;ARGS:x,chain"
	SecRule ARGS:never "@streq never"
SecRule &ARGS:x "@eq 0" "id:3,phase:2,pass,setvar:tx.n=+1"`, "rule 3 counts"},
	{"a rule takes others out", `
SecRule REQUEST_HEADERS:X-A "@streq 1" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=2-3"
SecRule ARGS "@contains evil" "id:2,phase:2,deny"
SecRule ARGS "@contains admin" "id:3,phase:2,deny"`, ""},
	{"a head takes others out though its chain fails", `
SecRule REQUEST_HEADERS:X-A "@streq 1" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=3,chain"
	SecRule ARGS:never "@streq never"
SecRule REQUEST_METHOD "@streq POST" "id:2,phase:2,pass,nolog,skip:1"
SecRule ARGS "@contains evil" "id:3,phase:2,deny"
SecRule ARGS "@contains admin" "id:4,phase:2,deny"
SecRule ARGS "@contains xyz" "id:5,phase:2,deny"`, "rule 1 changes how"},
	{"a tag takes others out", `
SecRule ARGS:x "@streq 1" "id:1,phase:1,pass,nolog,ctl:ruleRemoveByTag=mine"
SecRule ARGS "@contains evil" "id:2,phase:2,deny,tag:mine"`, ""},
	{"the engine is switched off", `
SecRule REQUEST_HEADERS:X-A "@streq 1" "id:1,phase:1,pass,nolog,ctl:ruleEngine=Off"
SecRule ARGS "@contains evil" "id:2,phase:2,deny"`, ""},
	{"allow ends it", `
SecRule REQUEST_HEADERS:X-A "@streq 1" "id:1,phase:1,allow,nolog"
SecRule REQUEST_METHOD "@streq POST" "id:2,phase:1,allow:phase,nolog"
SecRule ARGS "@contains admin" "id:3,phase:1,deny"
SecRule ARGS "@contains evil" "id:4,phase:2,deny"`, ""},
	{"every form is looked at", `
SecRule ARGS "@streq evil" "id:1,phase:2,deny,multiMatch,t:none,t:lowercase,t:urlDecode"
SecRule ARGS "!@rx ^[^%]*$" "id:2,phase:2,pass,multiMatch,t:urlDecode,setvar:tx.n=+1"`, ""},
	{"transformations taken back", `
SecDefaultAction "phase:2,pass,log"
SecRule ARGS "@streq EVIL" "id:1,phase:2,deny,t:lowercase,t:urlDecode,t:none"
SecRule ARGS "@streq evil" "id:2,phase:2,deny,t:none,t:urlDecode,t:lowercase"`, ""},
	{"counts", `
SecRule &ARGS:x "!@eq 1" "id:1,phase:2,pass,setvar:tx.n=+1"
SecRule &REQUEST_HEADERS:X-A "@gt 1" "id:2,phase:1,deny"
SecRule &ARGS_NAMES "@gt 3" "id:3,phase:2,deny"
SecRule &REQUEST_COOKIES:/^s/ "@eq 1" "id:4,phase:2,deny"`, ""},
	{"counts of names in capitals, which the engine never finds", `
SecRule &ARGS:Foo "@eq 0" "id:1,phase:2,pass,setvar:tx.n=+1"
SecRule &ARGS_NAMES:Foo "@eq 1" "id:2,phase:2,pass,setvar:tx.n=+2"
SecRule &ARGS_GET:/^Foo$/ "@eq 0" "id:3,phase:2,pass,setvar:tx.n=+4"`, "rule 3 matched, and reads ARGS_GET"},
	{"a count of names in capitals that matches when there is nothing", `
SecRule REQUEST_METHOD "@streq POST" "id:9,phase:1,pass,nolog,skipAfter:END"
SecRule &ARGS_NAMES:Foo "@eq 1" "id:2,phase:1,deny"
SecRule &ARGS_GET:/^Foo$/ "@gt 0" "id:3,phase:1,deny"
SecMarker END`, ""},
	{"targets left out by name and by pattern", `
SecRule ARGS|!ARGS:x|!ARGS:/^f/ "@contains evil" "id:1,phase:2,deny"
SecRule REQUEST_HEADERS|!REQUEST_HEADERS:User-Agent "@contains admin" "id:2,phase:1,deny"`, ""},
	{"a pattern that fits a key in capitals, and another in small letters", `
SecRule ARGS|!ARGS:/^(?:foo|X)$/ "@contains evil" "id:1,phase:2,deny"
SecRule ARGS:/^(?:foo|X)$/ "@contains admin" "id:2,phase:2,deny"`, ""},
	{"a counter that rules add to", `
SecAction "id:9,phase:1,pass,nolog,setvar:tx.score=0"
SecRule ARGS "@contains evil" "id:1,phase:2,pass,setvar:tx.score=+2"
SecRule ARGS "@contains admin" "id:2,phase:2,pass,setvar:tx.score=+%{tx.step}"
SecRule TX:score "@gt 2" "id:3,phase:2,deny"
SecRule TX:score "@eq 0" "id:4,phase:2,pass,setvar:tx.clean=1"`, ""},
	{"a limit in TX that is set later", `
SecAction "id:9,phase:1,pass,nolog,setvar:tx.most=evil"
SecRule ARGS:x "@streq %{tx.most}" "id:1,phase:1,deny"
SecAction "id:8,phase:1,pass,nolog,setvar:tx.most=admin"
SecRule ARGS:y "@streq %{tx.most}" "id:2,phase:2,deny"
SecRule ARGS:y "@streq %{tx.none}" "id:3,phase:2,deny"`, "rule 1"},
	{"a variable that is there or not", `
SecAction "id:9,phase:1,pass,nolog,setvar:tx.b=1"
SecRule &TX:a "@eq 1" "id:1,phase:2,deny,chain"
	SecRule ARGS "@contains evil"
SecRule &TX:a "@eq 0" "id:2,phase:2,deny,chain"
	SecRule ARGS "@contains admin"`, ""},
	{"XML, cookies and files", `
SecRule XML:/*|XML://@* "@contains evil" "id:1,phase:2,deny"
SecRule REQUEST_COOKIES|REQUEST_COOKIES_NAMES "@contains evil" "id:2,phase:2,deny"
SecRule FILES|FILES_NAMES "@rx \.php$" "id:3,phase:2,deny"`, ""},
	{"operators of all kinds", `
SecRule REMOTE_ADDR "@ipMatch 10.0.0.0/8,192.0.2.7" "id:1,phase:1,deny"
SecRule ARGS:x "!@within 1 2 3 evil admin" "id:2,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@validateByteRange 32-126" "id:3,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@validateUrlEncoding" "id:4,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@validateUtf8Encoding" "id:5,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@pm evil  admin" "id:6,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@endsWith vil" "id:7,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@beginsWith ad" "id:8,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@detectXSS" "id:10,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@detectSQLi" "id:11,phase:2,pass,setvar:tx.n=+1,t:urlDecodeUni"
SecRule ARGS "@gt 5" "id:12,phase:2,pass,setvar:tx.n=+1,t:length"`, ""},
	{"an operator that always matches", `
SecRule ARGS:x "@unconditionalMatch" "id:1,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS:y "@noMatch" "id:2,phase:2,deny"`, ""},
	{"an operator that writes arguments", `
SecRule REQUEST_FILENAME "@restpath /files/{file}" "id:1,phase:1,pass,nolog,chain"
	SecRule ARGS:never "@streq never"
SecRule ARGS_PATH:file "@contains evil" "id:2,phase:1,deny"`, "rule 1"},
	{"arguments in phase 1", `
SecRule ARGS "@contains evil" "id:1,phase:1,deny"
SecRule ARGS_POST "@contains admin" "id:2,phase:1,deny"
SecRule ARGS_COMBINED_SIZE "@gt 12" "id:3,phase:1,pass,setvar:tx.n=+1"
SecRule ARGS_COMBINED_SIZE "@gt 12" "id:4,phase:2,pass,setvar:tx.n=+2"`, ""},
	{"rules that directives change afterwards", `
SecRule ARGS "@contains evil" "id:1,phase:2,deny"
SecRule ARGS "@contains admin" "id:2,phase:2,deny,tag:mine"
SecRule ARGS "@contains xyz" "id:3,phase:2,deny"
SecRuleUpdateTargetById 1 "!ARGS:x"
SecRuleUpdateTargetByTag mine "REQUEST_HEADERS:X-A"
SecRuleRemoveById 3
SecRuleUpdateActionById 2 "pass,setvar:tx.n=+1"`, ""},
	{"the body in a variable of TX", `
SecRule TX:json_request_body "@contains evil" "id:1,phase:2,deny"`, "rule 1"},
	{"the body in a variable of TX, by its argument", `
SecRule ARGS:x "@within %{tx.json_request_body}" "id:1,phase:2,deny"`, "rule 1"},
	{"the time", `
SecRule TIME_YEAR "@lt 2000" "id:1,phase:1,deny"`, "rule 1"},
	{"in both cases, long and beyond ASCII", `
SecRule ARGS "@rx (?i)sk" "id:1,phase:2,pass,setvar:tx.n=+1"
SecRule ARGS "@pm SK" "id:2,phase:2,pass,setvar:tx.n=+2"
SecRule ARGS "@streq SK" "id:3,phase:2,pass,t:uppercase,setvar:tx.n=+4"`, ""},
}

// often are texts without which a case would hardly ever show what it is about.
var often = map[string][]string{
	"a skip counts no rule that another takes out":                  {"1", "1", "1", "xyz", "plain"},
	"a head takes others out though its chain fails":                {"1", "1", "xyz", "plain"},
	"a link's value is transformed between two forms of the head's": {" X yz", " 51\t5151", "plain", "QQQ", " \x45vil"},
}

// pool makes requests of the words that the rules above are about, mostly of those that are needed often.
func pool(r *rand.Rand, n int, often []string) (list []referee.Request) {
	texts := []string{"1", "1", "plain", "b", "c d", "", "evil", "EVIL", "%65vil", "adminx", "/admin", "xyz", " X yz", "QQQ", "515151", "515152", "<script>", "&lt;script>", "&LT;x", "bGl2ZQ==", "never",
		"ſk", "s\u212a", "SK", "\xff", "a\x00", "<a href=javascript:x>", "1' or '1'='1", "%zz", "é", "e\x00\x00l", "eal", "e\x00l", "aaaaaaaaaaaa"}
	text := func() string {
		if len(often) > 0 && r.IntN(4) > 0 {
			return often[r.IntN(len(often))]
		}
		return texts[r.IntN(len(texts))]
	}
	harmless := func() string { return texts[r.IntN(5)] }
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for i := range n {
		say := text
		if i%3 == 0 { // for classes to be learned
			say = harmless
		}
		q := referee.Request{Name: fmt.Sprint("own ", i), Settings: referee.Settings{TX: map[string]string{"step": "1"}}}
		add := func(inBody bool, v, key, text string) {
			q = q.With(inBody, referee.Value{Variable: v, Key: key, Text: text})
		}
		method := pick("GET", "GET", "POST")
		add(false, "REMOTE_ADDR", "", pick("192.0.2.1", "192.0.2.7", "10.1.1.1"))
		add(false, "REQUEST_METHOD", "", method)
		add(false, "REQUEST_PROTOCOL", "", "HTTP/1.1")
		add(false, "REQUEST_FILENAME", "", pick("/", "/files/evil", "/files/plain", "/admin"))
		add(false, "REQUEST_HEADERS", "Host", pick("api.example", "evil"))
		for range r.IntN(4) {
			add(false, "ARGS_GET", pick("x", "y", "X", "foo", "Foo", "FOO", "z", "fx"), say())
		}
		for range r.IntN(3) {
			add(false, "REQUEST_HEADERS", pick("X-A", "x-a", "X-B", "User-Agent"), say())
		}
		if r.IntN(3) == 0 {
			add(false, "REQUEST_COOKIES", pick("s", "S1", "theme"), say())
		}
		if method == "POST" {
			media := pick("application/json", "application/x-www-form-urlencoded")
			add(false, "REQUEST_HEADERS", pick("Content-Type", "content-type"), media)
			body := say()
			add(true, "ARGS_POST", pick("x", "json.x", "Foo"), body)
			add(true, "REQUEST_BODY", "", body)
			if media == "application/json" {
				add(true, "TX", bodyText, body)
			}
			if r.IntN(3) == 0 {
				add(true, "REQUEST_XML", "/*", say())
				add(true, "FILES", "f", pick("a.php", "a.txt"))
			}
		}
		list = append(list, q)
	}
	return list
}

// excepting is a scope as an operator may write it.
type excepting struct{}

func (excepting) Off(rule int) bool { return rule == 3 }
func (excepting) Except(rule int, v variables.RuleVariable, key string) bool {
	if v != variables.Args && v != variables.ArgsGet && v != variables.ArgsPost {
		return false
	}
	return (rule == 1 || rule == 5 || rule == 7) && strings.ToLower(key) == "x" || rule == 6 && strings.ToLower(key) == "foo"
}

// Exceptions do what the same exceptions written as directives do.
func TestExceptions(t *testing.T) {
	const rules = `
SecRule REQUEST_METHOD "@streq POST" "id:10,phase:2,pass,nolog,skip:1"
SecRule ARGS "@contains xyz" "id:3,phase:2,deny"
SecRule ARGS "@contains admin" "id:4,phase:2,deny"
SecRule ARGS|ARGS_NAMES|REQUEST_HEADERS "@contains evil" "id:1,phase:2,deny"
SecRule ARGS|ARGS_GET:x "@contains QQQ" "id:5,phase:1,deny"
SecRule ARGS_GET|ARGS_POST "@contains plain" "id:6,phase:2,pass,setvar:tx.n=+1,chain"
	SecRule ARGS:foo "@contains evil" "setvar:tx.m=+1"
SecRule &ARGS:x "@gt 0" "id:7,phase:2,deny"
SecRule ARGS_NAMES "@streq x" "id:8,phase:2,pass,setvar:tx.o=+1,chain"
	SecRule REQUEST_METHOD "@streq POST"
`
	const exceptions = `
SecRuleRemoveById 3
SecRuleUpdateTargetById 1 "!ARGS:x"
SecRuleUpdateTargetById 5 "!ARGS:x"
SecRuleUpdateTargetById 5 "!ARGS_GET:x"
SecRuleUpdateTargetById 6 "!ARGS_GET:foo"
SecRuleUpdateTargetById 6 "!ARGS_POST:foo"
SecRuleUpdateTargetById 7 "!ARGS:x"
`
	with, err := newWorld(bare(t) + strings.Replace(rules, `SecRule ARGS:foo "@contains evil"`, `SecRule ARGS:foo|!ARGS:foo "@contains evil"`, 1) + exceptions)
	if err != nil {
		t.Fatal(err)
	}
	defer with.referee.Close()
	without, err := newWorld(bare(t) + rules)
	if err != nil {
		t.Fatal(err)
	}
	defer without.referee.Close()
	c := with.over(without.filter)
	c.scope = excepting{}
	random := rand.New(rand.NewPCG(9, 9))
	requests := append(pool(random, 400, nil), pool(random, 400, []string{"evil", "QQQ", "xyz", "plain", "admin"})...)
	report, err := with.referee.Compare(c, append(requests, requests...), 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Error(f)
	}
	if t.Log(report, c.why); report.Fast < 50 {
		t.Errorf("only %d took the fast path: %v", report.Fast, c.why)
	}
}

// Rules as operators write them: the verdict is the engine's, and where nothing can be shown it is said why.
func TestOwnRules(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for _, x := range own {
		t.Run(x.name, func(t *testing.T) {
			requests := pool(random, 240, often[x.name])
			var rounds []referee.Request
			for range 3 {
				rounds = append(rounds, requests...)
				requests = append([]referee.Request{}, requests...)
				random.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
			}
			w, err := newWorld(bare(t) + x.rules + "\n")
			if err != nil {
				t.Fatal(err)
			}
			defer w.referee.Close()
			c := w.candidate()
			report, err := w.referee.Compare(c, rounds, 1, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range report.Findings {
				t.Error(f)
			}
			reasons := fmt.Sprint(c.why)
			switch {
			case x.why == "" && report.Fast == 0:
				t.Errorf("nothing takes the fast path: %s", reasons)
			case x.why != "" && !strings.Contains(reasons, x.why):
				t.Errorf("no reason with %q: %s; %d took the fast path", x.why, reasons, report.Fast)
			case x.why != "" && report.Fast > 0:
				t.Errorf("%d took the fast path", report.Fast)
			}
			t.Log(report, reasons)
		})
	}
}
