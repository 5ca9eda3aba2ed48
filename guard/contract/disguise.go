package contract

import (
	"net/http"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// disguised finds a field that a server could take for a declared one, such as X.Tenant beside X-Tenant: servers that turn
// names into variables read every sign as the same (rows B1, B17), and then the value that was judged is not the one that
// counts. Parameter is the declared one's name, "" when there is no such field.
func disguised(op *openapi.Operation, fields http.Header) (field, parameter string) {
	for name := range fields {
		if !odd(name) {
			continue
		}
		for _, p := range op.Parameters {
			if p.In == "header" && !strings.EqualFold(p.Name, name) && sameVariable(p.Name, name) {
				return name, p.Name
			}
		}
	}
	return "", ""
}

// odd tells that a name has other signs than letters, digits and hyphens.
func odd(name string) bool {
	for i := range len(name) {
		if letter(name[i]) == '-' && name[i] != '-' {
			return true
		}
	}
	return false
}

func sameVariable(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if letter(a[i]) != letter(b[i]) {
			return false
		}
	}
	return true
}

// letter is a letter in lower case or a digit, and a hyphen for everything else.
func letter(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		return c
	}
	return '-'
}
