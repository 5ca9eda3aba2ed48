package seclang

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// What the engine makes of a text that we refuse.
const (
	silent = "silent" // it loads it and says nothing
	fails  = "fails"  // it does not load it, or breaks off
)

// findings are texts with what is said of them. The engine's own part is tested too: what is called silent does load.
var findings = []struct{ text, engine, want, write string }{
	// directives
	{`SecRuleScript "/a.lua" "id:1,deny"`, silent, "runs no Lua", "SecRule"},
	{`SecHashEngine On`, silent, "does not sign", ""},
	{`SecPcreMatchLimit 1000`, silent, "linear time", ""},
	{`SecPcreMatchLimitRecursion 1000`, silent, "linear time", ""},
	{`SecCollectionTimeout 600`, silent, "kept between requests", "rate"},
	{`SecConnEngine On`, silent, "no connections", "per_ipv4"},
	{`SecRequestBodyNoFilesLimit 1000`, silent, "no limit for bodies without files", "limits"},
	{`SecArgumentSeparator ;`, silent, "separated by &", ""},
	{`SecCookieFormat 1`, silent, "RFC 6265", ""},
	{`SecUploadKeepFiles On`, "", "never written", ""},
	{`SecIgnoreRuleCompilationErrors On`, silent, "left out in silence", "Off"},
	{`SecRemoteRules key https://example.org/`, fails, "fetches no rules", "Include"},
	{`SecUnicodeMapFile unicode.mapping 20127`, fails, "Unicode by its own table", ""},
	{`SecRuleRemoveByMsg "x"`, silent, "ends the whole process", "SecRuleRemoveById"},
	{`SecRuel ARGS "@rx a" "id:1"`, fails, "no directive SecRuel", "SecRule"},
	{"SecRule\tARGS \"@rx a\" \"id:1\"", fails, "not by a tab", ""},
	{`<IfModule security2_module>`, fails, "belong to Apache", ""},
	{`SecRuleEngine Of`, fails, "no state of the engine", ""},
	{`SecDefaultAction "phase:2,log,deny"`, silent, "the engine takes one", ""},
	{`SecMarker 'END'`, silent, "no name of a marker", ""},
	{`SecArgumentsLimit 0`, fails, "no number of arguments", ""},
	// how it is written
	{`SecRule ARGS "@rx a`, fails, "never closed", ""},
	{`SecRule ARGS "@rx a" id:1,deny`, fails, "between double quotes", ""},
	{`SecRule ARGS "@rx a" "id:1,phase:2,msg:'it's bad',deny"`, silent, "a single quote is never closed", `\'`},
	{`SecRule ARGS " @rx a" "id:1,phase:2,deny"`, silent, "a sign stands before @rx", ""},
	{`SecRule ARGS "! @rx a" "id:1,phase:2,deny"`, silent, "a sign stands before @rx", ""},
	{`SecRule ARGS "@rx a" "id:1,phase:2,deny,pass"`, silent, "the last counts", ""},
	{`SecRule ARGS "@rx a" "id:1,id:2,phase:2,deny"`, silent, "of id the last counts", ""},
	// ids, phases, chains
	{`SecRule ARGS "@rx a" "phase:2,deny"`, silent, "no id", "id:10001"},
	{`SecRule ARGS "@rx a" "id:942100,phase:2,deny"`, silent, "belong to the core rule set", ""},
	{`SecRule ARGS "@rx a" "id:100050,phase:2,deny"`, silent, "belong to Gatehouse", ""},
	{"SecAction \"id:7,phase:1,pass\"\nSecAction \"id:7,phase:1,pass\"", fails, "id 7 is the id of the rule in own.conf:1", ""},
	{`SecRule RESPONSE_BODY "@rx a" "id:1,phase:4,deny"`, silent, "phase 4 is not run", ""},
	{`SecRule ARGS "@rx a" "id:1,phase:5,deny"`, silent, "phase 5 is not run", ""},
	{`SecRule REQUEST_BODY "@rx a" "id:1,phase:1,deny"`, silent, "from phase 2 on", "phase:2"},
	{`SecRule ARGS "@rx a" "id:1,phase:2,block"`, silent, "block means pass", "deny"},
	{`SecRule ARGS "@rx a" "id:1,phase:2,deny,chain"`, silent, "the chain is not finished", ""},
	{"SecRule ARGS \"@rx a\" \"id:1,phase:2,deny,chain\"\nSecMarker END\nSecRule ARGS \"@rx b\"", silent, "the chain is not finished", ""},
	{"SecRule ARGS \"@rx a\" \"id:1,phase:2,deny,chain\"\nSecRule ARGS \"@rx b\" \"id:2\"", silent, "id belongs to the first rule", ""},
	{"SecRule ARGS \"@rx a\" \"id:1,phase:2,chain\"\nSecRule ARGS \"@rx b\" \"deny\"", fails, "deny belongs to the first rule", ""},
	{`SecRule ARGS "@rx a" "id:1,phase:2,pass,skipAfter:NOWHERE"`, silent, "no SecMarker NOWHERE", "SecMarker NOWHERE"},
	{"SecMarker HERE\nSecRule ARGS \"@rx a\" \"id:1,phase:2,pass,skipAfter:HERE\"", silent, "no SecMarker HERE", ""},
	// targets
	{`SecRule IP:count "@gt 5" "id:1,phase:2,deny"`, fails, "keeps nothing between requests", "rate"},
	{`SecRule GLOBAL:x "@gt 5" "id:1,phase:2,deny"`, fails, "keeps nothing between requests", "rate"},
	{`SecRule SESSION:x "@gt 5" "id:1,phase:2,deny"`, fails, "keeps nothing between requests", "rate"},
	{`SecRule SESSIONID "@rx a" "id:1,phase:2,deny"`, silent, "keeps nothing between requests", "rate"},
	{`SecRule FULL_REQUEST "@rx a" "id:1,phase:2,deny"`, silent, "never fills FULL_REQUEST", "REQUEST_LINE"},
	{`SecRule JSON:a "@rx a" "id:1,phase:2,deny"`, silent, "never fills JSON", "ARGS"},
	{`SecRule SERVER_PORT "@eq 80" "id:1,phase:1,deny"`, silent, "never filled here", ""},
	{`SecRule ENV:a "@rx a" "id:1,phase:1,deny"`, silent, "never fills ENV", ""},
	{`SecRule XML:/a/b/text() "@rx a" "id:1,phase:2,deny"`, silent, "no other path", "XML:/*"},
	{`SecRule !ARGS:a "@rx a" "id:1,phase:2,deny"`, silent, "stands before what it excludes", ""},
	{`SecRule !ARGS:a|ARGS "@rx a" "id:1,phase:2,deny"`, silent, "stands before what it excludes", ""},
	{`SecRule ARGS|!ARGS_GET:a "@rx a" "id:1,phase:2,deny"`, silent, "from, or beside it", ""},
	{`SecRule ARGS|!ARGS "@rx a" "id:1,phase:2,deny"`, silent, "excludes everything", ""},
	{`SecRule ARGS:'name' "@rx a" "id:1,phase:2,deny"`, silent, "read by the engine in another way", ""},
	{`SecRule ARGS:/name "@rx a" "id:1,phase:2,deny"`, silent, "never closed", ""},
	{`SecRule ARGS:a/b "@rx a" "id:1,phase:2,deny"`, silent, "read by the engine in another way", ""},
	{`SecRule REQUEST_HEADERS:/^X-\D+$/ "@rx a" "id:1,phase:2,deny"`, silent, "in lower case", ""},
	{`SecRule ARGS|!ARGS:/^Note$/ "@rx a" "id:1,phase:2,deny"`, silent, "compared with the name in lower case", "(?i)"},
	{`SecRule ARGS:/^userId$/ "@rx a" "id:1,phase:2,deny"`, silent, "compared with the name in lower case", "/(?i)^userId$/"},
	{`SecRule &ARGS_GET:/Id/ "@gt 1" "id:1,phase:2,deny"`, silent, "compared with the name in lower case", "(?i)"},
	{`SecRule ARGS_NAMES:userId "@rx a" "id:1,phase:2,deny"`, silent, "compared with the name in lower case", "ARGS_NAMES:userid"},
	{`SecRule FILES:photo "@rx [.]php$" "id:1,phase:2,deny"`, silent, "under no name", "MULTIPART_FILENAME:photo"},
	{`SecRule FILES_NAMES:photo "@rx a" "id:1,phase:2,deny"`, silent, "under no name", ""},
	{`SecRule ARGS:%{TX.name} "@rx a" "id:1,phase:2,deny"`, silent, "these very signs", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveTargetById=942100;ARGS:%{TX.name}"`, silent, "these very signs", ""},
	{`SecRule ARGS:a,ARGS:b "@rx a" "id:1,phase:2,deny"`, silent, "divided by |", "ARGS:a|ARGS:b"},
	{`SecRule REQUEST_METHOD:x "@rx a" "id:1,phase:2,deny"`, fails, "can't compile", ""},
	{`SecRule NOWHERE "@rx a" "id:1,phase:2,deny"`, fails, "can't compile", ""},
	// operators
	{`SecRule ARGS "@verifyCC \d{13,16}" "id:1,phase:2,deny"`, fails, "card numbers", "@rx"},
	{`SecRule ARGS "@verifySSN \d{9}" "id:1,phase:2,deny"`, fails, "validateNid us", "@validateNid"},
	{`SecRule ARGS "@fuzzyHash x 5" "id:1,phase:2,deny"`, fails, "by likeness", ""},
	{`SecRule REMOTE_ADDR "@geoLookup" "id:1,phase:2,deny"`, silent, "no table of countries", "address"},
	{`SecRule REMOTE_ADDR "@rbl example.org" "id:1,phase:2,deny"`, silent, "name server", "address"},
	{`SecRule FILES_TMPNAMES "@inspectFile /bin/x" "id:1,phase:2,deny"`, silent, "starts a program", ""},
	{`SecRule REQUEST_BODY "@validateSchema a.json" "id:1,phase:2,deny"`, fails, "contract", "openapi"},
	{`SecRule ARGS "@containsWord a" "id:1,phase:2,deny"`, fails, "does not know it", `\b`},
	{`SecRule ARGS "@contian a" "id:1,phase:2,deny"`, fails, "no operator @contian", "@contains"},
	{`SecRule ARGS "@RX a" "id:1,phase:2,deny"`, fails, "no operator @RX", "@rx"},
	{`SecRule ARGS "@validateNid cl .*" "id:1,phase:2,deny"`, silent, "crash", ""},
	{`SecRule &ARGS "@gt many" "id:1,phase:2,deny"`, silent, "take it for 0", ""},
	{`SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24,192.0.2.300" "id:1,phase:2,deny"`, silent, `"192.0.2.300" is no address`, ""},
	{`SecRule REMOTE_ADDR "@ipMatch 192.0.2.1-192.0.2.9" "id:1,phase:2,deny"`, silent, "no address and no prefix", ""},
	{`SecRule REMOTE_ADDR "@ipMatch 10.0.0.0/33" "id:1,phase:2,deny"`, silent, "no address and no prefix", ""},
	{`SecRule REMOTE_ADDR "@ipMatchFromFile bad.data" "id:1,phase:2,deny"`, silent, `bad.data: "nonsense"`, ""},
	{`SecRule ARGS "@pmFromFile none.data" "id:1,phase:2,deny"`, fails, "none.data", ""},
	{`SecRule ARGS "@pmFromFile empty.data" "id:1,phase:2,deny"`, silent, "holds no entry", ""},
	{`SecRule ARGS "@pmFromFile ../words.data" "id:1,phase:2,deny"`, "", "below the folder of the document", ""},
	{`SecRule ARGS "@pmFromFile https://example.org/a" "id:1,phase:2,deny"`, fails, "below the folder of the document", ""},
	{`SecRule ARGS "@pmFromFile long.data" "id:1,phase:2,deny"`, silent, "stop reading the list", ""},
	{`SecRule ARGS "@pmFromDataset none" "id:1,phase:2,deny"`, fails, "not defined", ""},
	{`SecRule ARGS "@pm A|42|C" "id:1,phase:2,deny"`, silent, "bytes between | |", ""},
	{`SecRule ARGS "@pm a  b" "id:1,phase:2,deny"`, silent, "an empty word", ""},
	{`SecRule ARGS "@validateByteRange 255-1" "id:1,phase:2,deny"`, silent, "no range of bytes", ""},
	{`SecRule ARGS "@rx ^%{tx.a}$" "id:1,phase:2,deny"`, silent, "does not put in", "@streq"},
	{`SecRule ARGS "@streq %{ip.a}" "id:1,phase:2,deny"`, silent, "keeps nothing", ""},
	// actions
	{`SecAction "id:1,phase:1,pass,initcol:ip=%{remote_addr}"`, silent, "keeps nothing", "rate"},
	{`SecAction "id:1,phase:1,pass,expirevar:ip.x=5"`, silent, "keeps nothing", "rate"},
	{`SecAction "id:1,phase:1,pass,setvar:ip.x=+1"`, fails, "keeps nothing", "rate"},
	{`SecAction "id:1,phase:1,pass,exec:/bin/x"`, fails, "starts no programs", ""},
	{`SecAction "id:1,phase:1,pass,exec"`, silent, "starts no programs", ""},
	{`SecAction "id:1,phase:1,pass,setvar:!tx.x"`, silent, "crashes", "setvar:tx.name=0"},
	{`SecAction "id:1,phase:1,pass,setvar:tx.x"`, silent, "crashes", "setvar:tx.name=0"},
	{`SecAction "id:1,phase:1,pass,setenv:A=%{args.a}"`, silent, "environment of the process", "setvar"},
	{`SecAction "id:1,phase:1,redirect:https://example.org/"`, silent, "no rule sends clients elsewhere", "deny"},
	{`SecAction "id:1,phase:1,pass,sanitiseArg:password"`, fails, "masked always", ""},
	{`SecAction "id:1,phase:1,pass,denny"`, fails, `no action "denny"`, "deny"},
	{`SecRule ARGS "@rx a" "id:1,phase:2,deny,t:sqlHexDecode"`, fails, "sqlHexDecode", "t:hexDecode"},
	{`SecRule ARGS "@rx a" "id:1,phase:2,deny,t:lowrcase"`, fails, `"lowrcase"`, "t:lowercase"},
	{`SecRule ARGS "@rx a" "id:1,phase:2,deny,t:lowercase,t:None"`, silent, "only t:none", ""},
	{`SecAction "id:1,phase:1,pass,ctl:hashEngine=On"`, silent, "does not sign", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleEngine=Offf"`, silent, `"Offf" is not known`, ""},
	{`SecAction "id:1,phase:1,pass,ctl:requestBodyProcessor=YAML"`, silent, `kind "YAML"`, ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveById=nine"`, silent, "no id", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveById=999998"`, silent, "no rule 999998", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveById=0-5"`, silent, "no range", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveByTag=attack-.*"`, silent, "letter by letter", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveTargetById=942100"`, silent, "names no target", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveTargetById=942100;ARGS_POST:a"`, silent, "does not name ARGS_POST", "ARGS:a"},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveTargetById=942100;ARSG:a"`, silent, "does not name ARSG", ""},
	{`SecAction "id:1,phase:1,pass,ctl:RuleRemoveById=942100"`, fails, "no ctl:RuleRemoveById", ""},
	{`SecAction "id:1,phase:1,pass,ctl:ruleRemoveByMsg=x"`, silent, "nowhere told", "ById"},
	// updates
	{`SecRuleRemoveById 999998`, silent, "no rule 999998", ""},
	{`SecRuleRemoveByTag attack-.*`, silent, "letter by letter", ""},
	{`SecRuleUpdateTargetById 942100 942110 "!ARGS:a"`, "", "the first only", ""},
	{`SecRuleUpdateTargetById 942100 "!ARGS_POST:a"`, "", "does not name ARGS_POST", "ARGS:a"},
	{`SecRuleUpdateTargetById 942100 "!ARGS:a,!ARGS:b"`, "", "divided by |", "a|!ARGS:b"},
	{`SecRuleUpdateTargetById 942100 "!ARGS:/^A/"`, "", "in lower case", "(?i)"},
	{`SecRuleUpdateActionById 942100 "id:5"`, "", "another rule of it", ""},
	{"SecRule ARGS \"@pm admin\" \"id:1,phase:2,deny\"\nSecRule ARGS:/admin/ \"@rx a\" \"id:2,phase:2,deny\"", fails, "under the same text", ""},
}

var beside1 = fstest.MapFS{
	"bad.data":   {Data: []byte("192.0.2.1\nnonsense\n")},
	"empty.data": {Data: []byte("# nothing\n\n")},
	"words.data": {Data: []byte("union\nselect\n")},
	"long.data":  {Data: []byte("a\n" + strings.Repeat("x", longestLine) + "\nb\n")},
}

func with(text string) fstest.MapFS {
	files := fstest.MapFS{"own.conf": {Data: []byte(text)}}
	for name, f := range beside1 {
		files[name] = f
	}
	return files
}

func read(t testing.TB, text string) (*Files, mistake.List) {
	t.Helper()
	return Read(with(text), "own.conf")
}

// loads tells whether the engine takes a text, with nothing of ours before it.
func loads(text string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = broke{}
		}
	}()
	_, err = coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(with("")).WithDirectives(text))
	return err
}

