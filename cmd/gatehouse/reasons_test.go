package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/access"
	"github.com/gatehouse-sec/gatehouse/guard/address"
	"github.com/gatehouse-sec/gatehouse/guard/contract"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/limits"
	"github.com/gatehouse-sec/gatehouse/guard/patch"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/guard/upload"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// elsewhere are the reasons that no story provokes, since stories speak HTTP/1.1 in the clear and wait for nothing: the file
// with the test that does, and the word by which it speaks of the reason; or "never", and why nothing can.
var elsewhere = map[gate.Reason]string{
	// HTTP/2: the wire has refused the same in HTTP/1.1 before
	"field.bytes":          "kit/canon/new_test.go fieldBytes",
	"field.content_length": "kit/canon/new_test.go fieldLength",
	"field.name":           "kit/canon/new_test.go fieldName",
	"field.trailer":        "kit/canon/http2_test.go fieldTrailer",
	"http2.overhead_flood": "kit/wire/frame_test.go reasonFrameOverhead",
	"http2.reset_flood":    "listen/flood_test.go http2.reset_flood",
	"http2.protocol":       "listen/flood_test.go reasonHTTP2",
	"stream.version":       "cmd/gatehouse/stream_grpc_test.go stream.version",
	"stream.media_type":    "cmd/gatehouse/stream_grpc_test.go stream.media_type",

	// what other nodes and times do
	"identity.revocations_unknown": "guard/identity/revoked_test.go RevocationsUnknown",
	"identity.replay_unknown":      "guard/identity/revoked_test.go ReplayUnknown",
	"identity.replay_forgotten":    "guard/identity/revoked_test.go ReplayForgotten",
	"identity.certificate_other":   "guard/identity/bound_test.go CertificateOther",
	"identity.proof_unknown":       "guard/identity/bound_test.go ProofUnknown",
	"identity.proof_forgotten":     "guard/identity/bound_test.go ProofForgotten",
	"identity.api_key_ended":       "guard/identity/apikey/apikey_test.go Ended",
	"identity.api_keys_unsure":     "guard/identity/apikey/apikey_test.go Unsure",
	"identity.session_unsure":      "guard/identity/session/session_test.go Unsure",
	"identity.session_unconfirmed": "guard/identity/session/session_test.go Unconfirmed",
	"upstream.client_certificate":  "upstream/shown_test.go ReasonCertificate",

	// TLS
	"host.misdirected":    "kit/canon/host_test.go hostMisdirected",
	"tls.handshake":       "listen/listen_test.go reasonHandshake",
	"tls.server_name":     "listen/listen_test.go reasonServerName",
	"tls.timeout":         "listen/listen_test.go reasonHandshakeSlow",
	"certificate.refused": "listen/reload_test.go reasonCertificate",

	// sockets and time
	"connection.accept":      "listen/reload_test.go reasonAccept",
	"connection.per_address": "listen/listen_test.go reasonPerAddress",
	"connection.total":       "listen/listen_test.go reasonTotal",
	"redirect.refused":       "listen/reload_test.go reasonRedirect",
	"body.timeout":           "kit/body/read_test.go bodyTimeout",
	"stream.idle":            "kit/websocket/relay_test.go idle",
	"framing.slow_body":      "kit/wire/request_test.go reasonSlowBody",
	"upstream.no_server":     "upstream/health_test.go ReasonNoServer",
	"upstream.request_body":  "upstream/hostile_test.go ReasonRequestBody",

	// servers that speak streams wrongly
	"stream.encoded":           "cmd/gatehouse/stream_test.go stream.encoded",
	"stream.handshake":         "cmd/gatehouse/stream_test.go stream.handshake",
	"stream.undeclared_answer": "cmd/gatehouse/stream_test.go stream.undeclared_answer",

	// faults of the gateway's own, made by tests
	"audit.failing":       "cmd/gatehouse/fault_test.go audit.failing",
	"rate.counters":       "cmd/gatehouse/fault_test.go rate.counters",
	"waf.engine":          "cmd/gatehouse/fault_test.go waf.engine",
	"guard.panic":         "pipeline/panic_test.go guard.panic",
	"guard.silent":        "pipeline/panic_test.go guard.silent",
	"access.unknown":      "guard/access/access_test.go Unknown",
	"address.unknown":     "guard/address/address_test.go Unknown",
	"limits.unread":       "guard/limits/limits_test.go Unread",
	"upstream.unsendable": "upstream/hostile_test.go ReasonUnsendable",
	"body.unexpected":     "kit/body/read_test.go bodyUnexpected",
	// what another server says
	"identity.inactive": "guard/identity/opaque_test.go Inactive",

	"contract.no_operation":     "never: exchanges are matched before they meet the guard",
	"gateway.no_connection":     "never: every request comes through a listener",
	"gateway.panic":             "never: every part that could panic is asked in a place that catches it; this is the net below",
	"identity.unset":            "never: each reader of credentials names a caller whenever it allows",
	"stream.no_connection":      "never: net/http gives a connection with every 101 of HTTP/1.1",
	"upstream.failed":           "never: a pool gives no other error than its own",
	"framing.chunk_overhead":    "never: what could trip it, long chunk lines, is refused for its extensions and digits before",
	"framing.early_tunnel_data": "never told: it ends the connection before the answer, and the exchange's event says upstream.client_gone",
}

