package contract

import (
	"net/http"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/canon"
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
			if p.In == "header" && !strings.EqualFold(p.Name, name) && canon.Alike(p.Name, name) {
				return name, p.Name
			}
		}
	}
	return "", ""
}

// odd tells that a name has other signs than letters, digits and hyphens.
func odd(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
