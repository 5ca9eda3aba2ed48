package seclang

import (
	"regexp"
	"slices"
	"strings"
)

// empty are variables that the engine knows by name and never fills, with what to write instead. A test holds the list
// against the engine.
func empty() map[string]string {
	table := map[string]string{
		"FULL_REQUEST":        "REQUEST_LINE|REQUEST_HEADERS|REQUEST_BODY",
		"FULL_REQUEST_LENGTH": "REQUEST_BODY_LENGTH",
		"PATH_INFO":           "REQUEST_FILENAME",
		"REMOTE_HOST":         "REMOTE_ADDR",
		"FILES_TMP_CONTENT":   "ARGS",
		"JSON":                "ARGS:json.name",
		"RESPONSE_XML":        "RESPONSE_BODY",
		"STATUS_LINE":         "RESPONSE_STATUS",
		"ENV":                 "TX:name",
	}
	for _, name := range strings.Fields("AUTH_TYPE DURATION GEO IP SESSIONID USERID UNKNOWN RES_BODY_ERROR RES_BODY_ERROR_MSG RES_BODY_PROCESSOR_ERROR RES_BODY_PROCESSOR_ERROR_MSG MULTIPART_DATA_AFTER MULTIPART_BOUNDARY_QUOTED MULTIPART_BOUNDARY_WHITESPACE MULTIPART_CRLF_LF_LINES MULTIPART_DATA_BEFORE MULTIPART_FILE_LIMIT_EXCEEDED MULTIPART_HEADER_FOLDING MULTIPART_INVALID_HEADER_FOLDING MULTIPART_INVALID_PART MULTIPART_LF_LINE MULTIPART_MISSING_SEMICOLON MULTIPART_UNMATCHED_BOUNDARY") {
		table[name] = ""
	}
	return table
}

// unfed are variables that the engine's own readers would fill, and Gatehouse does not: it reads bodies itself, writes no
// files, and stands behind any number of addresses.
func unfed(name string) bool {
	switch name {
	case "SERVER_ADDR", "SERVER_PORT", "REMOTE_PORT", "FILES_TMPNAMES", "MULTIPART_FILENAME_CHARSET", "MULTIPART_FILENAME_LANGUAGE":
		return true
	}
	return false
}

// refusedBefore are variables that tell of requests which never come to the rules.
func refusedBefore(name string) bool {
	switch name {
	case "MULTIPART_STRICT_ERROR", "MULTIPART_DUPLICATE_PART_HEADER", "MULTIPART_INVALID_QUOTING", "URI_PARSE_ERROR", "URLENCODED_ERROR":
		return true
	}
	return false
}

// lasting are collections that other engines keep between requests.
func lasting(name string) bool {
	switch name {
	case "GLOBAL", "IP", "SESSION", "USER", "RESOURCE", "SESSIONID", "USERID":
		return true
	}
	return false
}

// nothingLasts is what is said of them.
const (
	nothingLasts = "the engine keeps nothing between requests"
	writeRate    = "guards: {rate: {per_address: 100/m}}"
)

// firstPhase is the phase from which on a variable holds something.
func firstPhase(name string) int {
	switch name {
	case "ARGS_POST", "ARGS_POST_NAMES", "REQUEST_BODY", "REQUEST_BODY_LENGTH", "FILES", "FILES_NAMES", "FILES_SIZES", "FILES_TMPNAMES",
		"FILES_COMBINED_SIZE", "REQBODY_ERROR", "REQBODY_ERROR_MSG", "REQBODY_PROCESSOR_ERROR", "REQBODY_PROCESSOR_ERROR_MSG", "XML", "REQUEST_XML",
		"MULTIPART_FILENAME", "MULTIPART_NAME", "MULTIPART_PART_HEADERS", "MULTIPART_STRICT_ERROR", "MULTIPART_DUPLICATE_PART_HEADER",
		"MULTIPART_INVALID_QUOTING", "MULTIPART_FILENAME_CHARSET", "MULTIPART_FILENAME_LANGUAGE", "INBOUND_DATA_ERROR":
		return 2
	case "RESPONSE_CONTENT_TYPE", "RESPONSE_HEADERS", "RESPONSE_HEADERS_NAMES", "RESPONSE_PROTOCOL", "RESPONSE_STATUS":
		return 3
	case "RESPONSE_BODY", "RESPONSE_CONTENT_LENGTH", "RESPONSE_ARGS", "OUTBOUND_DATA_ERROR":
		return 4
	}
	return 1
}

// folds tells whether the engine compares the keys of a variable in lower case.
func folds(name string) bool {
	switch name {
	case "ARGS", "ARGS_NAMES", "ARGS_GET", "ARGS_POST", "ARGS_GET_NAMES", "ARGS_POST_NAMES":
		return false
	}
	return true
}

