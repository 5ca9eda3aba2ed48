package seclang

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// source reads the files of a folder of the engine, as it is compiled in, without its tests.
func source(t *testing.T, folder string) string {
	t.Helper()
	file, _ := runtime.FuncForPC(reflect.ValueOf(coraza.NewWAF).Pointer()).FileLine(0)
	names, err := filepath.Glob(filepath.Join(filepath.Dir(file), "internal", folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("the engine's source is not at %s: %v", file, err)
	}
	var b strings.Builder
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
	}
	return b.String()
}

func found(text, pattern string) (list []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		list = append(list, strings.ToLower(m[1]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// What the engine knows is what our tables know: a new version can't bring a word of which nobody has said what it does.
func TestTheTablesAreTheEngines(t *testing.T) {
	same := func(what string, theirs, ours []string) {
		t.Helper()
		ours = lower(ours)
		slices.Sort(ours)
		if len(theirs) < 20 || !slices.Equal(theirs, slices.Compact(ours)) {
			t.Errorf("%s: the engine has %v, the table %v", what, theirs, ours)
		}
	}
	var listed []string
	for _, e := range entries() {
		if e.name != "Include" && e.effect != missing {
			listed = append(listed, e.name)
		}
	}
	listed = append(listed, "SecRuleRemoveByMsg", "SecRemoteRules")
	same("directives", found(source(t, "seclang"), `"(sec[a-z]+)":\s+directive`), listed)

	used := append(actions(), "exec", "expirevar", "initcol", "redirect", "setenv")
	same("actions", found(source(t, "actions"), `Register\("(\w+)",`), used)
	same("transformations", found(source(t, "transformations"), `Register\("(\w+)",`), transformations())
	same("operators", found(source(t, "operators"), `Register\("(\w+)",`), append(tests(), "geoLookup", "rbl", "inspectFile", "validateSchema"))
	same("ctl", found(source(t, "actions"), `case "(\w+)":\n\t\tact = ctl`), strings.Fields("auditEngine auditLogParts requestBodyAccess requestBodyLimit requestBodyProcessor forceRequestBodyVariable responseBodyProcessor responseBodyAccess responseBodyLimit forceResponseBodyVariable ruleEngine ruleRemoveById ruleRemoveByMsg ruleRemoveByTag ruleRemoveTargetById ruleRemoveTargetByMsg ruleRemoveTargetByTag hashEngine hashEnforcement debugLogLevel"))
}

// settings are the values of the engine's own structure that can be compared.
func settings(t *testing.T, text string) (s string, err error) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives("SecAction \"id:1,phase:1,pass,nolog\"\n" + text))
	if err != nil {
		return "", err
	}
	v := reflect.ValueOf(waf).Field(0).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool, reflect.Int, reflect.Int64, reflect.String, reflect.Slice, reflect.Uint8, reflect.Uint32:
			s += v.Type().Field(i).Name + "=" + fmt.Sprint(f) + "\n"
		case reflect.Pointer:
			s += v.Type().Field(i).Name + "=" + fmt.Sprint(f.IsNil()) + "\n"
		case reflect.Struct:
			if n := v.Type().Field(i).Name; n == "Rules" {
				s += fmt.Sprint("rules=", f.FieldByName("rules").Len(), "\n")
			} else if n == "AuditLogWriterConfig" {
				s += fmt.Sprintf("audit=%v %v %v %v\n", f.Field(0), f.Field(1), f.Field(2), f.Field(3))
			}
		}
	}
	return regexp.MustCompile(`(?m)^memoizerID=.*$`).ReplaceAllString(s, ""), nil
}

// Every directive of which the table says that the engine ignores it leaves the engine as it was, and none of the others
// that the engine knows does.
func TestWhatTheEngineIgnores(t *testing.T) {
	args := map[string]string{
		"SecHashKey": "rand", "SecRemoteRulesFailAction": "Warn", "SecRequestBodyNoFilesLimit": "5", "SecUploadFileLimit": "5",
	}
	plain, err := settings(t, "")
	if err != nil {
		t.Fatal(err)
	}
	// these two set a field that nothing reads: Read by nobody is ignored too
	unread := map[string]string{"SecRequestBodyNoFilesLimit": "RequestBodyNoFilesLimit", "SecUploadFileLimit": "UploadFileLimit", "SecRemoteRulesFailAction": "AbortOnRemoteRulesFail"}
	code := source(t, "corazawaf") + source(t, "bodyprocessors") + source(t, "operators") + source(t, "actions")
	for _, e := range entries() {
		if e.effect != ignored {
			continue
		}
		got, err := settings(t, e.name+" "+args[e.name])
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		if field, ok := unread[e.name]; ok {
			if n := len(regexp.MustCompile(`\.`+field+`\b`).FindAllString(code, -1)); n > 0 {
				t.Errorf("%s: the engine reads its field %s in %d places", e.name, field, n)
			}
		} else if got != plain {
			t.Errorf("%s is no longer ignored:\n%s", e.name, got)
		}
	}
	for _, e := range entries() {
		if e.effect == missing && e.name != "SecRuleRemoveByMsg" {
			if _, err := settings(t, e.name+" On"); err == nil {
				t.Errorf("%s: the engine takes it now", e.name)
			}
		}
	}
	if _, err := settings(t, "SecRuleRemoveByMsg x"); err == nil || !strings.HasPrefix(err.Error(), "panic") {
		t.Errorf("SecRuleRemoveByMsg: %v", err)
	}
}

