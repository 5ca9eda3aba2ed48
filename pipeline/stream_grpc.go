package pipeline

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// GRPCConfig declares a gRPC API in place of a contract.
type GRPCConfig struct {
	// Full names of the methods that exist, such as /shop.v1.Orders/Get. Nothing else can be called.
	Methods []string `yaml:"methods"`
}

// fullMethod is the path of a gRPC method: the service with its package, and the method.
var fullMethod = regexp.MustCompile(`^/[A-Za-z_]\w*(\.[A-Za-z_]\w*)*/[A-Za-z_]\w*$`)

// grpcOperations makes one operation of each declared method. A path that differs by a slash, a dot or the case of a letter
// is another (row D12).
func grpcOperations(c APIConfig, api *gate.API, m *mistake.List) {
	seen := map[string]bool{}
	for i, name := range c.GRPC.Methods {
		place := fmt.Sprintf("grpc.methods[%d]", i)
		switch {
		case !fullMethod.MatchString(name):
			m.Add(place, "/shop.v1.Orders/Get", "%q is not the full name of a method", name)
		case seen[name]:
			m.Add(place, "", "%q is listed twice", name)
		}
		seen[name] = true
		said := c.Operations[name]
		if said.Stream.Kind != "" && said.Stream.Kind != "grpc" {
			m.Add("operations."+name+".stream.kind", "grpc", "a method of a gRPC API is no %s", said.Stream.Kind)
		}
		op := &gate.Operation{API: api.Name, Key: name, Method: http.MethodPost, Template: name, Pointer: place, Stream: streamOf("grpc", said.Stream)}
		op.Access, op.Open = accessOf(nil, said, "operations."+name, m)
		api.Operations = append(api.Operations, op)
	}
}

// checkStreams refuses a stream that could never work where it is declared.
func checkStreams(c APIConfig, api *gate.API, m *mistake.List) {
	two := c.Upstream.Protocol == "http2" || c.Upstream.Protocol == "h2c"
	for _, op := range api.Operations {
		place := "operations." + op.Key + ".stream"
		switch kind := op.Stream.Kind; {
		case kind == "websocket" && op.Method != http.MethodGet && op.Method != "*":
			m.Add(place, "", "a websocket begins with GET, and %s is %s", op.Key, op.Method)
		case kind == "websocket" && two:
			m.Add("upstream.protocol", "http1", "the websocket %s needs servers that speak HTTP/1.1", op.Key)
		case kind == "grpc" && op.Method != http.MethodPost && op.Method != "*":
			m.Add(place, "", "a gRPC call is a POST, and %s is %s", op.Key, op.Method)
		case kind == "grpc" && !two:
			m.Add("upstream.protocol", "h2c", "the gRPC method %s needs servers that speak HTTP/2: http2 with TLS, h2c without", op.Key)
		}
		if len(op.Stream.Origins) > 0 && op.Stream.Kind != "websocket" {
			m.Add(place+".origins", "cors: {origins: [...]}", "only a websocket has origins of its own")
		}
		for i, origin := range op.Stream.Origins {
			if !webOrigin.MatchString(origin) {
				m.Add(fmt.Sprintf("%s.origins[%d]", place, i), "https://shop.example", "%q is not a web origin", origin)
			}
		}
		if op.Stream.Longest < 0 {
			m.Add(place+".longest", "1h", "%s is no time", op.Stream.Longest)
		}
	}
}

// webOrigin is scheme, host and port as a browser writes them.
var webOrigin = regexp.MustCompile(`^https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?$`)

// isGRPC tells a media type of gRPC; gRPC-Web is another protocol.
func isGRPC(media string) bool {
	return media == "application/grpc" || strings.HasPrefix(media, "application/grpc+")
}

// matchGRPC admits a call in the form that gRPC prescribes.
func (t *trip) matchGRPC() gate.Verdict {
	switch {
	case t.x.Request.Major != 2:
		return gate.Deny(gate.BadVersion, "stream.version", "gRPC needs HTTP/2").At(t.plan.op.Pointer)
	case t.x.Request.Method != http.MethodPost:
		return gate.Deny(gate.MethodNotAllowed, "match.method", "a gRPC call is a POST").With("Allow", http.MethodPost)
	case answerKind(t.x.Request.Fields) != "grpc":
		return gate.Deny(gate.UnsupportedMedia, "stream.media_type", "this operation is a gRPC method").At(t.plan.op.Pointer)
	}
	return gate.Allow()
}

// speaksGRPC tells that the client can read a denial only in gRPC's form.
func (t *trip) speaksGRPC() bool { return t.r.ProtoMajor == 2 && answerKind(t.r.Header) == "grpc" }

// denyGRPC turns a denial into an answer that is nothing but a head: HTTP says 200, gRPC what is the matter.
func denyGRPC(a *gate.Answer, code gate.Code, id string) {
	a.Status = http.StatusOK
	a.Fields.Set("Content-Type", "application/grpc")
	a.Fields.Set("Grpc-Status", strconv.Itoa(grpcStatus(code)))
	a.Fields.Set("Grpc-Message", string(code)+" (event "+id+")")
	delete(a.Fields, "Content-Length")
}

// Status codes of gRPC.
const (
	grpcInvalid         = 3
	grpcTooLate         = 4
	grpcDenied          = 7
	grpcExhausted       = 8
	grpcUnimplemented   = 12
	grpcInternal        = 13
	grpcUnavailable     = 14
	grpcUnauthenticated = 16
)

// grpcStatus is the status that says to a gRPC client what the code says to others.
func grpcStatus(code gate.Code) int {
	switch status := code.Status(); {
	case status == http.StatusUnauthorized:
		return grpcUnauthenticated
	case status == http.StatusForbidden:
		return grpcDenied
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return grpcUnimplemented
	case status == http.StatusTooManyRequests, status == http.StatusRequestEntityTooLarge:
		return grpcExhausted
	case status == http.StatusServiceUnavailable, status == http.StatusBadGateway:
		return grpcUnavailable
	case status == http.StatusGatewayTimeout, status == http.StatusRequestTimeout:
		return grpcTooLate
	case status >= 400 && status < 500:
		return grpcInvalid
	}
	return grpcInternal
}

// endGRPC says how a call has ended: in the server's words when it ended by itself, else in ours.
func (t *trip) endGRPC(c closing, response *http.Response) {
	h := t.w.Header()
	if !c.verdict.Allowed() {
		h.Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(grpcStatus(c.verdict.Code)))
		h.Set(http.TrailerPrefix+"Grpc-Message", string(c.verdict.Code)+" (event "+t.x.ID+")")
		return
	}
	for name, values := range response.Trailer {
		if !boundTrailer(name) {
			h[http.TrailerPrefix+name] = values
		}
	}
}

// boundTrailer tells a field that means something to the connection or to a browser, and has no business behind a message
// (RFC 9110 section 6.5.1).
func boundTrailer(name string) bool {
	for _, hop := range hopByHop {
		if name == hop {
			return true
		}
	}
	for _, prefix := range []string{"Content-", "Access-Control-", "Set-Cookie", "Cache-Control", "Www-Authenticate", "Host", "Location"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
