package audit

import (
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// BenchmarkLines is what the log costs for an event: its line, and the hash that chains it.
func BenchmarkLines(b *testing.B) {
	events := make([]gate.Event, 16)
	for i := range events {
		events[i] = gate.Event{
			ID: "01JQ0000000000000000000000", Time: time.Unix(1_800_000_000, 123_456_789).UTC(), Kind: gate.KindExchange,
			From: gate.From{Address: "192.0.2.1", Issuer: "https://id.example", Subject: "alice", Roles: []string{"customer"}, TLS: "1.3", Trace: "0af7651916cd43dd8448eb211c80319c"},
			Request: gate.Asked{Method: "GET", Host: "shop.example", API: "shop", Operation: "getOrder", Template: "/orders/{id}", HTTP: 1,
				Params: []gate.Param{{In: "path", Name: "id", Value: "7"}, {In: "query", Name: "fields", Value: "total"}}},
			Decision: gate.Decision{Verdict: "allow", Policy: "8d1c9a"},
			Result: gate.Result{Status: 200, Bytes: 1024, Server: "127.0.0.1:8080", Attempts: 1, Micros: 412, Upstream: 250,
				Guards: map[string]int64{"address": 80, "rate": 900, "identity": 1200, "access": 60, "contract": 700}},
		}
	}
	var lines []byte
	b.ReportAllocs()
	for b.Loop() {
		lines, _ = appendLines(lines[:0], Position{}, events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16, "ns/event")
}