// A variable that stands in the list of empty ones has nothing in it after a request and an answer that have everything,
// and one that does not has something, or is on the list of those that only trouble fills.
func TestEmptyVariablesAreEmpty(t *testing.T) {
	filled := map[string]bool{}
	run := func(method, media, body, more, answer string) {
		waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(`
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain application/json
SecAction "id:1,phase:1,pass,log,msg:'x',setvar:tx.a=1,ctl:forceRequestBodyVariable=On,severity:2` + more + `"
SecAction "id:3,phase:3,pass,ctl:responseBodyProcessor=` + answer + `"
SecRule ARGS|REQUEST_URI "@rx ." "id:2,phase:2,pass,log,msg:'y'"
SecRule REQUEST_FILENAME "@restpath /a/{n}" "id:4,phase:1,pass"`))
		if err != nil {
			t.Fatal(err)
		}
		tx := waf.NewTransactionWithID("id")
		defer tx.Close()
		tx.ProcessConnection("192.0.2.1", 1, "192.0.2.2", 2)
		tx.ProcessURI("/a/b?x=1&bad=%zz", method, "HTTP/1.1")
		tx.SetServerName("example.org")
		tx.AddRequestHeader("Host", "example.org")
		tx.AddRequestHeader("Cookie", "c=1")
		tx.AddRequestHeader("Authorization", "Basic YTpi")
		tx.AddRequestHeader("Content-Type", media)
		tx.ProcessRequestHeaders()
		_, _, _ = tx.WriteRequestBody([]byte(body))
		_, _ = tx.ProcessRequestBody()
		tx.AddResponseHeader("Content-Type", "application/json")
		tx.ProcessResponseHeaders(200, "HTTP/1.1")
		_, _, _ = tx.WriteResponseBody([]byte(`{"a":1}`))
		_, _ = tx.ProcessResponseBody()
		state := tx.(plugintypes.TransactionState)
		for n := range 256 {
			v := variables.RuleVariable(n)
			if c := state.Collection(v); c != nil {
				for _, m := range c.FindAll() {
					if m.Value() != "" && (m.Value() != "0" || strings.HasPrefix(v.Name(), "FILES") || strings.HasPrefix(v.Name(), "ARGS")) {
						filled[v.Name()] = true
					}
				}
			}
		}
	}
	run("GET", "text/plain", "", "", "JSON")
	run("POST", "application/x-www-form-urlencoded", "a=b", "", "JSON")
	run("POST", "application/json", `{"a":{"b":1}}`, ",ctl:requestBodyProcessor=JSON", "JSON")
	run("POST", "application/xml", `<a b="c">d</a>`, ",ctl:requestBodyProcessor=XML", "JSON")
	run("POST", "multipart/form-data; boundary=x", "before\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"g\"; filename*=UTF-8'en'h\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\nv\r\n--x--\r\nafter", "", "JSON")
	run("GET", "text/plain", "", "", "")
	void := empty()
	for name := range filled {
		if _, ok := void[name]; ok {
			t.Errorf("%s holds something", name)
		}
	}
	trouble := strings.Fields("FILES_TMPNAMES MATCHED_VAR MATCHED_VARS INBOUND_DATA_ERROR OUTBOUND_DATA_ERROR ARGUMENTS_LIMIT_REACHED REQBODY_ERROR REQBODY_ERROR_MSG REQBODY_PROCESSOR_ERROR REQBODY_PROCESSOR_ERROR_MSG MULTIPART_STRICT_ERROR MULTIPART_DUPLICATE_PART_HEADER MULTIPART_INVALID_QUOTING URLENCODED_ERROR URI_PARSE_ERROR")
	for n := range 256 {
		name := variables.RuleVariable(n).Name()
		if _, err := variables.Parse(name); err != nil || filled[name] || strings.HasPrefix(name, "TIME_") || slices.Contains(trouble, name) {
			continue
		}
		if _, ok := void[name]; !ok {
			t.Errorf("%s holds nothing, and the list does not say so", name)
		}
	}
}
