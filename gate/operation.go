package gate

import (
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// API is one protected API: its operations and how they are reached.
type API struct {
	Name       string            // from the document; unique
	Hosts      []string          // canonical; empty admits every host that no other API names
	Base       string            // canonical path in front of every operation, "" or "/v1"
	Contract   *openapi.Contract // nil for contract: none
	Operations []*Operation

	Credentials []string // canonical names of the fields in which its callers prove who they are; none: nobody reads one
}

// Operation is one thing a caller can ask of an API.
type Operation struct {
	API      string             // name of the API
	Key      string             // operationId, or "GET /orders/{id}"; unique in its API
	Method   string             // "*" for contract: none
	Template string             // path below the API's base, such as /orders/{id}; "/*" for contract: none
	Contract *openapi.Operation // nil for contract: none
	Access   Access
	Stream   Stream
	Pointer  string    // JSON pointer in the contract, such as "orders.yaml#/paths/~1orders/get"; "" for contract: none
	Open     []Finding // what is still open about it
}

// Stream is how an operation goes on after its head. The zero Stream is a plain request and answer.
type Stream struct {
	Kind    string        // "", "websocket", "sse", "grpc" or "upload"
	Origins []string      // web origins that may open a websocket
	Message int64         // largest message in bytes
	Longest time.Duration // how long it may stay open; 0: until the credential ends
}

// Access says who may call. The zero Access admits nobody.
type Access struct {
	Public bool   // nobody needs a credential: written by hand, never inherited
	Rules  []Rule // all must be met; none means nobody
	StepUp StepUp // how callers must have proved who they are
}

// StepUp says how a caller must have proved who they are. The zero StepUp demands nothing beyond a credential.
type StepUp struct {
	Factor  bool          // by a second factor
	MaxAge  time.Duration // so long ago at most: the second factor where one is demanded, else the sign-in; 0: at any time
	Classes []string      // in one of these ways (acr); none: in any
	Place   string        // where it is written: a path in the document
}

// Demands tells that it demands anything.
func (s StepUp) Demands() bool { return s.Factor || s.MaxAge > 0 || len(s.Classes) > 0 }

// Rule is met by a caller who meets one of its needs. A rule without needs admits nobody.
type Rule struct {
	AnyOf []Need
	Place string // where it is written: a JSON pointer in the contract or a path in the document
}

// Need is what a caller must have. The zero Need is met by nobody.
type Need struct {
	AnyCaller bool     // every caller whose credential is valid for this API
	Roles     []string // one of these; not looked at when AnyCaller
	Scopes    []string // all of these; not looked at when AnyCaller
}

// Risk is a risk taken knowingly. An insecure setting is legal only with its reason.
type Risk struct {
	AcceptRisk string    `yaml:"accept_risk"` // why this is acceptable here, in words for whoever reviews it
	Until      time.Time `yaml:"until"`       // when the acceptance ends, as 2026-12-31; without it, it does not end
}

// Accepted tells that a reason is given and, at the time now, still holds.
func (r Risk) Accepted(now time.Time) bool {
	return r.AcceptRisk != "" && (r.Until.IsZero() || now.Before(r.Until))
}
