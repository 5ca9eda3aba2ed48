package body

import (
	"fmt"
	"net/http"
	"slices"
)

// The reasons for which a body is not read. They are stable: documents, stories and events name them.
const (
	bodyBOM           = "body.bom"
	bodyCharsetField  = "body.charset_field"
	bodyControl       = "body.control"
	bodyDepth         = "body.depth"
	bodyDuplicate     = "body.duplicate_member"
	bodyForm          = "body.form"
	bodyJSON          = "body.json"
	bodyMembers       = "body.members"
	bodyNUL           = "body.nul"
	bodyNumber        = "body.number"
	bodyParams        = "body.parameters"
	bodyRead          = "body.read"
	bodySurrogate     = "body.surrogate"
	bodyTimeout       = "body.timeout"
	bodyTooLarge      = "body.too_large"
	bodyTrailing      = "body.trailing"
	bodyUTF8          = "body.utf8"
	bodyUnexpected    = "body.unexpected"
	bodyValues        = "body.values"
	codingMalformed   = "coding.malformed"
	codingRatio       = "coding.ratio"
	codingStacked     = "coding.stacked"
	codingTrailing    = "coding.trailing"
	codingUnknown     = "coding.unknown"
	mediaCharset      = "media.charset"
	mediaMalformed    = "media.malformed"
	mediaParameter    = "media.parameter"
	multipartBoundary = "multipart.boundary"
	multipartDisp     = "multipart.disposition"
	multipartEnd      = "multipart.end"
	multipartEncoding = "multipart.transfer_encoding"
	multipartFileName = "multipart.filename"
	multipartHeader   = "multipart.header"
	multipartNested   = "multipart.nested"
	multipartPreamble = "multipart.preamble"
	multipartTooMany  = "multipart.too_many"
	xmlDoctype        = "xml.doctype"
	xmlEncoding       = "xml.encoding"
)

// Reasons gives every reason id that this package refuses with, sorted.
func Reasons() []string {
	all := []string{
		bodyBOM, bodyCharsetField, bodyControl, bodyDepth, bodyDuplicate, bodyForm, bodyJSON, bodyMembers, bodyNUL, bodyNumber,
		bodyParams, bodyRead, bodySurrogate, bodyTimeout, bodyTooLarge, bodyTrailing, bodyUTF8, bodyUnexpected, bodyValues,
		codingMalformed, codingRatio, codingStacked, codingTrailing, codingUnknown,
		mediaCharset, mediaMalformed, mediaParameter,
		multipartBoundary, multipartDisp, multipartEnd, multipartEncoding, multipartFileName, multipartHeader, multipartNested,
		multipartPreamble, multipartTooMany,
		xmlDoctype, xmlEncoding,
	}
	slices.Sort(all)
	return all
}

// status is the HTTP status that fits a reason: 400 unless the protocol has a better word.
func status(reason string) int {
	switch reason {
	case bodyTooLarge, codingRatio:
		return http.StatusRequestEntityTooLarge
	case bodyTimeout:
		return http.StatusRequestTimeout
	case bodyUnexpected, codingStacked, codingUnknown, mediaCharset, mediaMalformed, mediaParameter:
		return http.StatusUnsupportedMediaType
	}
	return http.StatusBadRequest
}

// refuse makes a refusal. Details name places and counts, never what a body holds: it may be a secret.
func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Status: status(reason), Detail: fmt.Sprintf(format, args...)}
}
