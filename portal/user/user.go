// Package user is the local users of an installation: people whom no provider vouches for. One record each in the durable store
// holds a user's roles and a hash of the password, never a password. Nobody has a password that somebody else has chosen: who is
// invited chooses one, by a link that is good once. It promises that a user has one name in every spelling, that a name which
// isn't there and a wrong password take the same way and the same time, that guessing is slowed down without shutting out whom the
// name belongs to, and that hashing takes a bounded share of this machine. What it stops stands in the adversary rows E18, E19
// and E35.
package user

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// User is what is known of a local user.
type User struct {
	ID      string     `json:"id"`   // the subject; it never changes and is nobody else's, ever
	Name    string     `json:"name"` // canonical; what the user types
	Roles   []string   `json:"roles,omitempty"`
	Created time.Time  `json:"created"`
	By      string     `json:"by"`                // who invited the user
	Chosen  time.Time  `json:"chosen,omitzero"`   // when the password was chosen; zero: not yet
	Last    time.Time  `json:"last,omitzero"`     // when the user last signed in
	Invited *time.Time `json:"invited,omitempty"` // until when the link is good with which a password is chosen
}

// What is answered.
var (
	ErrNone    = errors.New("there is no such user; gatehouse user list shows those that are")
	ErrExists  = errors.New("a user of this name is there already; gatehouse user list shows all")
	ErrWrong   = errors.New("no such user, or not with this password")
	ErrSlow    = errors.New("too many tries")
	ErrBusy    = errors.New("as many passwords are being hashed as may be at once")
	ErrLink    = errors.New("the link is not good: it was used, is over, or is not whole")
	ErrChanged = errors.New("the user is being changed by others; try again")
)

// names are what a name may be. One alphabet, so that no two names look alike that are not.
var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{0,63}$`)

// Canonical gives the one spelling of a name, or false for what can't be one (row E18).
func Canonical(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	return name, names.MatchString(name)
}

// Bounds of a password, in characters and bytes.
const (
	Shortest = 12
	Longest  = 1024
)

// CheckPassword tells what is wrong with a password that somebody wants, in words for them; "" when it is good. No rules of
// composition: length is what helps (NIST SP 800-63B).
func CheckPassword(name, password string) string {
	lower, n := strings.ToLower(password), utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return "The password holds something that is no text."
	case n < Shortest:
		return "The password needs at least 12 characters. Several words that you can remember are good."
	case len(password) > Longest:
		return "The password is longer than 1024 bytes."
	case strings.Contains(lower, name) && n < 2*Shortest:
		return "The password contains your name, which is the first thing that somebody would try."
	case few(lower):
		return "The password repeats the same few characters."
	}
	for _, common := range []string{"password", "123456789012", "qwertyuiop", "letmeinletmein", "gatehouse"} {
		if strings.Contains(lower, common) && n < 2*Shortest {
			return "The password is made of words that are tried first. Choose others."
		}
	}
	return ""
}

// few tells that a text has fewer than five different characters.
func few(s string) bool {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen) < 5
}