type broke struct{}

func (broke) Error() string { return "the engine broke off" }

// Nothing is silently off (rows G1, G18, G20): each of these is told, with its line, and with what to write where there is
// one thing to write.
func TestFindings(t *testing.T) {
	for _, c := range findings {
		err := loads(c.text)
		if c.engine == silent && err != nil || c.engine == fails && err == nil {
			t.Errorf("%s: the engine says %v, which is not %s", c.text, err, c.engine)
		}
		f, list := read(t, c.text)
		list = append(list, Check(Set{Core: core(), After: f}).Refused...)
		hit := false
		for _, m := range list {
			if strings.Contains(m.What, c.want) && strings.Contains(m.Write+m.What, c.write) {
				hit = true
			}
			if m.File != "own.conf" || m.Line < 1 || m.Line > 1+strings.Count(c.text, "\n") {
				t.Errorf("%s: %v is nowhere", c.text, m)
			}
		}
		if !hit {
			t.Errorf("%s: %q (%q) is not among %d: %v", c.text, c.want, c.write, len(list), list)
		}
	}
}

// What switches inspection off is a risk to accept, and what Gatehouse does itself is told.
func TestRisksAndNotes(t *testing.T) {
	for text, want := range map[string]string{
		`SecRuleEngine Off`:           "no rule denies",
		`SecRuleEngine DetectionOnly`: "no rule denies",
		`SecRequestBodyAccess Off`:    "no longer inspected",
		`SecRule REMOTE_ADDR "@ipMatch 192.0.2.1" "id:1,phase:1,allow,nolog"`:                        "allow lets a request pass",
		`SecRule REMOTE_ADDR "@ipMatch 192.0.2.1" "id:1,phase:1,pass,ctl:ruleEngine=Off"`:            "no rule denies any more, for requests",
		`SecRule REMOTE_ADDR "@ipMatch 192.0.2.1" "id:1,phase:1,pass,ctl:requestBodyAccess=Off"`:     "bodies are not inspected",
		`SecAction "id:1,phase:1,pass,setvar:tx.inbound_anomaly_score_threshold=10000"`:              "overrides for all APIs",
		`SecRuleRemoveById 900000-999999`:                                                            "keeps the scores",
		`SecRuleRemoveById 942000-942999`:                                                            "of the core rules",
		`SecRuleRemoveByTag attack-sqli`:                                                             "of the core rules",
		`SecRuleRemoveById 949110`:                                                                   "keeps the scores",
		`SecRule REMOTE_ADDR "@ipMatch 192.0.2.1" "id:1,phase:1,pass,ctl:ruleRemoveByTag=OWASP_CRS"`: "core rules",
		`SecRuleUpdateActionById 949110 "pass"`:                                                      "no longer denies",
		`SecRuleUpdateTargetById 942100 "!ARGS"`:                                                     "nothing of ARGS",
		`SecAction "id:1,phase:1,pass,setvar:tx.inbound_anomaly_score_pl1=+-50"`:                     "takes away from the scores",
		`SecRule ARGS "@rx a" "id:1,phase:1,pass,setvar:tx.%{MATCHED_VAR}=0"`:                        "can choose any variable",
		`SecRuleUpdateActionById 949110 "block"`:                                                     "no longer denies",
		`SecRuleUpdateActionById 949110 "t:length"`:                                                  "keeps the scores",
		`SecRuleUpdateActionById 942000-942999 "t:sha1"`:                                             "of the core rules",
		`SecRuleUpdateTargetById 949110 "!TX:BLOCKING_INBOUND_ANOMALY_SCORE"`:                        "keeps the scores",
		`SecRuleUpdateTargetById 942000-942999 "!ARGS:/.*/"`:                                         "of the core rules",
		`SecRuleUpdateTargetById 942000-942999 "!ARGS:/^[a-z0-9_.-]+$/"`:                             "of the core rules",
	} {
		f, wrong := read(t, text)
		r := Check(Set{Core: core(), After: f})
		if len(wrong)+len(r.Refused) > 0 || len(r.Insecure) == 0 || !strings.Contains(r.Insecure.Error(), want) && !strings.Contains(r.Insecure.Error(), "keeps the scores") {
			t.Errorf("%s: %v %v %v", text, wrong, r.Refused, r.Insecure)
		}
		if r.Err(true) != nil || r.Err(false) == nil || !strings.Contains(r.Err(false).Error(), "own.conf:1: ") {
			t.Errorf("%s: %v, %v", text, r.Err(true), r.Err(false))
		}
	}
	f, _ := read(t, "SecAuditEngine RelevantOnly\nSecRequestBodyLimit 13107200\nSecRuleEngine On")
	r := Check(Set{After: f})
	if len(r.Notes) != 2 || r.Err(false) != nil || r.Notes[1].Line != 2 {
		t.Errorf("%+v", r)
	}
	text, err := f.Text()
	if err != nil || strings.Contains(text.Directives, "Sec") {
		t.Errorf("%q, %v", text.Directives, err)
	}
}

