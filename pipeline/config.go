package pipeline

import (
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// APIConfig is one entry of `apis`.
type APIConfig struct {
	// Name of the API, unique in the document; it stands in events, metrics and the table.
	Name string `yaml:"name"`
	// Host names under which the API is reached. Without any, every host that no other API names.
	Hosts []string `yaml:"hosts"`
	// Path in front of every operation, such as /v1. Default: the path of the contract's servers[0].url.
	Base *string `yaml:"base"`
	// File of the OpenAPI contract, relative to this document, or none, which needs accept_risk.
	Contract string `yaml:"contract,public"`
	// Methods of a gRPC API, in place of a contract.
	GRPC GRPCConfig `yaml:"grpc"`
	// Why it is acceptable that this API is served without a contract.
	AcceptRisk string `yaml:"accept_risk"`
	// URLs of the servers behind, such as http://10.0.0.7:8080/base. All of them serve the same API.
	To []string `yaml:"to"`
	// How servers are chosen, watched and retried.
	Upstream upstream.Config `yaml:"upstream"`
	// Web origins whose scripts may call the API.
	CORS CORS `yaml:"cors"`
	// What the document adds to single operations, by operationId or by "GET /orders/{id}".
	Operations map[string]OperationConfig `yaml:"operations"`
	// Guards of this API; each section replaces the one above as a whole.
	Guards config.Elsewhere `yaml:"guards"`
}

// OperationConfig is what the document says of one operation.
type OperationConfig struct {
	// Nobody needs a credential. Default false.
	Public bool `yaml:"public"`
	// "any" says that every caller whose credential is valid for this API is meant.
	Callers Callers `yaml:"callers"`
	// One of these roles is needed; an empty list admits nobody.
	Roles *[]string `yaml:"roles"`
	// All of these scopes are needed; an empty list admits nobody.
	Scopes *[]string `yaml:"scopes"`
	// How callers must have proved who they are, such as {factor: true, max_age: 15m}. Default: a valid credential is enough.
	StepUp identity.StepUp `yaml:"step_up"`
	// The operation goes on after its head: websocket, sse, grpc or upload.
	Stream StreamConfig `yaml:"stream"`
}

// Callers is the word that says that any valid caller is meant.
type Callers string

// Values lists the words.
func (Callers) Values() []string { return []string{"any"} }

// StreamConfig declares a stream.
type StreamConfig struct {
	// websocket, sse, grpc or upload.
	Kind StreamKind `yaml:"kind"`
	// Web origins that may open a websocket. Default: only the API's own hosts.
	Origins []string `yaml:"origins"`
	// Largest message; of an upload, the largest body. Default 1MiB, of an upload guards.limits.body.
	Message unit.Size `yaml:"message"`
	// How long the stream may stay open. Default: until the credential expires.
	Longest time.Duration `yaml:"longest"`
}

// StreamKind names a kind of stream.
type StreamKind string

// Values lists the words.
func (StreamKind) Values() []string { return []string{"websocket", "sse", "grpc", "upload"} }
