package canon

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// The reasons for which a request has no canonical form. They are stable: documents, stories and events name them.
const (
	cookieDuplicate   = "cookie.duplicate"
	cookieMalformed   = "cookie.malformed"
	cookieTooMany     = "cookie.too_many"
	fieldBytes        = "field.bytes"
	fieldConnection   = "field.connection"
	fieldDuplicate    = "field.duplicate"
	fieldLength       = "field.content_length"
	fieldName         = "field.name"
	fieldRange        = "field.range"
	fieldTooMany      = "field.too_many"
	fieldTrailer      = "field.trailer"
	fieldUnderscore   = "field.underscore"
	hostMalformed     = "host.malformed"
	hostMisdirected   = "host.misdirected"
	hostMismatch      = "host.mismatch"
	hostMissing       = "host.missing"
	methodMalformed   = "method.malformed"
	methodRefused     = "method.refused"
	pathBackslash     = "path.backslash"
	pathCharacter     = "path.character"
	pathControl       = "path.control"
	pathDotSegment    = "path.dot_segment"
	pathEmptySegment  = "path.empty_segment"
	pathEncodedSlash  = "path.encoded_slash"
	pathFragment      = "path.fragment"
	pathMatrixParam   = "path.matrix_param"
	pathPercent       = "path.percent"
	pathUTF8          = "path.utf8"
	queryControl      = "query.control"
	queryMalformed    = "query.malformed"
	queryTooMany      = "query.too_many"
	queryUTF8         = "query.utf8"
	targetForm        = "target.form"
	targetScheme      = "target.scheme"
	targetTooLong     = "target.too_long"
	upgradeMalformed  = "upgrade.malformed"
	upgradeVersion    = "upgrade.version"
	longestQuotedPart = 40
)

// Reasons gives every reason id that this package refuses with, sorted.
func Reasons() []string {
	all := []string{
		cookieDuplicate, cookieMalformed, cookieTooMany,
		fieldBytes, fieldConnection, fieldDuplicate, fieldLength, fieldName, fieldRange, fieldTooMany, fieldTrailer, fieldUnderscore,
		hostMalformed, hostMisdirected, hostMismatch, hostMissing,
		methodMalformed, methodRefused,
		pathBackslash, pathCharacter, pathControl, pathDotSegment, pathEmptySegment, pathEncodedSlash, pathFragment,
		pathMatrixParam, pathPercent, pathUTF8,
		queryControl, queryMalformed, queryTooMany, queryUTF8,
		targetForm, targetScheme, targetTooLong,
		upgradeMalformed, upgradeVersion,
	}
	slices.Sort(all)
	return all
}

// status is the HTTP status that fits a reason: 400 unless the protocol has a better word.
func status(reason string) int {
	switch reason {
	case cookieTooMany, fieldTooMany:
		return http.StatusRequestHeaderFieldsTooLarge
	case hostMisdirected, targetScheme:
		return http.StatusMisdirectedRequest
	case methodRefused:
		return http.StatusMethodNotAllowed
	case targetTooLong:
		return http.StatusRequestURITooLong
	case upgradeVersion:
		return http.StatusUpgradeRequired
	}
	return http.StatusBadRequest
}

// refuse makes a refusal. Details name places (a field, an offset, a count), never values: a value may be a secret.
func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Status: status(reason), Detail: fmt.Sprintf(format, args...)}
}

// quote shows a name that a client chose: escaped, so that it cannot forge a line of a log, and cut.
func quote(name string) string {
	if len(name) > longestQuotedPart {
		return strconv.QuoteToASCII(name[:longestQuotedPart]) + "..."
	}
	return strconv.QuoteToASCII(name)
}
