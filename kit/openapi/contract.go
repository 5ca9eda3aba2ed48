// Package openapi reads a contract, OpenAPI 3.0 or 3.1 (and what 3.2 has in common with them), into the operations that it
// declares, and judges requests by them. It promises that what the contract doesn't declare is refused: an unknown query
// parameter, an unknown property, a value outside its schema, a media type nobody named (adversary rows G2 to G15). A
// contract that can't be understood completely is a mistake with its line and column, never a check that is silently off.
//
// Where OpenAPI leaves a door open, this package shuts it unless the contract says otherwise: an object schema that declares
// properties admits no others, string patterns are read as ECMA-262 and never judged approximately, and a media type that
// nobody can parse must be declared opaque by name. What stays open is listed in Contract.Warnings.
//
// References are followed to files below the contract's folder and nowhere else (I11). No document makes it panic (G23).
package openapi

import (
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// Contract is an API as its document declares it. It never changes after Load; many goroutines may use it at once.
type Contract struct {
	File       string       // as given to Load
	Title      string       // info.title
	Version    string       // info.version
	Base       string       // canonical path of servers[0].url, such as "/v1"; "" for none or "/"
	Operations []*Operation // in the order of the document
	Schemes    []Scheme     // declared security schemes, in the order of the document
	Warnings   []Warning    // what stays open, in the order in which it was found
}

// Scheme is a declared security scheme. It says how a credential is presented, never who is valid.
type Scheme struct {
	Name string // as operations refer to it
	Type string // apiKey, http, oauth2, openIdConnect or mutualTLS
	In   string // apiKey: query, header or cookie
	Key  string // apiKey: name of the parameter, field or cookie; http: the scheme, lower case
	URL  string // openIdConnect: the discovery document
}

// Warning is something that the contract leaves open, and how to shut it.
type Warning struct {
	ID        string // stable dotted id, such as "body.free_form"
	What, Fix string
	Pointer   string // such as "orders.yaml#/paths/~1orders/post"
	Line      int
	Column    int
	Operation string // ID of the operation where it was found first, "" for the whole contract
}

// Operation is one declared operation.
type Operation struct {
	ID         string // operationId, or "GET /orders/{id}"; unique in its contract
	Method     string // upper case
	Template   string // as written, such as /orders/{id}, below the contract's Base
	Pointer    string // such as "orders.yaml#/paths/~1orders~1{id}/get"
	Line       int
	Column     int
	Deprecated bool

	Security Security
	Roles    *[]string // x-gatehouse-roles; nil when absent, empty when nobody may call
	Stream   string    // x-gatehouse-stream: "", websocket, sse, grpc or upload

	Requests
}

// Requests is what an operation admits.
type Requests struct {
	Parameters   []*Parameter
	Bodies       []*Body
	BodyRequired bool
	plan         plan
}

// Security is what an operation says of credentials.
type Security struct {
	Said     string // "operation", "inherited" or "absent"
	Public   bool   // security: [] is written on this very operation
	Optional bool   // one of the alternatives is {}
	AnyOf    []SecurityNeed
}

// SecurityNeed is one alternative: all of its schemes.
type SecurityNeed struct {
	Schemes []string // sorted
	Scopes  []string // sorted, of all schemes together
}

// Parameter is one declared parameter.
type Parameter struct {
	Name          string
	In            string // path, query, header or cookie
	Required      bool
	Style         string // simple, label, form, spaceDelimited, pipeDelimited or deepObject; "" for content
	Explode       bool
	AllowReserved bool
	Secret        bool // format: password, x-gatehouse-secret: true: its value is never shown
	Pointer       string

	allowEmpty bool
	key        string // what it is looked up by: the name, for a header its canonical form
	media      body.Kind
	value      *value
}

// Body is one declared media type of an operation's body.
type Body struct {
	MediaType string    // lower case, without parameters; may be a range such as image/*
	Kind      body.Kind //
	Unseen    bool      // the contract accepts, with a reason, that nobody looks inside
	Pointer   string

	value   *value
	fields  *fields // of a form or multipart body
	largest int64   // most bytes of an opaque body, from maxLength; 0 when nothing is said
}

// Violation is why a request isn't what the contract declares.
type Violation struct {
	Reason  string // one of Reasons
	Status  int    // 400 or 415
	Pointer string // of the failing keyword, such as "orders.yaml#/components/schemas/Order/properties/price/minimum"
	Where   string // such as "query.limit" or "body /items/0/price"
	What    string // in words; never holds the value
	Value   string // the offending value, raw; "" for a secret one. The caller masks it
	Fix     string // the narrowest change of the contract that would admit the request
}

// The reasons of a Violation.
const (
	unknownParameter = "contract.unknown_parameter"
	missingParameter = "contract.missing_parameter"
	badParameter     = "contract.parameter"
	unknownProperty  = "contract.unknown_property"
	missingProperty  = "contract.missing_property"
	readOnlyProperty = "contract.read_only_property"
	badBody          = "contract.body"
	bodyMissing      = "contract.body_missing"
	bodyUnexpected   = "contract.body_unexpected"
	badMediaType     = "contract.media_type"
)

// Reasons lists every reason that a Violation can have.
func Reasons() []string {
	return []string{unknownParameter, missingParameter, badParameter, unknownProperty, missingProperty, readOnlyProperty,
		badBody, bodyMissing, bodyUnexpected, badMediaType}
}
