package referee

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mutate moves a request by one to three small steps around the places where a filter decides: a byte less, another case,
// a value split over two, one more encoding, bytes that are no UTF-8, lengths at the limits, another place, another level.
// Pool is a list of texts to take parts of.
func Mutate(r *rand.Rand, request Request, pool []string) Request {
	request.Head, request.Body = slices.Clone(request.Head), slices.Clone(request.Body)
	name := ""
	for range 1 + r.IntN(3) {
		step := steps()[r.IntN(len(steps()))]
		if step.change(r, &request, pool) {
			name += ", " + step.name
		}
	}
	request.Name += name
	return request
}

// step is one way to move a request; change is false when it could not.
type step struct {
	name   string
	change func(r *rand.Rand, request *Request, pool []string) bool
}

func steps() []step {
	onText := func(change func(r *rand.Rand, s string) string) func(*rand.Rand, *Request, []string) bool {
		return func(r *rand.Rand, request *Request, _ []string) bool {
			v := pick(r, request)
			if v == nil {
				return false
			}
			before := v.Text
			v.Text = change(r, v.Text)
			return v.Text != before
		}
	}
	return []step{
		{"a byte less", onText(byteLess)},
		{"a byte less", onText(byteLess)},
		{"an end less", onText(func(r *rand.Rand, s string) string {
			return s[min(len(s), r.IntN(2)) : len(s)-min(max(len(s)-1, 0), r.IntN(2))]
		})},
		{"other case", onText(otherCase)},
		{"encoded", onText(func(r *rand.Rand, s string) string { e := encodings(); return e[r.IntN(len(e))].write(r, s) })},
		{"encoded in part", onText(encodedPart)},
		{"encoded twice", onText(func(r *rand.Rand, s string) string {
			e := encodings()
			return e[r.IntN(len(e))].write(r, e[r.IntN(len(e))].write(r, s))
		})},
		{"odd bytes", onText(func(r *rand.Rand, s string) string { return insert(r, s, oddBytes[r.IntN(len(oddBytes))]) })},
		{"short", onText(func(r *rand.Rand, _ string) string {
			return []string{"", "'", "<", "/", "\x00", "\xff", "%", "\\", "&", "("}[r.IntN(10)]
		})},
		{"at a limit", onText(func(r *rand.Rand, s string) string {
			return s + strings.Repeat("a", max(0, []int{100, 101, 255, 256, 399, 400, 401, 4096}[r.IntN(8)]-len(s)))
		})},
		{"split", split},
		{"doubled", doubled},
		{"into the name", intoName},
		{"moved", moved},
		{"joined", joined},
		{"settings", settings},
	}
}

var oddBytes = []string{"\xff", "\xc0\xaf", "\xe2\x82", "\x80", "\u0085", "\u00a0", "\u200b", "\u2028", "\x00", "\x0b", "\ufeff", "\ufffd", "ſ", "K", "İ", "\n", "\r", "\t", "/**/", "--", "+", ";", "%00", "\\"}

