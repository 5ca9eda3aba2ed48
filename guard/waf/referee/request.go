package referee

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Value is one value of one of the engine's collections. A variable that holds a single text has an empty key.
type Value struct {
	Variable string // as rules spell it, such as REQUEST_HEADERS
	Key      string // as it was sent, such as User-Agent
	Text     string
}

// Settings are what an API and its contract give the rules, written to TX before the first phase.
type Settings struct {
	Paranoia  int               // 1 to 4; 0 is 1
	Threshold int               // sum of scores at which a request is denied; 0 is 5
	Method    string            // the only allowed method; empty leaves the rules' own list
	Media     string            // the only allowed media type, without parameters; empty leaves the rules' own list
	TX        map[string]string // anything else, by its name in small letters
}

// Request is everything that rules can read of one exchange. The names of arguments, the whole of ARGS and the like are
// derived by the engine and not listed; see Of.
type Request struct {
	Name     string // where it comes from, for messages
	Settings Settings
	Head     []Value // before the first phase
	Body     []Value // before the second phase

	Answered   bool    // the phases of the answer run too
	AnswerHead []Value // before the third phase
	AnswerBody []Value // before the fourth phase
	Logging    bool    // and the fifth phase
}

// settings lists what is written to TX.
func (s Settings) settings() map[string]string {
	level := strconv.Itoa(max(s.Paranoia, 1))
	list := map[string]string{"blocking_paranoia_level": level, "detection_paranoia_level": level, "inbound_anomaly_score_threshold": "5"}
	if s.Threshold > 0 {
		list["inbound_anomaly_score_threshold"] = strconv.Itoa(s.Threshold)
	}
	if s.Method != "" {
		list["allowed_methods"] = s.Method
	}
	if s.Media != "" {
		list["allowed_request_content_type"] = "|" + s.Media + "|"
	}
	maps.Copy(list, s.TX)
	return list
}

// sources says of which fed variables a derived one is made, and whether of their keys instead of their texts.
var sources = map[string]struct {
	of   []string
	keys bool
}{
	"ARGS":                  {[]string{"ARGS_GET", "ARGS_POST", "ARGS_PATH"}, false},
	"ARGS_NAMES":            {[]string{"ARGS_GET", "ARGS_POST", "ARGS_PATH"}, true},
	"ARGS_GET_NAMES":        {[]string{"ARGS_GET"}, true},
	"ARGS_POST_NAMES":       {[]string{"ARGS_POST"}, true},
	"REQUEST_HEADERS_NAMES": {[]string{"REQUEST_HEADERS"}, true},
	"REQUEST_COOKIES_NAMES": {[]string{"REQUEST_COOKIES"}, true},
	"XML":                   {[]string{"REQUEST_XML"}, false},
}

// Of gives the values that a rule finds in a variable, in the head (phase 1) or in head and body (phase 2), as the engine
// derives them from what is fed. Counters and MATCHED_* are not among them, but ARGS_COMBINED_SIZE is.
func (r Request) Of(variable string, withBody bool) []Value {
	fed := r.Head
	if withBody {
		fed = slices.Concat(r.Head, r.Body)
	}
	if variable == "ARGS_COMBINED_SIZE" {
		size := 0
		for _, v := range fed {
			if v.Variable == "ARGS_GET" || v.Variable == "ARGS_POST" {
				size += len(v.Key) + len(v.Text)
			}
		}
		return []Value{{Variable: variable, Text: strconv.Itoa(size)}}
	}
	from, derived := sources[variable]
	if !derived {
		from.of = []string{variable}
	}
	var list []Value
	for _, source := range from.of {
		for _, v := range fed {
			if v.Variable != source {
				continue
			}
			v.Variable = variable
			if from.keys {
				v.Text = v.Key
			}
			list = append(list, v)
		}
	}
	return list
}

// With gives a copy with one more value in the head, or in the body.
func (r Request) With(inBody bool, v Value) Request {
	if inBody {
		r.Body = append(slices.Clone(r.Body), v)
	} else {
		r.Head = append(slices.Clone(r.Head), v)
	}
	return r
}

// Put gives a copy in which a variable, or one key of it, has just this text.
func (r Request) Put(variable, key, text string) Request {
	replace := func(list []Value) ([]Value, bool) {
		list, found := slices.Clone(list), false
		for i, v := range list {
			if v.Variable == variable && strings.EqualFold(v.Key, key) {
				list[i].Text, found = text, true
			}
		}
		return list, found
	}
	var inHead, inBody bool
	r.Head, inHead = replace(r.Head)
	r.Body, inBody = replace(r.Body)
	if !inHead && !inBody {
		return r.With(isBody(variable), Value{variable, key, text})
	}
	return r
}

// isBody tells which variables come with the body.
func isBody(variable string) bool {
	switch variable {
	case "ARGS_POST", "REQUEST_BODY", "REQUEST_BODY_LENGTH", "REQUEST_XML", "FILES", "FILES_NAMES", "FILES_SIZES", "FILES_COMBINED_SIZE",
		"FILES_TMP_CONTENT", "MULTIPART_PART_HEADERS", "MULTIPART_FILENAME", "MULTIPART_NAME", "MULTIPART_STRICT_ERROR", "REQBODY_PROCESSOR",
		"REQBODY_ERROR", "REQBODY_ERROR_MSG", "REQBODY_PROCESSOR_ERROR", "REQBODY_PROCESSOR_ERROR_MSG":
		return true
	}
	return false
}