// reasons lists every reason that the parts know, and the pipeline's own, read from its source.
func reasons(t *testing.T) map[gate.Reason]string {
	t.Helper()
	all := map[gate.Reason]string{}
	text := func(part string, list []string) {
		for _, r := range list {
			all[gate.Reason(r)] = part
		}
	}
	typed := func(part string, list []gate.Reason) {
		for _, r := range list {
			all[r] = part
		}
	}
	text("kit/canon", canon.Reasons())
	text("kit/body", body.Reasons())
	text("kit/openapi", openapi.Reasons())
	for _, r := range wire.Reasons() {
		if !strings.HasPrefix(r, "response.") { // those reach the log as upstream.refused_response
			all[gate.Reason(r)] = "kit/wire"
		}
	}
	text("listen", listen.Reasons())
	text("upstream", upstream.Reasons())
	text("guard/contract", contract.Reasons())
	text("guard/rate", rate.Reasons())
	text("guard/waf", waf.Reasons())
	typed("guard/access", access.Reasons())
	typed("guard/address", address.Reasons())
	typed("guard/identity", identity.Reasons())
	typed("guard/limits", limits.Reasons())
	typed("guard/patch", patch.Reasons())
	typed("guard/upload", upload.Reasons())
	files, err := filepath.Glob("../../pipeline/*.go")
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && len(call.Args) >= 2 {
				if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Deny" {
					if lit, ok := call.Args[1].(*ast.BasicLit); ok {
						all[gate.Reason(strings.Trim(lit.Value, `"`))] = "pipeline"
						own++
					}
				}
			}
			return true
		})
	}
	if own < 15 || len(all) < 150 {
		t.Fatalf("only %d reasons found, %d of them the pipeline's", len(all), own)
	}
	return all
}

var told = regexp.MustCompile(`(?m)^\d* ?([a-z_]*) by [a-z]+: ([a-z0-9_.]+)$`)
var would = regexp.MustCompile(`although [a-z]+ would: ([a-z0-9_.]+)`)

// proofs are the codes and reasons that stories provoke.
func proofs(t *testing.T) (codes map[gate.Code]bool, found map[gate.Reason]bool) {
	t.Helper()
	codes, found = map[gate.Code]bool{}, map[gate.Reason]bool{}
	for _, file := range stories(t) {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if f.Name != "audit" {
				continue
			}
			for _, m := range told.FindAllSubmatch(f.Data, -1) {
				codes[gate.Code(m[1])], found[gate.Reason(m[2])] = true, true
			}
			for _, m := range would.FindAllSubmatch(f.Data, -1) {
				found[gate.Reason(m[1])] = true
			}
		}
	}
	return codes, found
}

// TestEveryReasonHasAStory: whatever the gateway can say of a denial, something in the repository makes it say so.
func TestEveryReasonHasAStory(t *testing.T) {
	all := reasons(t)
	codes, found := proofs(t)
	for _, r := range slices.Sorted(maps.Keys(all)) {
		instead, listed := elsewhere[r]
		switch {
		case found[r] && listed:
			t.Errorf("%s has a story; it need not stand in elsewhere", r)
		case found[r]:
		case !listed:
			t.Errorf("no story provokes %s (%s)", r, all[r])
		case strings.HasPrefix(instead, "never"):
			if len(instead) < 30 {
				t.Errorf("%s: say why nothing can provoke it", r)
			}
		default:
			file, word, _ := strings.Cut(instead, " ")
			text, err := os.ReadFile(filepath.Join("../..", file))
			if err != nil || !strings.Contains(string(text), word) {
				t.Errorf("%s: %s says nothing of %s", r, file, word)
			}
		}
	}
	for r := range elsewhere {
		if all[r] == "" {
			t.Errorf("elsewhere lists %s, which nobody can say", r)
		}
	}
	for r := range found {
		if all[r] == "" {
			t.Errorf("a story tells of %s, which no part lists", r)
		}
	}
	for _, c := range gate.Codes() {
		if !codes[c] && codeless[c] == "" {
			t.Errorf("no story answers with the code %s", c)
		}
	}
}

// codeless are codes for which there is no story, and why.
var codeless = map[gate.Code]string{
	gate.Internal: "no story makes the gateway err; TestFaults does",
}