// Where files stand, before the core rules or behind them, decides what they can change.
func TestTheOrderCounts(t *testing.T) {
	for _, c := range []struct {
		before       bool
		text, want   string
		wantInsecure string
	}{
		{true, "SecRuleRemoveById 942100", "stands before the rule", ""},
		{false, "SecRuleRemoveById 942100", "", ""},
		{true, `SecRuleUpdateTargetById 942100 "!ARGS:a"`, "stands before the rule", ""},
		{false, `SecRuleUpdateTargetById 942100 "!ARGS:a"`, "", ""},
		{true, `SecRule REQUEST_FILENAME "@streq /a" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=942100"`, "", ""},
		{false, `SecRule REQUEST_FILENAME "@streq /a" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=942100"`, "", ""},
		{false, `SecRule REQUEST_FILENAME "@streq /a" "id:1,phase:2,pass,nolog,ctl:ruleRemoveById=942100"`, "has run before", ""},
		{false, `SecRule REQUEST_FILENAME "@streq /a" "id:1,phase:2,pass,nolog,ctl:ruleRemoveTargetByTag=attack-sqli;ARGS:a"`, "has run before", ""},
		{true, `SecRule REQUEST_FILENAME "@streq /a" "id:1,phase:2,pass,nolog,ctl:ruleRemoveTargetByTag=attack-sqli;ARGS:a"`, "", ""},
		{true, `SecRule REQUEST_FILENAME "@streq /a" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=949110;TX:blocking_inbound_anomaly_score"`, "", "keeps the scores"},
		{true, `SecAction "id:1,phase:1,pass,ctl:ruleRemoveTargetByTag=attack-sqli;ARGS:/./"`, "", "of the core rules"},
		{true, `SecAction "id:1,phase:1,pass,ctl:ruleRemoveTargetByTag=OWASP_CRS;ARGS:/^json[.]notes[.]/"`, "", ""},
		{false, `SecAction "id:1,phase:1,pass,skipAfter:END-RESPONSE-980-CORRELATION"`, "no SecMarker", ""},
		{true, `SecAction "id:1,phase:1,pass,skipAfter:END-REQUEST-942-APPLICATION-ATTACK-SQLI"`, "Gatehouse's own", ""},
		{true, `SecAction "id:1,phase:1,pass,skip:500"`, "Gatehouse's own", ""},
		{true, "SecAction \"id:1,phase:1,pass,skip:1\"\nSecAction \"id:2,phase:1,pass\"", "", ""},
		{false, `SecAction "id:1,phase:1,pass,setvar:tx.inbound_anomaly_score_pl1=0"`, "", "takes away from the scores"},
		{false, `SecAction "id:1,phase:1,pass,setvar:!tx.inbound_anomaly_score_pl1=1"`, "", "takes away from the scores"},
		{false, `SecRule ARGS "@rx a" "id:1,phase:1,block,setvar:tx.inbound_anomaly_score_pl1=+5"`, "", ""},
		{true, `SecAction "id:1,phase:1,pass,ctl:ruleRemoveById=100000"`, "Gatehouse's own", ""},
		{true, `SecAction "id:200002,phase:1,pass"`, "id 200002 is the id of the rule in own:2", ""},
		{true, `SecDefaultAction "phase:1,log,pass"`, "the engine takes one", ""},
	} {
		f, wrong := read(t, c.text)
		own, _ := Parse("own", `SecAction "id:100000,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On"`+"\n"+`SecAction "id:200002,phase:1,pass"`)
		all := Join(own, core())
		if ids := all.IDs(); !ids[100000] || !ids[942100] || ids[1] || len(ids) < 600 {
			t.Fatal(len(ids))
		}
		set := Set{Before: f, Core: all}
		if !c.before {
			set = Set{Core: all, After: f}
		}
		r := Check(set)
		for want, list := range map[string]mistake.List{c.want: append(wrong, r.Refused...), c.wantInsecure: r.Insecure} {
			if c.want == c.wantInsecure {
				list = append(append(wrong, r.Refused...), r.Insecure...)
			}
			if want == "" && len(list) > 0 || want != "" && !strings.Contains(list.Error(), want) {
				t.Errorf("%s (before: %v): %v, want %q", c.text, c.before, list, want)
			}
		}
	}
}
