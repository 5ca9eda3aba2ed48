package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkAPIs is what 25 APIs take of memory beyond one, and what 50 reloads leave behind (issue 6, line 9): the rules are
// compiled once for all. It fails where the bounds don't hold. Run it alone, once:
//
//	go test -run xxx -bench APIs -benchtime 1x ./cmd/gatehouse
func BenchmarkAPIs(b *testing.B) {
	server := newOrigin(b, nil)
	document := func(apis, version int) string {
		var text strings.Builder
		text.WriteString(listening + "guards: {identity: {development: {accept_risk: a test}}, rate: {off: {accept_risk: a test}}}\napis:\n")
		for i := range apis {
			fmt.Fprintf(&text, "  - {name: api%d, hosts: [api%d.test], contract: orders.yaml, to: [%q], guards: {limits: {url: %dKiB}}}\n", i, i, server.url(), 4+version)
		}
		return text.String()
	}
	r := serving(b, document(1, 0), nil)
	resident := func(apis int) float64 {
		for i := range 5 * apis {
			if got := r.get(fmt.Sprintf("api%d.test", i%apis), "/products"); got.status != 200 {
				b.Fatal(got)
			}
		}
		debug.FreeOSMemory()
		return residentMiB(b)
	}
	one := resident(1)
	if err := r.reload(document(25, 0)); err != nil {
		b.Fatal(err)
	}
	all := resident(25)
	for version := range 50 {
		if err := r.reload(document(25, 1+version)); err != nil {
			b.Fatal(err)
		}
	}
	after := resident(25)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(one, "MiB-with-1")
	b.ReportMetric(all-one, "MiB-more-with-25")
	b.ReportMetric(after/all, "x-after-50-reloads")
	if all-one > 60 || after > 1.2*all {
		b.Errorf("%.0f MiB with one API, %.0f with 25, %.0f after 50 reloads", one, all, after)
	}
}

// residentMiB is the memory of this process that is in use.
func residentMiB(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	kib, err := strconv.Atoi(strings.Fields(string(rest))[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}