// pick gives one value to change, rather one that a client chooses freely.
func pick(r *rand.Rand, request *Request) *Value {
	var all []*Value
	for _, list := range [][]Value{request.Head, request.Body} {
		for i := range list {
			switch v := &list[i]; {
			case v.Variable == "TX", strings.HasPrefix(v.Variable, "REMOTE_"), strings.HasPrefix(v.Variable, "SERVER_"), strings.HasPrefix(v.Variable, "REQBODY"):
			case strings.HasPrefix(v.Variable, "ARGS"), v.Variable == "REQUEST_COOKIES", v.Variable == "REQUEST_XML", v.Variable == "FILES", v.Variable == "REQUEST_BODY":
				all = append(all, v, v, v, v)
			default:
				all = append(all, v)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

func byteLess(r *rand.Rand, s string) string {
	if s == "" {
		return s
	}
	i := r.IntN(len(s))
	return s[:i] + s[i+1:]
}

func insert(r *rand.Rand, s, what string) string {
	i := r.IntN(len(s) + 1)
	return s[:i] + what + s[i:]
}

// otherCase folds letters as Unicode does: s and k have more than two cases.
func otherCase(r *rand.Rand, s string) string {
	share := []int{1, 4, 20}[r.IntN(3)]
	var b strings.Builder
	for _, part := range strings.SplitAfter(s, "") {
		c, size := utf8.DecodeRuneInString(part)
		switch {
		case c == utf8.RuneError || size == 0 || !unicode.IsLetter(c) || r.IntN(share) > 0:
			b.WriteString(part)
		case r.IntN(2) == 0:
			b.WriteRune(unicode.SimpleFold(c))
		default:
			b.WriteRune(unicode.SimpleFold(unicode.SimpleFold(c)))
		}
	}
	return b.String()
}

func encodedPart(r *rand.Rand, s string) string {
	if len(s) < 2 {
		return s
	}
	i := r.IntN(len(s))
	j := i + 1 + r.IntN(min(8, len(s)-i))
	e := encodings()
	return s[:i] + e[r.IntN(len(e))].write(r, s[i:j]) + s[j:]
}

// another gives the list that a value stands in, and where.
func another(r *rand.Rand, request *Request) (list *[]Value, i int) {
	v := pick(r, request)
	for _, list := range []*[]Value{&request.Head, &request.Body} {
		for i := range *list {
			if &(*list)[i] == v {
				return list, i
			}
		}
	}
	return nil, 0
}

// many tells whether a variable holds many values.
func many(variable string) bool {
	return strings.HasPrefix(variable, "ARGS_") || strings.HasSuffix(variable, "_COOKIES") || strings.HasSuffix(variable, "_HEADERS") || strings.HasPrefix(variable, "FILES") || variable == "REQUEST_XML"
}

func split(r *rand.Rand, request *Request, _ []string) bool {
	list, i := another(r, request)
	if list == nil || !many((*list)[i].Variable) || len((*list)[i].Text) < 2 {
		return false
	}
	rest := (*list)[i]
	at := 1 + r.IntN(len(rest.Text)-1)
	(*list)[i].Text, rest.Text = rest.Text[:at], rest.Text[at:]
	if r.IntN(2) == 0 {
		rest.Key += "2"
	}
	*list = append(*list, rest)
	return true
}

func doubled(r *rand.Rand, request *Request, _ []string) bool {
	list, i := another(r, request)
	if list == nil || !many((*list)[i].Variable) {
		return false
	}
	v := (*list)[i]
	if r.IntN(2) == 0 {
		v.Text = "plain"
	}
	*list = append(*list, v)
	return true
}

func intoName(r *rand.Rand, request *Request, _ []string) bool {
	v := pick(r, request)
	if v == nil || !many(v.Variable) || v.Text == "" || len(v.Text) > 500 {
		return false
	}
	v.Key = v.Text
	return true
}

func moved(r *rand.Rand, request *Request, _ []string) bool {
	v := pick(r, request)
	if v == nil {
		return false
	}
	text := v.Text
	to := []Value{{"ARGS_GET", "m", text}, {"ARGS_POST", "json.m", text}, {"ARGS_PATH", "path.9", text}, {"REQUEST_COOKIES", "m", text}, {"REQUEST_HEADERS", "X-Moved", text},
		{"REQUEST_HEADERS", "Referer", text}, {"REQUEST_XML", "/*", text}, {"FILES", "m", text}, {"ARGS_GET", text, "1"}}[r.IntN(9)]
	v.Text = "plain"
	*request = request.With(isBody(to.Variable), to)
	return true
}

func joined(r *rand.Rand, request *Request, pool []string) bool {
	v := pick(r, request)
	if v == nil || len(pool) == 0 {
		return false
	}
	text := pool[r.IntN(len(pool))]
	if r.IntN(2) == 0 {
		v.Text += text
	} else {
		v.Text = insert(r, v.Text, text)
	}
	return true
}

func settings(r *rand.Rand, request *Request, _ []string) bool {
	request.Settings.Paranoia = 1 + r.IntN(4)
	request.Settings.Threshold = []int{1, 3, 5, 10, 1 << 20}[r.IntN(5)]
	if r.IntN(2) == 0 {
		request.Settings.TX = nil
	}
	return true
}

// Seed names what Mutate draws by, for messages.
func Seed(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 0x6a7e)) }

// Mutations moves so many of the requests, chosen by chance.
func Mutations(r *rand.Rand, from []Request, count int, pool []string) []Request {
	list := make([]Request, count)
	for i := range list {
		list[i] = Mutate(r, from[r.IntN(len(from))], pool)
		list[i].Name += fmt.Sprintf(" [%d]", i)
	}
	return list
}
