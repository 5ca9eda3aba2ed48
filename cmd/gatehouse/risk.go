package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
)

// accepted is one risk that the document takes knowingly: the section that holds accept_risk, and what it says there.
type accepted struct{ section, api, reason, until string }

// acceptedRisks finds every accept_risk of the document, wherever it stands, so that none can be forgotten.
func acceptedRisks(d *config.Document) []accepted {
	var list []accepted
	var walk func(path, api string, value any)
	walk = func(path, api string, value any) {
		switch v := value.(type) {
		case map[string]any:
			if reason, ok := v["accept_risk"].(string); ok {
				until, _ := v["until"].(string)
				list = append(list, accepted{path, api, reason, until})
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(strings.TrimPrefix(path+"."+key, "."), api, v[key])
			}
		case []any:
			for i, item := range v {
				if m, ok := item.(map[string]any); ok && path == "apis" {
					api, _ = m["name"].(string)
				}
				walk(fmt.Sprintf("%s[%d]", path, i), api, item)
			}
		}
	}
	walk("", "", d.Value(""))
	return list
}

// key is the last word of the section, without the number of an item.
func (a accepted) key() string {
	word, _, _ := strings.Cut(a.section[strings.LastIndex(a.section, ".")+1:], "[")
	return word
}

// what tells the risk in words. A section that is new here is told by its name.
func (a accepted) what() string {
	said := a.section + " is accepted"
	switch a.key() {
	case "development":
		said = "tokens of the development issuer are accepted"
	case "allow_private":
		said = "the identity provider may have a private address"
	case "plaintext":
		said = "http:// may be served beyond this machine"
	case "insecure_skip_verify":
		said = "any certificate of the servers behind is accepted"
	case "insecure":
		if strings.HasSuffix(a.section, ".rules.insecure") {
			said = "own rules of the WAF may switch inspection off"
		}
	case "audit":
		said = "requests pass unrecorded while events cannot be written"
	}
	if a.until != "" {
		said += ", until " + a.until
	}
	return said
}

// otherRisks are the accepted risks that the protection table does not know of: it has the guards that are off or in dry
// run and the APIs without a contract; here are listeners, issuers, servers and the event log.
func otherRisks(d *config.Document) []gate.Finding {
	var list []gate.Finding
	for _, a := range acceptedRisks(d) {
		switch a.key() {
		case "off", "dry_run", "apis":
			continue
		}
		f := gate.Finding{ID: "risk." + a.key(), API: a.api, What: a.what(), Fix: "remove " + a.section, Place: a.section, Risk: a.reason}
		if a.key() == "audit" {
			f.Fix = "on_failure: deny"
		}
		list = append(list, f)
	}
	return list
}
