package service

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// caller is who the service believes is asking.
type caller struct {
	subject string
	roles   []string
	scopes  string
}

// is tells whether the caller has one of the roles.
func (c caller) is(roles ...string) bool {
	for _, have := range c.roles {
		for _, want := range roles {
			if have == want {
				return true
			}
		}
	}
	return false
}

// readCaller learns the caller. The right way is the first one only, and only on an address that nobody but Gatehouse can
// reach; the three others are what grows around it in real code:
//
//  1. the headers that Gatehouse sets;
//  2. the headers of the proxy that stood here before (X-User, X-Forwarded-User): a hole, anyone can write them;
//  3. the token's claims, its signature unread because "the gateway has checked it": a hole, anyone can make one up.
//
// And it folds underscores to hyphens, as CGI-shaped frameworks do, so that Gatehouse_Subject wins over Gatehouse-Subject:
// a hole behind every proxy that removes only the exact name.
func readCaller(h http.Header) caller {
	if s := folded(h, "Gatehouse-Subject"); s != "" {
		return caller{s, list(folded(h, "Gatehouse-Roles")), folded(h, "Gatehouse-Scopes")}
	}
	for _, name := range []string{"X-User", "X-Forwarded-User"} {
		if s := folded(h, name); s != "" {
			return caller{s, list(folded(h, "X-Role")), ""}
		}
	}
	return unverified(h.Get("Authorization"))
}

func folded(h http.Header, name string) string {
	for key, values := range h {
		if key != name && strings.EqualFold(strings.ReplaceAll(key, "_", "-"), name) {
			return values[len(values)-1]
		}
	}
	return h.Get(name)
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func unverified(authorization string) caller {
	_, token, _ := strings.Cut(authorization, " ")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return caller{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return caller{}
	}
	var claims struct {
		Subject string `json:"sub"`
		Roles   any    `json:"roles"`
		Role    any    `json:"role"`
		Scope   string `json:"scope"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return caller{}
	}
	return caller{claims.Subject, append(words(claims.Roles), words(claims.Role)...), claims.Scope}
}

func words(v any) []string {
	switch v := v.(type) {
	case string:
		return list(v)
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
