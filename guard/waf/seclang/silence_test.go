package seclang

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/corazawaf/coraza/v3"
)

// denied asks the engine, without Gatehouse, whether a request with these arguments is denied. A crash is an answer.
func denied(t *testing.T, text, arguments string) (answer string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			answer = "crash"
		}
	}()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(with("")).WithDirectives("SecRuleEngine On\nSecRequestBodyAccess On\n" + text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	tx := waf.NewTransactionWithID("x")
	defer tx.Close()
	tx.ProcessConnection("192.0.2.1", 1, "", 0)
	tx.ProcessURI("/a", "GET", "HTTP/1.1")
	tx.AddRequestHeader("X-Digits", "attack")
	for a := range strings.SplitSeq(arguments, "&") {
		if name, v, ok := strings.Cut(a, "="); ok {
			tx.AddGetRequestArgument(name, v)
		}
	}
	it := tx.ProcessRequestHeaders()
	if it == nil {
		it, _ = tx.ProcessRequestBody()
	}
	if it == nil {
		return "passes"
	}
	return "denied"
}

// Each of these rules reads as if it did something else. The engine's answer is the reason for which we refuse it; when a new
// version answers otherwise, the finding can go.
func TestWhyThingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, arguments, want string }{
		{`SecRule ARGS "@rx attack" "id:1,phase:2,block"`, "a=attack", "passes"},
		{`SecRule ARGS "@rx attack" "id:1,phase:2,deny"`, "a=attack", "denied"},
		{`SecRule ARGS "@rx attack" "id:1,phase:2,msg:'it's bad',deny"`, "a=attack", "passes"},
		{`SecRule ARGS " @rx attack" "id:1,phase:2,deny"`, "a=attack", "passes"},
		{`SecRule ARGS "@rx attack" "id:1,phase:2,deny,pass"`, "a=attack", "passes"},
		{`SecRule REQUEST_HEADERS:/^x-\D+$/ "@rx attack" "id:1,phase:2,deny"`, "", "passes"},
		{`SecRule REQUEST_HEADERS:/^x-[^0-9]+$/ "@rx attack" "id:1,phase:2,deny"`, "", "denied"},
		{`SecRule !ARGS:a|ARGS "@rx attack" "id:1,phase:2,deny"`, "a=attack", "denied"},
		{`SecRule ARGS|!ARGS_GET:a "@rx attack" "id:1,phase:2,deny"`, "a=attack", "denied"},
		{`SecRule ARGS|!ARGS:/^A$/ "@rx attack" "id:1,phase:2,deny"`, "A=attack", "denied"},
		{`SecRule ARGS:/^userId$/ "@rx attack" "id:1,phase:2,deny"`, "userId=attack", "passes"},
		{`SecRule ARGS:/(?i)^userId$/ "@rx attack" "id:1,phase:2,deny"`, "userId=attack", "denied"},
		{`SecRule ARGS_NAMES:userId "@rx userId" "id:1,phase:2,deny"`, "userId=attack", "passes"},
		{`SecRule ARGS_NAMES:userid "@rx userId" "id:1,phase:2,deny"`, "userId=attack", "denied"},
		{"SecAction \"id:2,phase:1,pass,setvar:tx.name=a\"\nSecRule ARGS:%{tx.name} \"@rx attack\" \"id:1,phase:2,deny\"", "a=attack", "passes"},
		{"SecAction \"id:2,phase:1,pass,setvar:tx.name=a,ctl:ruleRemoveTargetById=1;ARGS:%{tx.name}\"\nSecRule ARGS \"@rx attack\" \"id:1,phase:2,deny\"", "a=attack", "denied"},
		{`SecRule ARGS:a,ARGS:b "@rx attack" "id:1,phase:2,deny"`, "a=attack", "passes"},
		{"SecRule ARGS \"@rx attack\" \"id:1,phase:2,deny\"\nSecRuleUpdateTargetById 1 \"!ARGS:a,!ARGS:b\"", "a=attack", "denied"},
		{"SecRule ARGS \"@rx attack\" \"id:1,phase:2,deny\"\nSecRuleUpdateActionById 1 \"block\"", "a=attack", "passes"},
		{"SecRule ARGS \"@rx attack\" \"id:1,phase:2,deny\"\nSecRuleUpdateActionById 1 \"t:length\"", "a=attack", "passes"},
		{"SecAction \"id:2,phase:1,pass,setvar:tx.a=10\"\nSecAction \"id:3,phase:1,pass,setvar:tx.a=+-5\"\nSecRule TX:a \"@eq 5\" \"id:1,phase:2,deny\"", "", "denied"},
		{`SecRule ARGS:'a' "@rx attack" "id:1,phase:2,deny"`, "a=attack", "passes"},
		{`SecAction "id:2,phase:1,pass,setvar:tx.a=attack"` + "\n" + `SecRule ARGS "@rx ^%{tx.a}$" "id:1,phase:2,deny"`, "a=attack", "passes"},
		{`SecRule ARGS "@eq many" "id:1,phase:2,deny"`, "a=attack", "denied"},
		{`SecRule REMOTE_ADDR "@ipMatch 192.0.2.0-192.0.2.9,192.0.2.300" "id:1,phase:2,deny"`, "", "passes"},
		{`SecRule REMOTE_ADDR "@geoLookup" "id:1,phase:2,deny"`, "", "denied"},
		{`SecRule ARGS "@pm A|42|C" "id:1,phase:2,deny"`, "a=ABC", "passes"},
		{`SecRule ARGS "@validateByteRange 255-1" "id:1,phase:2,deny"`, "a=a", "denied"},
		{`SecRule ARGS "@pmFromFile long.data" "id:1,phase:2,deny"`, "a=b", "passes"},
		{`SecRule ARGS "@validateNid cl .+" "id:1,phase:2,deny"`, "a=nodigits", "crash"},
		{`SecRule ARGS "@rx attack" "id:1,phase:2,deny,chain"`, "a=attack", "denied"},
		{"SecRule ARGS \"@rx attack\" \"id:1,phase:2,deny,chain\"\nSecMarker END\nSecRule ARGS \"@rx never\"", "a=attack", "denied"},
		{"SecAction \"id:1,phase:1,pass,skipAfter:NOWHERE\"\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "passes"},
		{"SecAction \"id:1,phase:1,pass,skipAfter:END\"\nSecMarker 'END'\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "passes"},
		{"SecAction \"id:1,phase:1,pass,skipAfter:END\"\nSecMarker END\nSecRuleRemoveById 0-0\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "passes"},
		{"SecAction \"id:1,phase:1,pass,ctl:ruleRemoveById=0-0,skipAfter:END\"\nSecMarker END\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "passes"},
		{"SecAction \"id:1,phase:1,pass,ctl:ruleRemoveTargetById=2;ARGS_GET:a\"\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "denied"},
		{"SecAction \"id:1,phase:1,pass,ctl:ruleRemoveTargetById=2;ARGS:a\"\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "passes"},
		{"SecAction \"id:1,phase:1,pass,ctl:ruleEngine=Offf\"\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "denied"},
		{"SecRule ARGS \"@rx attack\" \"id:2,phase:2,deny,tag:attack-sqli\"\nSecRuleRemoveByTag attack-.*", "a=attack", "denied"},
		{"SecRule ARGS \"@rx ok\" \"id:1,phase:2,deny\"\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"\nSecRuleUpdateTargetById 1 2 \"!ARGS:a\"", "a=attack", "denied"},
		{"SecRuleRemoveById 2\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "denied"},
		{"SecRule ARGS \"@rx attack\" \"id:1,phase:2,deny,t:uppercase,t:None\"", "a=attack", "passes"},
		{`SecRule FULL_REQUEST "@rx ." "id:1,phase:2,deny"`, "a=attack", "passes"},
		{`SecRule REQUEST_BODY "!@rx attack" "id:1,phase:1,pass"`, "a=attack", "passes"},
		{"SecRuleEngine On\nSecAction \"id:1,phase:1,pass\"\nSecRule ARGS \"@rx attack\" \\\n\"id:2,phase:2,deny\" \\\n", "a=attack", "passes"},
		{"SecRule ARGS \"@rx never" + strings.Repeat("x", 1<<16) + "\" \"id:1,phase:2,deny\"\nSecRule ARGS \"@rx attack\" \"id:2,phase:2,deny\"", "a=attack", "passes"},
	} {
		if got := denied(t, c.text, c.arguments); got != c.want {
			t.Errorf("%.300s: %s, and it was %s", c.text, got, c.want)
		}
	}
}

// The engine keeps compiled lists under the name of their file, for all rule sets of a process: which is why Text names them
// by their content.
func TestAListOfTheSameNameStaysOld(t *testing.T) {
	ask := func(list string) coraza.WAF {
		files := with("")
		files["list.data"] = &fstest.MapFile{Data: []byte(list)}
		waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(files).WithDirectives("SecRuleEngine On\nSecRule ARGS \"@pmFromFile list.data\" \"id:1,phase:1,deny\""))
		if err != nil {
			t.Fatal(err)
		}
		return waf
	}
	first, second := ask("old\n"), ask("new\n")
	for waf, want := range map[coraza.WAF]bool{first: false, second: false} {
		tx := waf.NewTransactionWithID("x")
		tx.AddGetRequestArgument("a", "new")
		if it := tx.ProcessRequestHeaders(); (it != nil) != want {
			t.Errorf("the engine no longer keeps the old list: %v", it)
		}
		_ = tx.Close()
	}
}
