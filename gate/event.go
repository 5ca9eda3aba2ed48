package gate

import "time"

// EventSchema names the form of an event. A field may be added under the same name; any other change needs a new one.
const EventSchema = "gatehouse.event/1"

// Kinds of events.
const (
	KindExchange    = "exchange"     // one request and its answer
	KindStreamOpen  = "stream_open"  // a declared stream began
	KindStreamClose = "stream_close" // and ended
	KindBroken      = "broken"       // an answer that had begun did not reach its end; Of names the exchange
	KindConnection  = "connection"   // a connection was refused before any request
	KindSystem      = "system"       // something about the gateway itself: started, reloaded, refused a document
)

// Event is what happened, once for each exchange. It is written before the answer leaves. It never holds a secret: no
// credential, no body, no value of a field; parameter values that look secret are masked.
type Event struct {
	Schema   string    `json:"schema"`
	Seq      uint64    `json:"seq"`            // 1, 2, 3, ... in one log; set by the log
	Prev     string    `json:"prev"`           // SHA-256 of the line before, in hex; set by the log
	ID       string    `json:"id"`             //
	Of       string    `json:"of,omitempty"`   // id of the exchange that this event belongs to
	Time     time.Time `json:"time"`           // when the exchange began, UTC
	Kind     string    `json:"kind"`           //
	From     From      `json:"from"`           //
	Request  Asked     `json:"request"`        //
	Decision Decision  `json:"decision"`       //
	Result   Result    `json:"result"`         //
	Note     string    `json:"note,omitempty"` // of a system or connection event; of an exchange: what was odd about it
}

// From is who asked.
type From struct {
	Address string   `json:"address,omitempty"` // of the client, as trusted proxies or the socket tell it
	Peer    string   `json:"peer,omitempty"`    // the other end of the socket, when it is not the client
	Issuer  string   `json:"issuer,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Client  string   `json:"client,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Token   string   `json:"token,omitempty"` // the credential's id (jti)
	TLS     string   `json:"tls,omitempty"`   // version, such as "1.3"
	Trace   string   `json:"trace,omitempty"` // W3C trace id
}

// Asked is what was asked, in canonical form.
type Asked struct {
	Method    string  `json:"method,omitempty"`
	Host      string  `json:"host,omitempty"`
	API       string  `json:"api,omitempty"`
	Operation string  `json:"operation,omitempty"`
	Template  string  `json:"template,omitempty"` // path with its templates unfilled
	Pointer   string  `json:"pointer,omitempty"`  // where the contract declares the operation
	Params    []Param `json:"params,omitempty"`   // values of path and query
	HTTP      int     `json:"http,omitempty"`     // 1 or 2
	Bytes     int64   `json:"bytes,omitempty"`    // of the body as sent on
	Removed   []Param `json:"removed,omitempty"`  // fields that the client may not set; names only
}

// Param is one parameter: In is "path", "query" or "field".
type Param struct {
	In    string `json:"in"`
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Decision is what was decided, by whom, and why.
type Decision struct {
	Verdict string  `json:"verdict"`          // "allow" or "deny"
	Code    Code    `json:"code,omitempty"`   //
	Reason  Reason  `json:"reason,omitempty"` //
	Guard   string  `json:"guard,omitempty"`  // folder of the guard, or the part before them: "wire", "canon", "match"
	Rule    string  `json:"rule,omitempty"`   //
	Detail  string  `json:"detail,omitempty"` //
	Shown   string  `json:"shown,omitempty"`  // offending bytes, masked
	Fix     string  `json:"fix,omitempty"`    // narrowest exception
	Policy  string  `json:"policy,omitempty"` // version of the document that decided
	DryRun  []Would `json:"dry_run,omitempty"`
	Offset  int64   `json:"offset,omitempty"` // byte position on the connection, for a request refused on the wire
}

// Would is what a guard in dry run would have denied.
type Would struct {
	Guard  string `json:"guard"`
	Code   Code   `json:"code"`
	Reason Reason `json:"reason"`
	Rule   string `json:"rule,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Result is what the client was told and what it cost.
type Result struct {
	Status   int              `json:"status,omitempty"`
	Bytes    int64            `json:"bytes,omitempty"`    // of the answer's body when known beforehand; -1 when streamed
	Server   string           `json:"server,omitempty"`   // which server answered, host:port
	Attempts int              `json:"attempts,omitempty"` // how many servers were asked
	Micros   int64            `json:"micros"`             // from the request's head to the answer's
	Guards   map[string]int64 `json:"guards,omitempty"`   // nanoseconds each guard took
	Upstream int64            `json:"upstream,omitempty"` // microseconds until the server's first byte
	Messages int64            `json:"messages,omitempty"` // of a stream, when it closes
}
