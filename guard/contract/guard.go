// Package contract refuses every request that is not what its operation's contract declares: an unknown query parameter, an
// unknown or readOnly property, a value outside its schema, a media type that nobody named, a body where none belongs. The
// contract is the policy: what is not written in it never reaches a server, so that a forgotten debug switch, a
// mass-assignable role or a body that only one of two parsers understands is not there to be found (adversary rows G2 to
// G15, G21 to G23).
package contract

import (
	"context"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// Disguised is the reason for a field that a server could take for a declared one.
const Disguised gate.Reason = "contract.disguised_field"

// Config is empty: what is admitted stands in the contract alone. An exception is written where it will be read, in the
// contract.
type Config struct{}

// Guard judges requests by the contract of one API.
type Guard struct{}

// New makes the guard of an API. An API without a contract gets a guard that allows everything; that it has none was
// accepted in the document.
func New(Config, *gate.API) (*Guard, error) { return &Guard{}, nil }

// Check judges the parameters first, since they cost least, then the media type, then the body. What passes conforms, but
// for a body that streams past: nobody has read that.
func (g *Guard) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	if x.Operation == nil {
		return gate.Deny(gate.Internal, "contract.no_operation", "the exchange was not matched with an operation")
	}
	if x.Operation.Contract == nil {
		return gate.Allow()
	}
	v := g.judge(ctx, x, x.Operation.Contract)
	if v.Allowed() && (g.NeedsBody(x.Operation) || x.Request.Length == 0) {
		x.Conform()
	}
	return v
}

func (g *Guard) judge(ctx context.Context, x *gate.Exchange, op *openapi.Operation) gate.Verdict {
	if v := op.CheckParameters(x.Request, x.Params); v != nil {
		return verdict(v)
	}
	if field, parameter := disguised(op, x.Request.Fields); field != "" {
		return gate.Deny(gate.InvalidInput, Disguised, "field %.60q could be taken for the declared header parameter %q", field, parameter).At(op.Pointer)
	}
	if bodiless(x.Operation) {
		return gate.Allow()
	}
	return g.checkBody(ctx, x, op)
}

func (g *Guard) checkBody(ctx context.Context, x *gate.Exchange, op *openapi.Operation) gate.Verdict {
	mediaType, _, refusal := body.MediaType(x.Request.Fields)
	if refusal != nil {
		return gate.Deny(gate.CodeFor(refusal.Status), gate.Reason(refusal.Reason), "%s", refusal.Detail).At(op.Pointer)
	}
	var declared *openapi.Body
	if x.Request.Length > 0 || mediaType != "" && len(op.Bodies) > 0 {
		b, v := op.BodyFor(mediaType)
		if v != nil {
			return verdict(v)
		}
		declared = b
	}
	if !g.NeedsBody(x.Operation) {
		return g.withoutReading(x, op)
	}
	if x.Request.Length == 0 {
		return judged(op.CheckBody(nil, nil))
	}
	tree, denied := x.Body(ctx)
	if !denied.Allowed() {
		return denied
	}
	if len(tree.Raw) == 0 && tree.Kind != body.Text {
		return judged(op.CheckBody(nil, tree))
	}
	if declared == nil { // a body of undeclared length and no media type, or none is declared at all
		if declared, _ = op.BodyFor(mediaType); declared == nil {
			_, v := op.BodyFor(mediaType)
			return verdict(v)
		}
	}
	return judged(op.CheckBody(declared, tree))
}

// withoutReading judges a body that streams past: that there is one when there must be.
func (g *Guard) withoutReading(x *gate.Exchange, op *openapi.Operation) gate.Verdict {
	if op.BodyRequired && x.Request.Length == 0 {
		return judged(op.CheckBody(nil, nil))
	}
	return gate.Allow()
}

// NeedsBody is false when nothing could be judged: the operation streams, or every body that it declares is opaque.
func (g *Guard) NeedsBody(op *gate.Operation) bool {
	if op.Contract == nil || streams(op.Stream.Kind) || streams(op.Contract.Stream) {
		return false
	}
	for _, b := range op.Contract.Bodies {
		if b.Kind != body.Opaque {
			return true
		}
	}
	return len(op.Contract.Bodies) == 0
}

// streams tells a kind of stream whose request is not plain. What asks for server-sent events is: only the answer streams.
func streams(kind string) bool { return kind != "" && kind != "sse" }

// bodiless tells that the exchange has no body in the sense of a contract: it becomes a stream of messages.
func bodiless(op *gate.Operation) bool {
	return op.Stream.Kind == "websocket" || op.Stream.Kind == "grpc" || op.Contract.Stream == "websocket" || op.Contract.Stream == "grpc"
}

func judged(v *openapi.Violation) gate.Verdict {
	if v == nil {
		return gate.Allow()
	}
	return verdict(v)
}

// verdict puts a violation in the words of a gate. The client learns the code only.
func verdict(v *openapi.Violation) gate.Verdict {
	code := gate.InvalidInput
	if v.Status == gate.UnsupportedMedia.Status() {
		code = gate.UnsupportedMedia
	}
	d := gate.Deny(code, gate.Reason(v.Reason), "%s", told(v)).At(v.Pointer).Fixed(v.Fix)
	if v.Value != "" {
		d = d.Showing(gate.Mask(v.Value))
	}
	return d
}

// told is what is wrong and where, once: most violations name their place themselves.
func told(v *openapi.Violation) string {
	in, _, parameter := strings.Cut(v.Where, ".")
	if strings.HasPrefix(v.What, v.Where) || parameter && strings.HasPrefix(v.What, in+" parameter ") {
		return v.What
	}
	return v.Where + ": " + v.What
}

// Reasons lists every reason that this guard denies with, apart from those of the body's reader.
func Reasons() []string { return append(openapi.Reasons(), "contract.no_operation", string(Disguised)) }
