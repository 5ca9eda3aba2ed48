package kept

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
)

// Bounds of what is said of a key.
const (
	longest   = 366 * 24 * time.Hour // that a key may live
	maxWord   = 200                  // bytes of an owner, a scope, a role, a reason
	maxListed = 50                   // scopes, roles, APIs of one key
)

// Check tells everything that is wrong with what a key is asked to be, in the words of the command.
func Check(k apikey.Key) error {
	var wrong []error
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if k.Owner == "" {
		add("--owner: whose key is it? it is the caller in events, rates and rules")
	} else if !isWord(k.Owner) {
		add("--owner: %.40q has more than %d bytes, begins or ends with a space, or is not printable", k.Owner, maxWord)
	}
	if len(k.Scopes) == 0 {
		add("--scope: a key needs at least one scope, so that it opens no more than it must")
	}
	for _, s := range k.Scopes {
		if s == "" || len(s) > maxWord || strings.IndexFunc(s, notScope) >= 0 {
			add("--scope: %.40q is no scope (RFC 6749 section 3.3): visible ASCII without quotes and backslash", s)
		}
	}
	for _, r := range k.Roles {
		if !isWord(r) {
			add("--role: %.40q is empty, has more than %d bytes, begins or ends with a space, or is not printable", r, maxWord)
		}
	}
	if len(k.APIs) == 0 {
		add("--api: which APIs does it open? write the name of each")
	}
	for _, given := range []struct {
		flag string
		list []string
	}{{"--scope", k.Scopes}, {"--role", k.Roles}, {"--api", k.APIs}} {
		if len(given.list) > maxListed {
			add("%s: %d are given, and %d may be", given.flag, len(given.list), maxListed)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(given.list)))) != len(given.list) {
			add("%s: one stands twice", given.flag)
		}
	}
	if k.Why != "" && !isWord(k.Why) {
		add("--why: more than %d bytes, or not printable", maxWord)
	}
	switch life := k.Expires.Sub(k.Created); {
	case k.Expires.IsZero():
		add("--expires: a key needs its end, such as 90d")
	case life <= 0:
		add("--expires: %s is over already", k.Expires.UTC().Format(time.RFC3339))
	case life > longest:
		add("--expires: a key lives at most a year; rotate it before: gatehouse apikey rotate")
	}
	return errors.Join(wrong...)
}

// isWord tells that text can stand in a log, a header and on a terminal.
func isWord(text string) bool {
	return text != "" && len(text) <= maxWord && utf8.ValidString(text) && strings.TrimSpace(text) == text &&
		strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func notScope(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }
