package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/program"
	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// sized writes a contract of about n operations: five for each resource, one body of a dozen properties for each, and the one
// public operation that is asked for.
func sized(n int) string {
	var b strings.Builder
	b.WriteString("openapi: 3.0.3\ninfo: {title: sized, version: \"1\"}\npaths:\n  /plain/{id}:\n    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]\n    get: {operationId: plain, security: [], responses: {\"200\": {description: ok}}}\n")
	ok := `responses: {"200": {description: ok}}`
	for i := range n / 5 {
		body := fmt.Sprintf(`requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Thing%d"}}}}`, i)
		fmt.Fprintf(&b, "  /things%d:\n    get: {operationId: list%d, security: [], parameters: [{name: limit, in: query, schema: {type: integer, maximum: 100}}, {name: sort, in: query, schema: {type: string, enum: [name, price]}}], %s}\n", i, i, ok)
		fmt.Fprintf(&b, "    post: {operationId: create%d, %s, %s}\n", i, body, ok)
		fmt.Fprintf(&b, "  /things%d/{id}:\n    parameters: [{name: id, in: path, required: true, schema: {type: string, format: uuid}}]\n    get: {operationId: read%d, %s}\n    put: {operationId: write%d, %s, %s}\n    delete: {operationId: remove%d, %s}\n", i, i, ok, i, body, ok, i, ok)
	}
	b.WriteString("components:\n  securitySchemes: {token: {type: http, scheme: bearer}}\n  schemas:\n")
	for i := range n / 5 {
		fmt.Fprintf(&b, `    Thing%d:
      type: object
      required: [name, price]
      properties:
        id: {type: string, format: uuid, readOnly: true}
        name: {type: string, minLength: 1, maxLength: 200}
        description: {type: string, maxLength: 2000}
        price: {type: object, required: [amount], properties: {amount: {type: integer, minimum: 0}, currency: {type: string, pattern: "^[A-Z]{3}$"}}}
        tags: {type: array, maxItems: 20, items: {type: string, maxLength: 30}}
        created: {type: string, format: date-time}
        state: {type: string, enum: [draft, live, gone]}
        quantity: {type: integer, format: int32, minimum: 0}
`, i)
	}
	b.WriteString("security: [{token: []}]\n")
	return b.String()
}

// sizedGateway starts Gatehouse with a contract of n operations.
func (f *field) sizedGateway(n int, waf bool) (*process, string, error) {
	address, file := loopback.Address(), filepath.Join(f.dir, "sized.yaml")
	if err := os.WriteFile(filepath.Join(f.dir, "bench-sized.yaml"), []byte(sized(n)), 0o600); err != nil {
		return nil, "", err
	}
	events := filepath.Join(f.dir, fmt.Sprintf("events-%d", time.Now().UnixNano()))
	text := strings.ReplaceAll(document("http://"+address, "http://"+f.upstream, events, waf), "keys.json", f.dir+"/keys.json")
	text = strings.ReplaceAll(text, "bench.yaml", "bench-sized.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	started, err := program.Spawn([]string{"XDG_DATA_HOME=" + f.dir, "XDG_CONFIG_HOME=" + f.dir + "/config"}, filepath.Join(f.binaries, "gatehouse"), "serve", "--config", file)
	return &process{started}, address, err
}

// first waits for the first 200.
func (p *process) first(address string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		answer, err := client.Get("http://" + address + "/plain/7")
		if err != nil {
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("no 200 within 30 seconds: %s", p.Log.String())
}

// begin measures how long it takes from exec to the first 200 with the core rules and 200 operations, and what memory the
// process then holds when nobody has asked anything for ten seconds.
func (f *field) begin(w io.Writer) error {
	const tries = 5
	var bestWall, bestCPU time.Duration
	var idle float64
	for i := range tries {
		began := time.Now()
		p, address, err := f.sizedGateway(200, true)
		if err == nil {
			err = p.first(address)
		}
		wall := time.Since(began)
		if err != nil {
			return err
		}
		cpu, err := p.CPU()
		if err != nil {
			return err
		}
		if i == 0 || wall < bestWall {
			bestWall = wall
		}
		if i == 0 || cpu < bestCPU {
			bestCPU = cpu
		}
		if i == tries-1 {
			time.Sleep(10 * time.Second)
			idle = p.Resident()
		}
		p.Stop()
	}
	fmt.Fprintf(w, "| exec to the first 200, 200 operations, core rules, best of %d | %d ms wall, %d ms CPU | < 400 ms |\n", tries, bestWall.Milliseconds(), bestCPU.Milliseconds())
	fmt.Fprintf(w, "| idle memory, 10 s after that | %.0f MiB | < 90 MiB |\n", idle)
	return nil
}

// matching measures what a larger contract costs each request through the whole gateway, which is asked for another
// operation each time. What it costs in the table of operations alone, TestSpeedDoesNotDependOnSize of kit/route says.
func (f *field) matching(w io.Writer, d time.Duration) error {
	var micros [2]float64
	for round := range 3 {
		for i, n := range []int{10, 10_000} {
			r, err := f.throughSized(n, d)
			if err != nil {
				return err
			}
			if round == 0 || r.micros < micros[i] {
				micros[i] = r.micros
			}
		}
	}
	fmt.Fprintf(w, "| 10,000 operations beside 10, the whole gateway, another operation each time, best of 3 | %.1f µs / %.1f µs = %.2f x | < 1.5 x |\n", micros[1], micros[0], micros[1]/micros[0])
	return nil
}

func (f *field) throughSized(n int, d time.Duration) (result, error) {
	p, address, err := f.sizedGateway(n, false)
	if err != nil {
		return result{}, err
	}
	defer p.Stop()
	if err := p.first(address); err != nil {
		return result{}, err
	}
	time.Sleep(2 * time.Second) // for the garbage of loading
	return drive(p, "http://"+address, request{method: "GET", path: "/things0", spread: n / 5}, 32, d, f.dir)
}
