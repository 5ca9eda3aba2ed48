package contract

import (
	"net/http"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// B1, B17: every spelling that some server reads as the declared field is found, and no other field is.
func TestDisguises(t *testing.T) {
	op := &openapi.Operation{Requests: openapi.Requests{Parameters: []*openapi.Parameter{{In: "header", Name: "X-Tenant-ID"}, {In: "query", Name: "X-Other"}, {In: "header", Name: "X.Dotted"}}}}
	for name, found := range map[string]bool{
		"X-Tenant-Id": false, "X.tenant-Id": true, "X-Tenant.id": true, "X~tenant^id": true, "x_tenant_id": true, "X.TENANT.ID": true, "X'tenant'id": true,
		"X.tenant": false, "X.tenant-Id2": false, "X.tenants-Id": false, "Xtenantid": false, "X.other": false, "X.dotted": false, "X-Dotted": false, "X~dotted": true, "X-Other": false, "Accept": false, ".": false,
	} {
		field, parameter := disguised(op, http.Header{"Accept": {"*/*"}, name: {"1"}})
		if (field == name && parameter != "") != found || !found && field != "" {
			t.Errorf("%s: %q, %q", name, field, parameter)
		}
	}
}
