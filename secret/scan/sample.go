package scan

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

// published are examples of specifications and manuals, which many tests repeat. Nobody keeps anything by them.
var published = []string{
	"dGhlIHNhbXBsZSBub25jZQ", "s3pPLMBiTxaQ9kYGzzhZRbK", // RFC 6455 section 1.3
	"0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736", // W3C Trace Context, trace-id
	"123e4567-e89b-12d3-a456-42661417400", "123e4567e89b12d3a456426614174000", // of a UUID, everywhere
	"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",                                                // SHA-256 of "test"
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",                                                // SHA-256 of nothing
	"ghp_16C7e42F292c6912E7710c838347Ae178B4a",                                                                        // GitHub's manual
	"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ", // jwt.io
}

var (
	// pretended are words in what people write where a secret would stand.
	pretended = regexp.MustCompile(`(?i)canary|hunter2|correct-?horse|example|placeholder`)
	// event is an id of ours, a ULID of the years 2004 to 2039; the other alphabet of base 32 has neither 0 nor 1.
	event = regexp.MustCompile(`^01[0-9A-HJKMNP-TV-Z]{24}$`)
	// receiver is a public key of age (github.com/C2SP/C2SP/age.md).
	receiver = regexp.MustCompile(`^age1(?:pq1)?[02-9ac-hj-np-z]{58,}$`)
	// parent is a traceparent: version, trace, span, flags.
	parent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	// dated is a name with a time in it, such as those of backups.
	dated = regexp.MustCompile(`(?:^|-)\d{8}T\d{6}Z(?:-|$)`)
)

// isExample tells by its own letters what is made up, or says of itself that it is public. Tokens of known services count as
// real unless they are published, or a canary.
func isExample(text string, kind leak.Kind) bool {
	for _, p := range published {
		if strings.Contains(text, p) {
			return true
		}
	}
	switch kind {
	case leak.PrivateKey:
		return false
	case leak.Literal, leak.URLPassword:
		return pretended.MatchString(text) || counts(strings.Trim(text, `"'`))
	case leak.Random:
		return pretended.MatchString(text) || counts(text) || names(text)
	case "json web token", "encrypted web token":
		return unsigned(text)
	}
	return strings.Contains(strings.ToLower(text), "canary")
}

// names tells that random text is the name of something that isn't secret.
func names(text string) bool {
	if name, value, ok := strings.Cut(text, "="); ok && strings.Trim(value, "=") != "" { // the letters of a name don't make a value random
		return len(name) > 0 && len(value) < 20 && !leak.Looks(value)
	}
	if dated.MatchString(text) {
		for part := range strings.SplitSeq(text, "-") {
			if leak.Looks(part) {
				return false
			}
		}
		return true
	}
	return event.MatchString(text) || receiver.MatchString(text) || parent.MatchString(text) || header(text) || sentence(text)
}

// counts tells that somebody went up an alphabet: abcd, a1b2c3d4, 000102030405.
func counts(text string) bool {
	_, tail, ok := strings.Cut(text, "_") // tok_a1b2c3
	if ok && len(tail) >= 12 {
		text = tail
	}
	letters := []byte(text)
	if climbs(letters, 1) || climbs(letters, 2) {
		return true
	}
	raw, err := hex.DecodeString(text)
	return err == nil && climbs(raw, 1)
}

// climbs tells that most letters are by one above the one that stands so many before.
func climbs(text []byte, stride int) bool {
	if len(text) < 12 {
		return false
	}
	steps := 0
	for i := stride; i < len(text); i++ {
		if text[i]-text[i-stride] == 1 {
			steps++
		}
	}
	return steps*4 >= (len(text)-stride)*3
}

// header tells that text is the readable half of a token: who may read it knows its algorithm, and can show it to nobody.
func header(text string) bool {
	first, claims, more := strings.Cut(strings.TrimRight(text, "."), ".")
	var h struct {
		Algorithm string `json:"alg"`
	}
	if data, err := base64.RawURLEncoding.DecodeString(first); err != nil || json.Unmarshal(data, &h) != nil || h.Algorithm == "" {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(claims)
	return !more || err == nil && json.Valid(data)
}

// sentence tells that text is words of people in base64.
func sentence(text string) bool {
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return err == nil && strings.Count(string(data), " ") >= 2 && !strings.ContainsFunc(string(data), func(r rune) bool {
		return r != ' ' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// unsigned tells that a token's last part, its signature or tag, is none: shorter than any, or words.
func unsigned(token string) bool {
	last := token[strings.LastIndexByte(token, '.')+1:]
	data, err := base64.RawURLEncoding.DecodeString(last)
	if err != nil || len(data) < 16 {
		return len(last) < 22
	}
	for _, c := range data {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isJoined tells that what stands in quotes in a program is no whole value: it goes on beside it, as in "pw-of-" + user.
func isJoined(line string, f leak.Found) bool {
	text := strings.Trim(line[f.Begin:f.End], `"'`)
	after := strings.TrimLeft(line[f.End:], " \t")
	begins := strings.HasSuffix(text, "-") || strings.HasSuffix(text, "_") || strings.HasSuffix(text, ":")
	return strings.HasPrefix(text, "+") || strings.HasPrefix(text, "`") || begins && strings.HasPrefix(after, "+")
}
