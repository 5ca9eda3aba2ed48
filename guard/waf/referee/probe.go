package referee

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Probes makes requests from the rules themselves: texts that a rule's expression matches, so that every branch of it is in
// one of them, and every word of its lists, each alone in a place that the rule reads, as it is or written so that the
// rule's transformations turn it back. At most so many for one rule. Each runs at the rule's level of paranoia.
func (c *Collector) Probes(rules []Rule, r *rand.Rand, most int) ([]Request, error) {
	bases, err := c.bases()
	if err != nil {
		return nil, err
	}
	var list []Request
	for _, rule := range rules {
		first := r.IntN(5 * (len(rule.Variables) + 1)) // a rule may read more places, in more kinds of requests, than it has texts
		for i, text := range rule.texts(r, most) {
			written := text
			if len(rule.Transformations) > 0 && r.IntN(2) == 0 {
				written = undone(r, text, rule.Transformations)
			}
			request, ok := rule.put(bases, first+i, written)
			if !ok {
				break
			}
			request.Name = fmt.Sprintf("probe %d.%d", rule.ID, i)
			request.Settings = Settings{Paranoia: max(rule.Level, 1), TX: tuned}
			list = append(list, request)
		}
	}
	return list, nil
}

// Placements makes requests of texts, each in every place that the rule reads, at the rule's level of paranoia.
func (c *Collector) Placements(rule Rule, texts []string) (list []Request, err error) {
	bases, err := c.bases()
	if err != nil {
		return nil, err
	}
	for i, text := range texts {
		for n := range len(rule.Variables) {
			request, ok := rule.put(bases, n, text)
			if !ok {
				break
			}
			request.Name = fmt.Sprintf("text %d.%d in place %d", rule.ID, i, n)
			request.Settings = Settings{Paranoia: max(rule.Level, 1), TX: tuned}
			list = append(list, request)
		}
	}
	return list, nil
}

// texts are texts near which the rule's operator decides.
func (r Rule) texts(random *rand.Rand, most int) []string {
	var list []string
	switch r.Operator {
	case "rx":
		list, _ = texts(r.Argument, most, random) // what Go's reader does not take, the engine does not either
	case "pm", "pmFromFile", "pmf":
		list = r.words()
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	case "detectSQLi":
		list = []string{"1' or '1'='1", "1 union select a from b", `" or 1=1 --`, "1;drop table x", "x' and sleep(5)#", "1' or"}
	case "detectXSS":
		list = []string{"<script>x</script>", "<img src=x onerror=y>", "javascript:x", "<a href=javascript:x>", "<scrip", "<svg/onload=x>"}
	case "contains", "streq", "beginsWith", "endsWith", "within":
		list = []string{r.Argument, r.Argument + "x", "x" + r.Argument, strings.TrimSuffix(r.Argument, r.Argument[max(0, len(r.Argument)-1):])}
	case "validateByteRange":
		for c := range 256 {
			list = append(list, "a"+string([]byte{byte(c)})+"b")
		}
	case "validateUrlEncoding", "validateUtf8Encoding":
		list = []string{"%", "%4", "%zz", "%41", "\xc0\xaf", "\xe2\x82", "\xff", "é", "\xed\xa0\x80", "\xf4\x90\x80\x80"}
	}
	if len(list) > most {
		list = list[:most]
	}
	return list
}

// bases are requests without any attack, in which every place is.
type bases struct{ get, form, json, multipart, xml Request }

func (c *Collector) bases() (b bases, err error) {
	for spot, r := range map[Spot]*Request{InQuery: &b.get, InForm: &b.form, InJSON: &b.json, InFile: &b.multipart, InXML: &b.xml} {
		if *r, err = c.Collect(spot.Message("plain")); err != nil {
			return b, err
		}
	}
	return b, nil
}

// put puts a text into one of the places that the rule reads, another for each number.
func (r Rule) put(b bases, number int, text string) (Request, bool) {
	var places []string
	for _, v := range r.Variables {
		if !strings.HasPrefix(v, "!") && !strings.HasPrefix(v, "&") && !strings.HasPrefix(v, "TX") && !strings.HasPrefix(v, "MATCHED") && !strings.HasPrefix(v, "RESPONSE") {
			places = append(places, v)
		}
	}
	if len(places) == 0 {
		return Request{}, false
	}
	variable, key, _ := strings.Cut(places[number%len(places)], ":")
	spare := number / len(places)
	if r.Phase == 1 {
		spare = 0
	}
	return b.at(variable, strings.Trim(key, "/"), text, spare), true
}

// at puts a text into a variable as rules name it. What is derived goes where it is derived from.
func (b bases) at(variable, key, text string, number int) Request {
	or := func(key, otherwise string) string {
		if key == "" {
			return otherwise
		}
		return key
	}
	switch variable {
	case "ARGS":
		switch number % 5 {
		case 4: // one that the request has anyway
			return b.get.Put("ARGS_GET", or(key, "q"), text)
		case 1:
			return b.form.With(true, Value{"ARGS_POST", or(key, "text"), text})
		case 2:
			return b.json.With(true, Value{"ARGS_POST", or(key, "json.text.0"), text})
		case 3:
			return b.get.With(false, Value{"ARGS_PATH", or(key, "path.3"), text})
		}
		return b.get.With(false, Value{"ARGS_GET", or(key, "q2"), text})
	case "ARGS_GET":
		return b.get.With(false, Value{variable, or(key, "q2"), text})
	case "ARGS_NAMES", "ARGS_GET_NAMES":
		if number%2 == 1 && variable == "ARGS_NAMES" {
			return b.json.With(true, Value{"ARGS_POST", text, "1"})
		}
		return b.get.With(false, Value{"ARGS_GET", text, "1"})
	case "REQUEST_COOKIES":
		return b.get.With(false, Value{variable, or(key, "note"), text})
	case "REQUEST_COOKIES_NAMES":
		return b.get.With(false, Value{"REQUEST_COOKIES", text, "1"})
	case "REQUEST_HEADERS":
		return b.get.Put(variable, or(key, "X-Text"), text)
	case "REQUEST_HEADERS_NAMES":
		return b.get.With(false, Value{"REQUEST_HEADERS", text, "1"})
	case "XML":
		return b.xml.With(true, Value{"REQUEST_XML", map[bool]string{true: "//@*", false: "/*"}[strings.Contains(key, "@")], text})
	case "FILES", "FILES_NAMES", "MULTIPART_PART_HEADERS":
		return b.multipart.With(true, Value{variable, or(key, "f"), text})
	case "REQUEST_BODY":
		return b.form.Put(variable, "", text)
	}
	return b.get.Put(variable, key, text)
}
