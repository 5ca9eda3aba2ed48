package pipeline

import (
	"crypto/tls"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

type upstreamTiming = upstream.Report

// longest is how much of a client's text an event repeats, in characters.
const longest = 256

// record writes the event of an exchange that ends with its answer.
func (t *trip) record(v gate.Verdict, bytes int64) error {
	return t.write(t.event(gate.KindExchange, v), bytes)
}

// write writes an event; the answer may leave once it returns. An error says that the event will not be written, and then
// the answer must not leave, unless that risk is accepted.
func (t *trip) write(e gate.Event, bytes int64) error {
	e.Result.Bytes = bytes
	if err := t.g.tools.Recorder.Record(e); err != nil && !t.g.tools.Unsafe {
		return err
	}
	return nil
}

// unwritten is the answer when an event cannot be written.
func (t *trip) unwritten(err error) {
	t.by = "audit"
	t.refuse(gate.Deny(gate.Unavailable, "audit.failing", "%v", err))
}

// event tells the exchange as it stands.
func (t *trip) event(kind string, v gate.Verdict) gate.Event {
	now := t.g.tools.Now()
	e := gate.Event{ID: t.x.ID, Time: t.x.Began.UTC(), Kind: kind, From: t.from(), Request: t.asked()}
	e.Decision = gate.Decision{Verdict: "allow", Policy: t.g.version, DryRun: slices.Clone(t.would)}
	if !v.Allowed() {
		e.Decision.Verdict, e.Decision.Guard = "deny", t.by
		e.Decision.Code, e.Decision.Reason, e.Decision.Rule = v.Code, v.Reason, v.Rule
		e.Decision.Detail, e.Decision.Shown, e.Decision.Fix = cut(v.Detail), cut(v.Shown), v.Fix
	}
	e.Note = t.x.Source.Doubt
	report := t.timing.upstream
	e.Result = gate.Result{
		Status: t.outcome.Status, Server: report.Server, Attempts: report.Attempts, Upstream: report.FirstByte.Microseconds(),
		Micros: now.Sub(t.x.Began).Microseconds(), Guards: maps.Clone(t.timing.guards), // an answer is looked into while its event is written
	}
	return e
}

func (t *trip) from() gate.From {
	s := t.x.Source
	f := gate.From{Address: s.Client.String(), Trace: t.trace().id}
	peer := s.Peer.Addr()
	if t.conn != nil && t.conn.Socket.IsValid() {
		peer = t.conn.Socket.Addr() // the proxy itself, where a PROXY header speaks for its client
	}
	if peer != s.Client {
		f.Peer = peer.String()
	}
	if s.TLS != nil {
		f.TLS = strings.TrimPrefix(tls.VersionName(s.TLS.Version), "TLS ")
	}
	if p := t.x.Principal(); p != nil {
		f.Issuer, f.Subject, f.Client, f.Roles, f.Token = p.Issuer, cut(p.Subject), cut(p.Client), p.Roles, cut(p.Token)
	}
	return f
}

func (t *trip) asked() gate.Asked {
	a := gate.Asked{HTTP: t.r.ProtoMajor, Bytes: t.sent.Load()}
	if t.x.Request == nil {
		return a
	}
	a.Method, a.Host = t.x.Request.Method, t.x.Request.Host
	for _, name := range t.x.Request.Removed {
		a.Removed = append(a.Removed, gate.Param{In: "field", Name: cut(name)})
	}
	if t.x.API != nil {
		a.API = t.x.API.Name
	}
	if t.x.Operation == nil {
		return a
	}
	a.Operation, a.Template, a.Pointer = t.x.Operation.Key, t.x.API.Base+t.x.Operation.Template, t.x.Operation.Pointer
	a.Params = params(a.Params, "path", t.x.Params, t.x.Operation.Contract)
	a.Params = params(a.Params, "query", t.x.Request.Query, t.x.Operation.Contract)
	return a
}

// params names parameter values. A value is told only when it is what the contract declares and nothing about it
// looks secret: an undeclared one may be anything.
func params(list []gate.Param, in string, pairs []canon.Pair, op *openapi.Operation) []gate.Param {
	for _, p := range pairs {
		one := gate.Param{In: in, Name: cut(p.Name)}
		declared := declared(op, in, p.Name)
		if declared == nil && hasSecretForm(p.Name) { // whoever sends a key by itself makes it a name
			one.Name = gate.Mask(p.Name)
		}
		if declared != nil && !declared.Secret && !looksSecret(p) && declared.Fits(p.Value) {
			one.Value = cut(p.Value)
		} else {
			one.Value = gate.Mask(p.Value)
		}
		list = append(list, one)
	}
	return list
}

func declared(op *openapi.Operation, in, name string) *openapi.Parameter {
	if op == nil {
		return nil
	}
	for _, p := range op.Parameters {
		if p.In == in && p.Name == name {
			return p
		}
	}
	return nil
}

// secretNames are parts of names whose values nobody wants in a log.
var secretNames = []string{"token", "secret", "passw", "pwd", "apikey", "api_key", "api-key", "auth", "session", "credential", "signature", "otp", "pin", "code", "jwt", "assertion", "key"}

// looksSecret judges a value by the name it goes by, and by its form.
func looksSecret(p canon.Pair) bool {
	name := strings.ToLower(p.Name)
	for _, s := range secretNames {
		if strings.Contains(name, s) {
			return true
		}
	}
	return hasSecretForm(p.Value)
}

// hasSecretForm tells that a text is, or holds, a JWT, an API key, or a long run of letters and digits. An identifier in the usual
// groups of a UUID is none.
func hasSecretForm(text string) bool {
	if strings.Contains(text, "eyJ") || strings.Contains(text, apikey.Prefix) {
		return true
	}
	run := 0
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '+', c >= 0x80:
			run++
		default:
			run = 0
		}
		if run == secretRun {
			return true
		}
	}
	return false
}

// secretRun is how long a run of letters and digits may be that is no key: 128 bits in hexadecimal digits are one.
const secretRun = 32

// cut bounds a client's text, with a mark where it was cut.
func cut(s string) string {
	if len(s) <= longest {
		return s
	}
	end := longest
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end] + "…[cut]"
}

// recordBroken writes that an answer which had begun did not reach its end.
func (t *trip) recordBroken(reason gate.Reason, detail string) {
	e := t.event(gate.KindBroken, gate.Deny(gate.BadServer, reason, "%s", detail))
	e.Of, e.ID = e.ID, t.g.tools.NewID(t.g.tools.Now())
	_ = t.g.tools.Recorder.Record(e)
}

// system writes something about the gateway itself.
func (g *Gateway) system(reason gate.Reason, note string) {
	now := g.tools.Now()
	_ = g.tools.Recorder.Record(gate.Event{
		ID: g.tools.NewID(now), Time: now.UTC(), Kind: gate.KindSystem, Note: note,
		Decision: gate.Decision{Verdict: "allow", Reason: reason, Policy: g.version},
	})
}
