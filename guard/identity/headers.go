package identity

import (
	"net/http"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// All lists the names: what a client sends under any of them is removed.
func (n HeaderNames) All() []string { return []string{n.Subject, n.Issuer, n.Roles, n.Scopes, n.Event} }

// Write makes the fields say who is calling and nothing else: what stood under these names is gone, also when there is no
// caller. Every value is written so that it can be read in one way only: bytes other than visible ASCII, and "%" and ",",
// are percent-encoded (RFC 3986 section 2.1), so that a role named "a,admin" is one role.
func (n HeaderNames) Write(fields http.Header, p *gate.Principal, event string) {
	for _, name := range n.All() {
		fields.Del(name)
	}
	if event != "" {
		fields.Set(n.Event, event)
	}
	if p == nil {
		return
	}
	fields.Set(n.Subject, escape(p.Subject))
	fields.Set(n.Issuer, escape(p.Issuer))
	if len(p.Roles) > 0 {
		fields.Set(n.Roles, join(p.Roles, ","))
	}
	if len(p.Scopes) > 0 {
		fields.Set(n.Scopes, join(p.Scopes, " "))
	}
}

func join(list []string, between string) string {
	if len(list) == 1 {
		return escape(list[0])
	}
	written := make([]string, len(list))
	for i, s := range list {
		written[i] = escape(s)
	}
	return strings.Join(written, between)
}

// escape is s when it has nothing to encode, which is the common case and costs nothing.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	clean := true
	for i := range len(s) {
		clean = clean && plainByte(s[i])
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func plainByte(c byte) bool { return c > ' ' && c <= '~' && c != '%' && c != ',' }
