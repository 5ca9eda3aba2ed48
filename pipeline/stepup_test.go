package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// What the document says of how callers must have proved who they are holds for every kind of operation: of a contract, of gRPC, of
// none.
func TestStepUp(t *testing.T) {
	said := OperationConfig{Callers: "any", StepUp: identity.StepUp{Factor: true, MaxAge: time.Hour}}
	var m mistake.List
	a, _ := accessOf(nil, said, "operations.refund", &m)
	if !a.StepUp.Factor || a.StepUp.MaxAge != time.Hour || a.StepUp.Place != "operations.refund.step_up" || len(m) > 0 {
		t.Errorf("%+v %v", a.StepUp, m)
	}
	for want, said := range map[string]OperationConfig{
		"operations.refund.step_up: a public operation asks nobody": {Public: true, StepUp: said.StepUp},
		"operations.refund.step_up.max_age: 1s is not between":      {StepUp: identity.StepUp{MaxAge: time.Second}},
		"operations.refund.step_up.acr[0]: \"a b\" is not":          {StepUp: identity.StepUp{Classes: []string{"a b"}}},
	} {
		var m mistake.List
		accessOf(nil, said, "operations.refund", &m)
		if err := m.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	var grpc mistake.List
	api := &gate.API{}
	grpcOperations(APIConfig{GRPC: GRPCConfig{Methods: []string{"/shop.v1.Orders/Refund"}}, Operations: map[string]OperationConfig{"/shop.v1.Orders/Refund": said}}, api, &grpc)
	if len(grpc) > 0 || len(api.Operations) != 1 || !api.Operations[0].Access.StepUp.Factor {
		t.Errorf("a gRPC method: %v", grpc)
	}
}
