package seclang

import (
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// effect is what becomes of a directive.
type effect int

const (
	works   effect = iota // the engine carries it out; parts of it are checked further
	ours                  // harmless, but Gatehouse does this itself in another place: told, and not handed on
	ignored               // the engine reads it and does nothing
	missing               // the engine does not know it, or gives up
)

// entry is what is known of one directive.
type entry struct {
	name   string // as the engine's pages spell it
	effect effect
	what   string // why it has no effect here; "" for what works
	write  string // the nearest equivalent
}

// What stands in several lines of the tables.
const (
	noRequest  = "the limits of Gatehouse hold before the engine sees a byte, and whatever is over them is refused, never cut"
	noAnswer   = "which answers are inspected, and how much of them, is said in the document"
	noAudit    = "the engine's own log is off: every denial is an event of Gatehouse, with the rules that matched and masked values"
	noUpload   = "uploads are never written to disk"
	noHash     = "the engine does not sign links and forms"
	noConnect  = "the engine sees no connections"
	writeLimit = "listen: {limits: {per_ipv4: 100}}"
	writeBytes = "guards: {limits: {body: 13MiB}}"
	writeAudit = "audit: {directory: /var/log/gatehouse}"
)

// entries are all directives that Coraza 3.8 or ModSecurity 2 and 3 know. A test holds the list against the engine.
func entries() []entry {
	return []entry{
		{name: "Include"}, {name: "SecRule"}, {name: "SecAction"}, {name: "SecMarker"}, {name: "SecDataset"},
		{name: "SecDefaultAction"}, {name: "SecRuleEngine"}, {name: "SecRequestBodyAccess"}, {name: "SecArgumentsLimit"},
		{name: "SecRuleRemoveById"}, {name: "SecRuleRemoveByTag"}, {name: "SecRuleUpdateTargetById"},
		{name: "SecRuleUpdateTargetByTag"}, {name: "SecRuleUpdateActionById"},
		{name: "SecUploadKeepFiles"}, {name: "SecIgnoreRuleCompilationErrors"}, {name: "SecArgumentSeparator"}, {name: "SecCookieFormat"},

		{"SecRequestBodyLimit", ours, noRequest, writeBytes},
		{"SecRequestBodyLimitAction", ours, noRequest, ""},
		{"SecRequestBodyInMemoryLimit", ours, noRequest, ""},
		{"SecRequestBodyJsonDepthLimit", ours, noRequest, "guards: {limits: {depth: 32}}"},
		{"SecResponseBodyAccess", ours, noAnswer, ""},
		{"SecResponseBodyLimit", ours, noAnswer, ""},
		{"SecResponseBodyLimitAction", ours, noAnswer, ""},
		{"SecResponseBodyMimeType", ours, noAnswer, ""},
		{"SecResponseBodyMimeTypesClear", ours, noAnswer, ""},
		{"SecResponseBodyJsonDepthLimit", ours, noAnswer, ""},
		{"SecAuditEngine", ours, noAudit, writeAudit},
		{"SecAuditLog", ours, noAudit, writeAudit},
		{"SecAuditLogType", ours, noAudit, ""},
		{"SecAuditLogFormat", ours, noAudit, ""},
		{"SecAuditLogStorageDir", ours, noAudit, writeAudit},
		{"SecAuditLogDirMode", ours, noAudit, ""},
		{"SecAuditLogFileMode", ours, noAudit, ""},
		{"SecAuditLogRelevantStatus", ours, noAudit, ""},
		{"SecAuditLogParts", ours, noAudit, ""},
		{"SecDebugLog", ours, "the engine writes no debug log", "gatehouse explain"},
		{"SecDebugLogLevel", ours, "the engine writes no debug log", "gatehouse explain"},
		{"SecRulePerfTime", ours, "time is measured per guard", "listen: {admin: http://127.0.0.1:9090}"},
		{"SecUploadDir", ours, noUpload, ""},
		{"SecUploadFileMode", ours, noUpload, ""},
		{"SecTmpDir", ours, noUpload, ""},
		{"SecDataDir", ours, "nothing is kept between requests, so there is nothing to put there", ""},
		{"SecComponentSignature", ours, "names of rule sets stand in no answer", ""},
		{"SecServerSignature", ours, "what tells about the server behind is removed from answers", ""},
		{"SecWebAppID", ours, "every event names its API", ""},
		{"SecSensorID", ours, "no rule reads it", ""},
		{"SecRxPreFilter", ours, "Gatehouse decides which expressions must run", ""},

		{"SecRuleScript", ignored, "the engine runs no Lua, so this rule would never run", `SecRule ARGS "@rx ..." "id:...,phase:2,deny"`},
		{"SecHashEngine", ignored, noHash, ""},
		{"SecHashKey", ignored, noHash, ""},
		{"SecHashParam", ignored, noHash, ""},
		{"SecHashMethodRx", ignored, noHash, ""},
		{"SecHashMethodPm", ignored, noHash, ""},
		{"SecPcreMatchLimit", ignored, "expressions run in linear time and have no limit of matches; take it away", ""},
		{"SecPcreMatchLimitRecursion", ignored, "expressions run in linear time and have no limit of matches; take it away", ""},
		{"SecConnEngine", ignored, noConnect, writeLimit},
		{"SecConnReadStateLimit", ignored, noConnect, writeLimit},
		{"SecConnWriteStateLimit", ignored, noConnect, writeLimit},
		{"SecCollectionTimeout", ignored, "nothing is kept between requests", "guards: {rate: {per_address: 100/m}}"},
		{"SecHttpBlKey", ignored, "the engine asks no list of addresses", "guards: {address: {deny: [192.0.2.0/24]}}"},
		{"SecGsbLookupDb", ignored, "the engine asks no list of unsafe links", ""},
		{"SecRequestBodyNoFilesLimit", ignored, "the engine has no limit for bodies without files", writeBytes},
		{"SecUploadFileLimit", ignored, "the engine reads no uploads here", "guards: {limits: {parts: 100}}"},
		{"SecRuleUpdateTargetByMsg", ignored, "the engine does not look rules up by their message here", `SecRuleUpdateTargetById 942100 "!ARGS:comment"`},
		{"SecUnicodeMap", ignored, "the engine maps Unicode by its own table", ""},
		{"SecRemoteRulesFailAction", ignored, "the engine fetches no rules", ""},

		{"SecRuleRemoveByMsg", missing, "the engine ends the whole process at the first rule that has no message", "SecRuleRemoveById 942100"},
		{"SecRemoteRules", missing, "the engine fetches no rules; put the file beside the document", "Include rules/name.conf"},
		{"SecUnicodeMapFile", missing, "the engine maps Unicode by its own table; take it away", ""},
		{"SecGeoLookupDb", missing, "the engine has no table of countries", "guards: {address: {deny: [192.0.2.0/24]}}"},
		{"SecGuardianLog", missing, noAudit, writeAudit},
		{"SecStatusEngine", missing, "the engine reports to nobody; take it away", ""},
		{"SecInterceptOnError", missing, "what the engine can't judge is always denied; take it away", ""},
		{"SecRuleInheritance", missing, "rules are not inherited between places; take it away", ""},
		{"SecStreamInBodyInspection", missing, "bodies are inspected as they were understood; take it away", ""},
		{"SecStreamOutBodyInspection", missing, noAnswer, ""},
		{"SecContentInjection", missing, "answers are not changed by rules; take it away", ""},
		{"SecTmpSaveUploadedFiles", missing, noUpload, ""},
		{"SecXmlExternalEntity", missing, "documents with entities are refused always; take it away", ""},
		{"SecParseXmlIntoArgs", missing, "attributes of XML are inspected as ARGS_POST:xml.attribute; take it away", ""},
		{"SecCookieV0Separator", missing, "cookies are read strictly, separated by semicolons; take it away", ""},
		{"SecDisableBackendCompression", missing, "the server is asked for identity coding where answers are inspected", ""},
		{"SecChrootDir", missing, "the process confines itself", ""},
		{"SecReadStateLimit", missing, noConnect, writeLimit},
		{"SecWriteStateLimit", missing, noConnect, writeLimit},
		{"SecAuditLog2", missing, noAudit, writeAudit},
		{"SecAuditLogPrefix", missing, noAudit, ""},
		{"IncludeOptional", missing, "a file that is named must be there", "Include rules/name.conf"},
	}
}

// directives is the table by lower case name.
func directives() map[string]entry {
	table := map[string]entry{}
	for _, e := range entries() {
		table[strings.ToLower(e.name)] = e
	}
	return table
}

// unknown tells what to do with a directive that nobody knows.
func (c *check) unknown(d Directive) {
	word, _, _ := strings.Cut(d.raw, " ")
	var known []string
	for _, e := range entries() {
		known = append(known, strings.ToLower(e.name))
	}
	slices.Sort(known)
	near := mistake.Nearest(d.Name, known)
	switch {
	case strings.HasPrefix(word, "<"):
		c.refuse(d, "", "sections such as %s belong to Apache; write the rules of one API under apis[].guards.waf", word)
	case strings.Contains(word, "\t"):
		c.refuse(d, strings.ReplaceAll(word, "\t", " "), "a directive is followed by a space, not by a tab")
	case near != "":
		c.refuse(d, c.table[near].name, "there is no directive %s", word)
	default:
		c.refuse(d, "", "there is no directive %s", word)
	}
}

// setting checks directives that work or not by their argument. It tells whether the directive is handed on.
func (c *check) setting(d Directive) bool {
	arg := strings.ToLower(d.Args)
	switch d.Name {
	case "secruleengine":
		switch arg {
		case "on":
		case "off", "detectiononly":
			c.insecure(d, "guards: {waf: {mode: detect}}", "SecRuleEngine %s: no rule denies any more, for no API", d.Args)
			return true
		default:
			c.refuse(d, "SecRuleEngine On", "%q is no state of the engine", d.Args)
		}
	case "secrequestbodyaccess":
		switch arg {
		case "on":
		case "off":
			c.insecure(d, "SecRequestBodyAccess On", "bodies are no longer inspected, for no API")
			return true
		default:
			c.refuse(d, "SecRequestBodyAccess On", "%q is neither On nor Off", d.Args)
		}
	case "secuploadkeepfiles":
		if arg != "off" {
			c.refuse(d, "SecUploadKeepFiles Off", "%s", noUpload)
		}
	case "secignorerulecompilationerrors":
		if arg != "off" {
			c.refuse(d, "SecIgnoreRuleCompilationErrors Off", "rules that can't be compiled would be left out in silence")
		}
	case "secargumentseparator":
		if d.Args != "&" {
			c.refuse(d, "", "the engine ignores this; arguments are separated by & only")
		}
	case "seccookieformat":
		if d.Args != "0" {
			c.refuse(d, "", "the engine ignores this; cookies are those of RFC 6265 only")
		}
	default:
		return true
	}
	return false
}
