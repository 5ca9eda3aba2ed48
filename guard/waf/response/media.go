package response

import (
	"bytes"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// media is what an answer's media type says of its bytes.
type media int

const (
	unsure media = iota // anything may be called bytes: a few are looked at to tell whether they are text
	text
	binary
)

// sniffed is how many bytes tell whether something is text.
const sniffed = 512

// mediaOf tells which answers are text. A type that can't be read is not trusted to be anything.
func mediaOf(fields http.Header) media {
	name, _, refusal := body.MediaType(fields)
	if refusal != nil { // such as another charset: what the bytes are, they tell
		name, _, _ = strings.Cut(strings.ToLower(fields.Get("Content-Type")), ";")
		name = strings.TrimSpace(name)
	}
	top, sub, _ := strings.Cut(name, "/")
	switch {
	case top == "text", strings.HasSuffix(sub, "+json"), strings.HasSuffix(sub, "+xml"), strings.HasSuffix(sub, "+yaml"):
		return text
	case top == "image", top == "audio", top == "video", top == "font", top == "model", strings.HasPrefix(sub, "grpc"):
		return binary
	}
	switch name {
	case "application/json", "application/xml", "application/javascript", "application/x-javascript", "application/ecmascript", "application/x-www-form-urlencoded",
		"application/graphql", "application/yaml", "application/x-yaml", "application/x-ndjson", "application/jsonl", "application/json-seq", "application/sql", "application/toml", "multipart/form-data", "multipart/mixed":
		return text
	case "application/pdf", "application/zip", "application/gzip", "application/x-gzip", "application/wasm", "application/x-tar", "application/zstd", "application/x-protobuf", "application/protobuf":
		return binary
	}
	return unsure
}

// isWide tells that the characters of a text are those of UTF-16 or UTF-32, by what is said of it or by how it begins. Nobody
// here would find a word in it, and every client reads it.
func isWide(fields http.Header, body []byte) bool {
	for _, one := range strings.Split(strings.ToLower(fields.Get("Content-Type")), ";") {
		name, charset, _ := strings.Cut(one, "=")
		if strings.TrimSpace(name) != "charset" {
			continue
		}
		charset = strings.Trim(charset, " \t\"'")
		for _, name := range []string{"utf-16", "utf16", "utf-32", "utf32", "ucs-2", "ucs-4", "iso-10646-ucs"} {
			if strings.HasPrefix(charset, name) {
				return true
			}
		}
	}
	return bytes.HasPrefix(body, []byte("\xfe\xff")) || bytes.HasPrefix(body, []byte("\xff\xfe"))
}

// looksLikeText tells that bytes are text: valid UTF-8, but for a rune that is cut at the end, without control characters.
func looksLikeText(b []byte) bool {
	b = b[:min(len(b), sniffed)]
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n <= 1:
			return len(b) < utf8.UTFMax
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != 0x1b:
			return false
		}
		b = b[n:]
	}
	return true
}
