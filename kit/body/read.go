package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// Read reads r to its end as kind says and gives the tree, or the refusal. The media type's parameters come from
// MediaType; coding is the value of the Content-Encoding field, "" without one. A body that is larger than the limits is
// refused whole, never read in part: what was not inspected does not pass (G21, C25).
func Read(kind Kind, mediaParams map[string]string, coding string, r io.Reader, lim Limits) (*Tree, *Refusal) {
	lim = lim.withDefaults()
	if charset, ok := mediaParams["charset"]; ok && !isCharset(strings.ToLower(charset)) {
		return nil, refuse(mediaCharset, "only utf-8 and us-ascii are read")
	}
	if kind == Empty {
		lim.Bytes = 1
	}
	raw, refusal := readAll(r, lim.Bytes, lim.Declared)
	if kind == Empty && (refusal != nil && refusal.Reason == bodyTooLarge || len(raw) > 0) {
		return nil, refuse(bodyUnexpected, "a body where none is expected, or one without a media type")
	}
	if refusal != nil {
		return nil, refusal
	}
	if kind != Empty {
		if raw, refusal = decode(coding, raw, lim); refusal != nil {
			return nil, refusal
		}
	}
	t := &Tree{Kind: kind, Raw: raw}
	switch kind {
	case Empty, Opaque:
	case JSON:
		t.Nodes, refusal = parseJSON(raw, lim)
	case Form:
		t.Form, refusal = parseForm(raw, lim)
	case Multipart:
		t.Parts, refusal = parseMultipart(raw, mediaParams, lim)
	case Text:
		refusal = checkText(raw, lim)
	case XML:
		refusal = checkXML(raw)
	default:
		refusal = refuse(bodyUnexpected, "a body of an unknown kind")
	}
	if refusal != nil {
		return nil, refusal
	}
	return t, nil
}

// A buffer begins with the declared length, within these: a client that declares much and sends nothing costs little.
const (
	smallestBuffer = 2 << 10
	largestGuess   = 64 << 10
)

// readAll reads up to most bytes and refuses a body that has more.
func readAll(r io.Reader, most, guess int64) ([]byte, *Refusal) {
	if r == nil {
		return nil, nil
	}
	buffer := make([]byte, 0, min(most+1, max(smallestBuffer, min(guess+1, largestGuess))))
	for {
		n, err := r.Read(buffer[len(buffer):min(int64(cap(buffer)), most+1)])
		buffer = buffer[:len(buffer)+n]
		if int64(len(buffer)) > most {
			return nil, refuse(bodyTooLarge, "more than %d bytes", most)
		}
		if err == io.EOF {
			return buffer, nil
		}
		if err != nil {
			return nil, readRefusal(err)
		}
		if len(buffer) == cap(buffer) {
			larger := make([]byte, len(buffer), min(most+1, int64(4*cap(buffer))))
			copy(larger, buffer)
			buffer = larger
		}
	}
}

func readRefusal(err error) *Refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(bodyTooLarge, "more than %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(bodyTimeout, "the body did not come in time")
	}
	return refuse(bodyRead, "the body broke off or was malformed on the wire")
}

// parseForm reads the body of an HTML form the way canon reads a query, and refuses the field that would change the
// charset behind our back (G3).
func parseForm(raw []byte, lim Limits) ([]canon.Pair, *Refusal) {
	pairs, refusal := canon.Query(string(raw), lim.Params)
	if refusal != nil {
		return nil, refuse(formReason(refusal.Reason), "%s", refusal.Detail)
	}
	for i := range pairs {
		if pairs[i].Name == "_charset_" {
			return nil, refuse(bodyCharsetField, "parameter %d would choose the charset", i+1)
		}
	}
	return pairs, nil
}

// formReason names what canon says of a query for a body.
func formReason(queryReason string) string {
	switch queryReason {
	case "query.control":
		return bodyControl
	case "query.utf8":
		return bodyUTF8
	case "query.too_many":
		return bodyParams
	}
	return bodyForm
}

func checkText(raw []byte, lim Limits) *Refusal {
	if !utf8.Valid(raw) {
		return refuse(bodyUTF8, "the text is not UTF-8")
	}
	if !lim.AllowNUL && bytes.IndexByte(raw, 0) >= 0 {
		return refuse(bodyNUL, "U+0000 in the text")
	}
	return nil
}
