package wire

import (
	"fmt"
	"slices"
)

// Refusal says why bytes were not handed on. It is an error: a body that breaks midway and a bad response surface as one from Read.
type Refusal struct {
	Reason string // stable dotted id, one of [Reasons]
	Status int    // HTTP status that fits: 4xx or 5xx for requests, 502 for responses; 0 for HTTP/2, where the connection ends
	Detail string // one line for the operator; never contains bytes of the peer
	Offset int64  // byte position of the fault, counted from the first byte of the connection
}

// Error gives reason, place and detail. It is for the operator, not for the client.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", r.Reason, r.Offset, r.Detail)
}

// The reasons. Requests first: those are answered. The ids are stable, operators write rules on them.
const (
	reasonBareCR          = "framing.bare_cr"
	reasonBareLF          = "framing.bare_lf"
	reasonChunkEnd        = "framing.chunk_end"
	reasonChunkExtension  = "framing.chunk_extension"
	reasonChunkOverhead   = "framing.chunk_overhead"
	reasonChunkSize       = "framing.chunk_size"
	reasonLength          = "framing.content_length"
	reasonLengthAndChunks = "framing.content_length_and_chunked"
	reasonLengthTwice     = "framing.content_length_twice"
	reasonEarlyData       = "framing.early_tunnel_data"
	reasonEmptyLine       = "framing.empty_line"
	reasonFieldCount      = "field.too_many"
	reasonFieldName       = "framing.field_name"
	reasonFieldValue      = "framing.field_value"
	reasonHeadSize        = "framing.head_size"
	reasonNUL             = "framing.nul"
	reasonObsFold         = "framing.obs_fold"
	reasonRequestLine     = "framing.request_line"
	reasonSlowBody        = "framing.slow_body"
	reasonSlowHead        = "framing.slow_head"
	reasonSpaceColon      = "framing.space_before_colon"
	reasonTrailer         = "framing.trailer"
	reasonTrailerSize     = "framing.trailer_size"
	reasonEncoding        = "framing.transfer_encoding"
	reasonEncoding10      = "framing.transfer_encoding_http10"
	reasonEncodingTwice   = "framing.transfer_encoding_twice"
	reasonEncodingUnknown = "framing.transfer_encoding_unknown"

	reasonExpect         = "expect.unknown"
	reasonHostTwice      = "host.duplicate"
	reasonHostMismatch   = "host.mismatch"
	reasonHostMissing    = "host.missing"
	reasonHostSyntax     = "host.malformed"
	reasonHostUserinfo   = "host.userinfo"
	reasonConnect        = "method.connect"
	reasonMethod         = "method.malformed"
	reasonTrace          = "method.trace"
	reasonEscape         = "path.percent"
	reasonFragment       = "path.fragment"
	reasonAsterisk       = "target.asterisk"
	reasonTargetBytes    = "target.bytes"
	reasonTargetForm     = "target.form"
	reasonTargetLength   = "target.too_long"
	reasonVersion09      = "version.http09"
	reasonVersionPreface = "version.http2_preface"
	reasonVersionSyntax  = "version.syntax"
	reasonVersion        = "version.unsupported"

	reasonResponseEarly     = "response.unasked"
	reasonResponseInfo      = "response.informational"
	reasonResponseNoBody    = "response.body_not_allowed"
	reasonResponseRequest   = "response.request_not_understood"
	reasonResponseStatus    = "response.status_line"
	reasonResponseSwitching = "response.switching_protocols"

	reasonFrameResets   = "http2.reset_flood"
	reasonFrameOverhead = "http2.overhead_flood"
)

// statuses gives the HTTP status of each reason when a client caused it. Responses of servers always carry 502 instead.
var statuses = map[string]int{
	reasonBareCR: 400, reasonBareLF: 400, reasonChunkEnd: 400, reasonChunkExtension: 400, reasonChunkOverhead: 400,
	reasonChunkSize: 400, reasonLength: 400, reasonLengthAndChunks: 400, reasonLengthTwice: 400, reasonEarlyData: 400,
	reasonEmptyLine: 400, reasonFieldCount: 431, reasonFieldName: 400, reasonFieldValue: 400, reasonHeadSize: 431,
	reasonNUL: 400, reasonObsFold: 400, reasonRequestLine: 400, reasonSlowBody: 408, reasonSlowHead: 408,
	reasonSpaceColon: 400, reasonTrailer: 400, reasonTrailerSize: 431, reasonEncoding: 400, reasonEncoding10: 400,
	reasonEncodingTwice: 400, reasonEncodingUnknown: 501,

	reasonExpect: 417, reasonHostTwice: 400, reasonHostMismatch: 400, reasonHostMissing: 400, reasonHostSyntax: 400,
	reasonHostUserinfo: 400, reasonConnect: 405, reasonMethod: 400, reasonTrace: 405, reasonEscape: 400,
	reasonFragment: 400, reasonAsterisk: 400, reasonTargetBytes: 400, reasonTargetForm: 400, reasonTargetLength: 414,
	reasonVersion09: 400, reasonVersionPreface: 505, reasonVersionSyntax: 400, reasonVersion: 505,

	reasonResponseEarly: 502, reasonResponseInfo: 502, reasonResponseNoBody: 502, reasonResponseRequest: 502,
	reasonResponseStatus: 502, reasonResponseSwitching: 502,

	reasonFrameResets: 0, reasonFrameOverhead: 0,
}

// Reasons returns every reason this package can give, sorted. A test elsewhere requires a story for each.
func Reasons() []string {
	all := make([]string, 0, len(statuses))
	for reason := range statuses {
		all = append(all, reason)
	}
	slices.Sort(all)
	return all
}

// refuse makes the refusal of a client's bytes.
func refuse(reason string, offset int64, detail string) *Refusal {
	return &Refusal{Reason: reason, Status: statuses[reason], Detail: detail, Offset: offset}
}
