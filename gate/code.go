package gate

import "net/http"

// Code is the public word for a denial: all that a client learns of its cause. The list is closed.
type Code string

// The codes, each with one HTTP status.
const (
	BadRequest       Code = "bad_request"        // 400: not understood, or understandable in two ways
	InvalidInput     Code = "invalid_input"      // 400: not what the contract declares
	NoIdentity       Code = "no_identity"        // 401: no valid credential
	NotAllowed       Code = "not_allowed"        // 403: a valid caller without the right
	BadAddress       Code = "bad_address"        // 403: this network may not call
	BadOrigin        Code = "bad_origin"         // 403: this web page may not call
	Attack           Code = "attack"             // 403: looks like an attack
	NotFound         Code = "not_found"          // 404: no such host, API or operation
	MethodNotAllowed Code = "method_not_allowed" // 405
	TooSlow          Code = "too_slow"           // 408
	TooLarge         Code = "too_large"          // 413: the body
	TargetTooLong    Code = "target_too_long"    // 414
	UnsupportedMedia Code = "unsupported_media"  // 415
	BadExpectation   Code = "bad_expectation"    // 417
	Misdirected      Code = "misdirected"        // 421: this connection does not serve that host
	UpgradeRequired  Code = "upgrade_required"   // 426
	TooMany          Code = "too_many"           // 429
	HeadTooLarge     Code = "head_too_large"     // 431: the request's fields
	Internal         Code = "internal"           // 500: a fault of the gateway, which has denied
	Unsupported      Code = "unsupported"        // 501: a transfer coding or method that is not built
	BadServer        Code = "bad_server"         // 502: the server behind answered nothing usable
	Unavailable      Code = "unavailable"        // 503: no server, or the gateway cannot decide
	ServerTooSlow    Code = "server_too_slow"    // 504
	BadVersion       Code = "bad_version"        // 505
	ClientGone       Code = "client_gone"        // 499: the client left before its answer; nobody reads this
)

var statuses = map[Code]int{
	BadRequest: 400, InvalidInput: 400, NoIdentity: 401, NotAllowed: 403, BadAddress: 403, BadOrigin: 403, Attack: 403,
	NotFound: 404, MethodNotAllowed: 405, TooSlow: 408, TooLarge: 413, TargetTooLong: 414,
	UnsupportedMedia: 415, BadExpectation: 417, Misdirected: 421, UpgradeRequired: 426, TooMany: 429, HeadTooLarge: 431,
	Internal: 500, Unsupported: 501, BadServer: 502, Unavailable: 503, ServerTooSlow: 504, BadVersion: 505, ClientGone: 499,
}

// Codes lists every code.
func Codes() []Code {
	list := make([]Code, 0, len(statuses))
	for c := range statuses {
		list = append(list, c)
	}
	return list
}

// Status is the HTTP status that goes with the code; 500 for a code that is not on the list.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// CodeFor gives the code for a refusal that is known by its HTTP status only, which is how the readers below the guards
// (kit/wire, kit/canon, kit/body) speak.
func CodeFor(status int) Code {
	switch status {
	case 400:
		return BadRequest
	case 401:
		return NoIdentity
	case 403:
		return NotAllowed
	}
	for c, s := range statuses {
		if s == status {
			return c
		}
	}
	return Internal
}

// Reason is the stable dotted id of the exact cause, such as "path.encoded_slash". It stands in the event only.
type Reason string
