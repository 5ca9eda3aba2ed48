package pipeline

import (
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// unsaid is the id of the finding that neither contract nor document says whether an operation is public.
const unsaid = "operation.unsaid"

// rulesOf joins what the contract demands of a caller and what the document demands: both must be met. Public is only
// what somebody wrote on that operation; where OpenAPI's own rules would have made it public by silence, a valid
// credential is demanded and a finding says so.
func rulesOf(op *openapi.Operation, said OperationConfig, place string, m *mistake.List) (gate.Access, []gate.Finding) {
	if said.Public && (said.Callers != "" || said.Roles != nil || said.Scopes != nil) {
		m.Add(place+".public", "", "a public operation cannot ask for callers, roles or scopes: remove one or the other")
	}
	if said.Callers != "" && (said.Roles != nil || said.Scopes != nil) {
		m.Add(place+".callers", "", "any caller and only those with a role or scope cannot both be meant: remove one or the other")
	}
	var access gate.Access
	var open []gate.Finding
	switch {
	case said.Public:
		return gate.Access{Public: true}, overridden(op, place)
	case op == nil:
		access.Rules = []gate.Rule{{AnyOf: []gate.Need{{AnyCaller: true}}, Place: place}}
	case op.Security.Public && op.Roles == nil && said.Callers == "" && said.Roles == nil && said.Scopes == nil:
		return gate.Access{Public: true}, nil
	default:
		rule, finding := contractRule(op, said)
		access.Rules = append(access.Rules, rule)
		open = append(open, finding...)
		if op.Roles != nil {
			access.Rules = append(access.Rules, gate.Rule{AnyOf: []gate.Need{{Roles: *op.Roles}}, Place: op.Pointer + "/x-gatehouse-roles"})
		}
	}
	if said.Roles != nil {
		access.Rules = append(access.Rules, gate.Rule{AnyOf: []gate.Need{{Roles: *said.Roles}}, Place: place + ".roles"})
	}
	if said.Scopes != nil {
		access.Rules = append(access.Rules, gate.Rule{AnyOf: []gate.Need{{Scopes: *said.Scopes}}, Place: place + ".scopes"})
	}
	if len(open) == 0 && said.Callers == "" && anyCaller(access) {
		open = append(open, gate.Finding{
			ID: "operation.any_caller", What: "any caller with a valid token may call it",
			Fix: "roles: [...] or callers: any  # " + place,
		})
	}
	return access, open
}

// accessOf is who may call an operation, and how they must have proved who they are.
func accessOf(op *openapi.Operation, said OperationConfig, place string, m *mistake.List) (gate.Access, []gate.Finding) {
	access, open := rulesOf(op, said, place, m)
	access.StepUp = stepUpOf(access, said, place, m)
	return access, open
}

// stepUpOf reads how callers of an operation must have proved who they are.
func stepUpOf(a gate.Access, said OperationConfig, place string, m *mistake.List) gate.StepUp {
	s := said.StepUp.Demand(place + ".step_up")
	if s.Demands() && a.Public {
		m.Add(place+".step_up", "", "a public operation asks nobody who they are: remove step_up or public")
	}
	m.Under(place+".step_up", said.StepUp.Check())
	return s
}

// overridden tells that the document opens an operation for which the contract asks for a credential by name.
func overridden(op *openapi.Operation, place string) []gate.Finding {
	if op == nil || op.Roles == nil && (op.Security.Optional || len(op.Security.AnyOf) == 0) {
		return nil
	}
	return []gate.Finding{{
		ID: "operation.opened", What: "the document makes it public, although the contract asks for a credential",
		Fix: "remove public: true  # " + place,
	}}
}

// contractRule reads the contract's security requirement as one rule.
func contractRule(op *openapi.Operation, said OperationConfig) (gate.Rule, []gate.Finding) {
	rule := gate.Rule{Place: op.Pointer + "/security"}
	for _, alternative := range op.Security.AnyOf {
		if len(alternative.Schemes) == 0 {
			continue // {}: nothing asked; see below
		}
		if len(alternative.Scopes) == 0 {
			rule.AnyOf = append(rule.AnyOf, gate.Need{AnyCaller: true})
		} else {
			rule.AnyOf = append(rule.AnyOf, gate.Need{Scopes: alternative.Scopes})
		}
	}
	silent := len(rule.AnyOf) == 0
	if silent {
		rule.AnyOf = []gate.Need{{AnyCaller: true}}
	}
	explicit := said.Callers != "" || said.Roles != nil || said.Scopes != nil || op.Roles != nil
	if explicit || !silent && !op.Security.Optional {
		return rule, nil
	}
	return rule, []gate.Finding{{
		ID:   unsaid,
		What: "OpenAPI would make it public, since its security is " + silence(op) + "; a valid token is demanded until it is said which is meant",
		Fix:  "security: []  on the operation to open it, or callers: any",
	}}
}

func silence(op *openapi.Operation) string {
	switch {
	case op.Security.Optional:
		return "optional"
	case op.Security.Said == "inherited" || op.Security.Said == "operation":
		return "empty"
	}
	return "absent"
}

// anyCaller tells that every rule can be met by every valid caller.
func anyCaller(a gate.Access) bool {
	for _, rule := range a.Rules {
		open := false
		for _, need := range rule.AnyOf {
			open = open || need.AnyCaller
		}
		if !open {
			return false
		}
	}
	return len(a.Rules) > 0
}