// targets judges what a rule looks at.
func (c *check) targets(d Directive, r *Rule) {
	void, looks := empty(), false
	var before []string
	for _, t := range r.Targets {
		name := strings.ToUpper(t.Name)
		instead, isVoid := void[name]
		switch {
		case lasting(name):
			c.refuse(d, writeRate, "%s: %s", t.Name, nothingLasts)
			return
		case isVoid:
			c.refuse(d, instead, "the engine never fills %s, so the rule would look at nothing", t.Name)
		case unfed(name):
			c.refuse(d, "", "%s is never filled here, since Gatehouse reads requests and bodies itself", t.Name)
		case refusedBefore(name):
			c.Notes = append(c.Notes, at(d).mistake("", "%s is always 0: what would set it is refused before the rules see it", t.Name))
		case (name == "XML" || name == "REQUEST_XML") && t.Key != "/*" && t.Key != "//@*" && !t.Count:
			c.refuse(d, "XML:/*|XML://@*", "of XML the engine knows two things, the texts XML:/* and the attributes XML://@*, and no other path")
		case t.Not && t.Count:
			c.refuse(d, "", "!&%s is neither a number nor an exclusion", t.Name)
		case t.Not && t.Key == "":
			c.refuse(d, "", "!%s excludes everything of it; leave %s out", t.Name, t.Name)
		case t.Not && !slices.Contains(before, name):
			c.refuse(d, "", "!%s:%s stands before what it excludes from, or beside it: the engine takes it from a target %s that was named already", t.Name, t.Key, t.Name)
		}
		if !t.Not {
			before, looks = append(before, name), true
		}
		c.keyed(d, t)
	}
	if !looks {
		c.refuse(d, "", "the rule looks at nothing")
	}
}

// keyed judges the key of a target. Names of arguments stand in lower case where the engine looks for them: names by
// themselves and expressions are compared with that.
func (c *check) keyed(d Directive, t Target) {
	name := strings.ToUpper(t.Name)
	_, expression := inSlashes(t.Key)
	switch {
	case t.Key == "" || name == "XML" || name == "REQUEST_XML":
	case name == "FILES" || name == "FILES_NAMES":
		c.refuse(d, map[string]string{"FILES": "MULTIPART_FILENAME:", "FILES_NAMES": "MULTIPART_NAME:"}[name]+t.Key, "the engine keeps the values of %s under no name, so nothing stands under %s:%s", t.Name, t.Name, t.Key)
	case strings.Contains(t.Key, "%{"):
		c.verbatim(d, t.Name, t.Key)
	case expression:
		c.keyExpression(d, t)
	case strings.Contains(t.Key, ","):
		c.refuse(d, t.Name+":"+strings.ReplaceAll(t.Key, ",", "|"), "targets are divided by |; the engine takes all of %s:%s for one name", t.Name, t.Key)
	case strings.HasPrefix(name, "ARGS") && strings.HasSuffix(name, "_NAMES") && t.Key != strings.ToLower(t.Key):
		c.refuse(d, t.Name+":"+strings.ToLower(t.Key), "%s:%s is compared with the name in lower case, which it does not fit", t.Name, t.Key)
	}
}

// verbatim refuses a macro in the name of a target, where the engine looks for these very signs.
func (c *check) verbatim(d Directive, name, key string) {
	c.refuse(d, "", "%s:%s: the engine does not put in what %%{...} stands for there, and looks for these very signs", name, cut(key))
}

// keyExpression judges a key that is an expression. The engine lowers the whole expression where names have no case, and
// \D becomes \d; of arguments it is compared with the name in lower case.
func (c *check) keyExpression(d Directive, t Target) {
	pattern, _ := inSlashes(t.Key)
	if folds(strings.ToUpper(t.Name)) && regexp.MustCompile(`\\[A-Z]`).MatchString(strings.ReplaceAll(pattern, `\\`, "")) {
		c.refuse(d, "", "the engine puts the expression of %s:%s in lower case, and what follows a backslash with it, which changes its meaning; write a class such as [^0-9]", t.Name, t.Key)
	}
	if !folds(strings.ToUpper(t.Name)) {
		c.inLowerCase(d, pattern)
	}
}

// inLowerCase refuses an expression that can't fit a name in lower case.
func (c *check) inLowerCase(d Directive, pattern string) {
	if letters := regexp.MustCompile(`\\[A-Za-z]|\(\?[a-z]+\)`).ReplaceAllString(pattern, ""); letters != strings.ToLower(letters) && !strings.HasPrefix(pattern, "(?i)") {
		c.refuse(d, "/(?i)"+pattern+"/", "the expression of a key is compared with the name in lower case, which /%s/ does not fit", pattern)
	}
}

// inSlashes tells whether a key is an expression, and which.
func inSlashes(key string) (string, bool) {
	if len(key) > 2 && key[0] == '/' && key[len(key)-1] == '/' {
		return key[1 : len(key)-1], true
	}
	return "", false
}
