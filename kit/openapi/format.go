package openapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// formats are the formats that are judged, each over the whole value. A value of another type than the format is for
// passes, as JSON Schema 2020-12 section 7.2.1 says: type is another keyword. A format that is not here is a warning.
var formats = map[string]func(any) error{
	"uuid":          ofText("is not a UUID", isUUID),
	"date":          ofText("is not a date (RFC 3339)", isDate),
	"date-time":     ofText("is not a date and time (RFC 3339)", isDateTime),
	"time":          ofText("is not a time (RFC 3339)", isTime),
	"duration":      ofText("is not a duration (RFC 3339 appendix A)", isDuration),
	"email":         ofText("is not an e-mail address", isEmail),
	"ipv4":          ofText("is not an IPv4 address", func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is4() }),
	"ipv6":          ofText("is not an IPv6 address", isIPv6),
	"uri":           ofText("is not a URI", isURI),
	"uri-reference": ofText("is not a URI reference", isURIReference),
	"hostname":      ofText("is not a host name", isHostname),
	"byte":          ofText("is not base64", isBase64),
	"base64url":     ofText("is not base64url", isBase64URL),
	"json-pointer":  ofText("is not a JSON pointer", isJSONPointer),
	"char":          ofText("is not one character", func(s string) bool { return len([]rune(s)) == 1 }),
	"int8":          ofInteger("does not fit in 8 bits", 8),
	"int16":         ofInteger("does not fit in 16 bits", 16),
	"int32":         ofInteger("does not fit in 32 bits", 32),
	"int64":         ofInteger("does not fit in 64 bits", 64),
	"uint8":         ofUnsigned("does not fit in 8 unsigned bits", 8),
	"uint16":        ofUnsigned("does not fit in 16 unsigned bits", 16),
	"uint32":        ofUnsigned("does not fit in 32 unsigned bits", 32),
	"uint64":        ofUnsigned("does not fit in 64 unsigned bits", 64),
	"float":         ofFloat("does not fit in a float of 32 bits", 32),
	"double":        ofFloat("does not fit in a float of 64 bits", 64),
	"binary":        anyValue, // any bytes
	"password":      anyValue, // a hint for whoever shows it
}

func formatNames() []string {
	var list []string
	for name := range formats {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func anyValue(any) error { return nil }

func ofText(what string, holds func(string) bool) func(any) error {
	err := errors.New(what)
	return func(v any) error {
		if s, ok := v.(string); ok && !holds(s) {
			return err
		}
		return nil
	}
}

// ofNumber judges numbers only; they come as json.Number.
func ofNumber(what string, holds func(string) bool) func(any) error {
	err := errors.New(what)
	return func(v any) error {
		if n, ok := v.(json.Number); ok && !holds(string(n)) {
			return err
		}
		return nil
	}
}

func ofInteger(what string, bits int) func(any) error {
	return ofNumber(what, func(s string) bool { _, err := strconv.ParseInt(s, 10, bits); return err == nil })
}

func ofUnsigned(what string, bits int) func(any) error {
	return ofNumber(what, func(s string) bool { _, err := strconv.ParseUint(s, 10, bits); return err == nil })
}

func ofFloat(what string, bits int) func(any) error {
	return ofNumber(what, func(s string) bool { _, err := strconv.ParseFloat(s, bits); return err == nil })
}

// isUUID accepts the one written form of RFC 9562 section 4.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil && len(s) == len(time.DateOnly)
}

// isDateTime accepts RFC 3339 section 5.6, upper or lower case, with its leap second.
func isDateTime(s string) bool {
	if len(s) < 20 || s[10]|0x20 != 't' || !isDate(s[:10]) {
		return false
	}
	return isTime(s[11:])
}

func isTime(s string) bool {
	if len(s) < 9 || s[2] != ':' || s[5] != ':' {
		return false
	}
	hour, minute, second := twoDigits(s), twoDigits(s[3:]), twoDigits(s[6:])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return false
	}
	rest := s[8:]
	if rest[0] == '.' {
		end := digits(rest, 1)
		if end == 1 {
			return false
		}
		rest = rest[end:]
	}
	zone, ok := zoneMinutes(rest)
	// a leap second is at 23:59:60 UTC
	return ok && (second < 60 || ((hour*60+minute-zone)%1440+1440)%1440 == 1439)
}

func zoneMinutes(s string) (int, bool) {
	if s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hour, minute := twoDigits(s[1:]), twoDigits(s[4:])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false
	}
	if s[0] == '-' {
		return -(hour*60 + minute), true
	}
	return hour*60 + minute, true
}

// twoDigits reads a number of two digits, or gives -1.
func twoDigits(s string) int {
	if len(s) < 2 || digits(s[:2], 0) != 2 {
		return -1
	}
	return int(s[0]-'0')*10 + int(s[1]-'0')
}

// isDuration accepts P[nD]-style durations: PnYnMnDTnHnMnS with the parts in order, or PnW.
func isDuration(s string) bool {
	rest, ok := strings.CutPrefix(s, "P")
	if !ok || rest == "" {
		return false
	}
	if weeks, ok := strings.CutSuffix(rest, "W"); ok {
		return isDigits(weeks)
	}
	date, clock, hasClock := strings.Cut(rest, "T")
	return (date != "" || hasClock) && inOrder(date, "YMD") && (!hasClock || clock != "" && inOrder(clock, "HMS"))
}

func inOrder(s, units string) bool {
	for s != "" {
		end := digits(s, 0)
		if end == 0 || end == len(s) {
			return false
		}
		at := strings.IndexByte(units, s[end])
		if at < 0 {
			return false
		}
		s, units = s[end+1:], units[at+1:]
	}
	return true
}

func isDigits(s string) bool { return s != "" && digits(s, 0) == len(s) }

// isEmail accepts the dot-string form of RFC 5321 section 4.1.2; quoted local parts and address literals are refused.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 || !isHostname(s[at+1:]) {
		return false
	}
	for _, atom := range strings.Split(s[:at], ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			c := atom[i]
			if !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && a.Zone() == ""
}

// isHostname accepts RFC 1123 section 2.1, in ASCII.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isLetter(c) && c != '-' && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && isURIText(s)
}

func isURIReference(s string) bool {
	_, err := url.Parse(s)
	return err == nil && isURIText(s)
}

// isURIText refuses the characters that RFC 3986 has no place for.
func isURIText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil && !strings.ContainsAny(s, "\r\n")
}

func isBase64URL(s string) bool {
	_, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
	return err == nil && !strings.ContainsAny(s, "\r\n")
}

func isJSONPointer(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return false
		}
	}
	return true
}
