// Command start measures how long Gatehouse takes from exec to its first answer with status 200, for a contract of 200
// operations with the whole rule set of the WAF, and what memory it holds after ten seconds without traffic.
//
//	go build -o bin/ ./cmd/gatehouse ./bench/start && bin/start -bin bin/gatehouse
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	binary := flag.String("bin", "bin/gatehouse", "the program")
	runs := flag.Int("runs", 7, "how often it is started")
	idle := flag.Duration("idle", 10*time.Second, "how long it rests before its memory is read")
	flag.Parse()
	if err := measure(*binary, *runs, *idle); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

func measure(binary string, runs int, idle time.Duration) error {
	dir, err := os.MkdirTemp("", "gatehouse-start")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_ = http.Serve(server, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	}()
	at, admin := vacant(), vacant()
	document := fmt.Sprintf("listen: {at: [\"http://%s\"], admin: \"http://%s\"}\nguards: {identity: {development: {accept_risk: a measurement}}}\napis: [{name: big, contract: big.yaml, to: [\"http://%s\"]}]\n", at, admin, server.Addr())
	for name, text := range map[string]string{"gatehouse.yaml": document, "big.yaml": contract(50)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	var times []time.Duration
	for i := range runs {
		rest := time.Duration(0)
		if i == runs-1 {
			rest = idle
		}
		took, memory, err := once(binary, dir, at, rest)
		if err != nil {
			return err
		}
		times = append(times, took)
		if rest > 0 {
			fmt.Printf("memory after %s: %s\n", rest, memory)
		}
	}
	slices.Sort(times)
	fmt.Printf("exec to first 200, 200 operations, CRS: median %d ms, least %d ms, most %d ms of %d\n",
		times[len(times)/2].Milliseconds(), times[0].Milliseconds(), times[len(times)-1].Milliseconds(), len(times))
	return nil
}

func once(binary, dir, at string, rest time.Duration) (time.Duration, string, error) {
	c := exec.Command(binary, "serve", "--config", filepath.Join(dir, "gatehouse.yaml"))
	c.Env = append(os.Environ(), "XDG_DATA_HOME="+dir)
	var said strings.Builder
	c.Stderr = &said
	began := time.Now()
	if err := c.Start(); err != nil {
		return 0, "", err
	}
	defer func() { _ = c.Process.Signal(syscall.SIGTERM); _ = c.Wait() }()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for time.Since(began) < 20*time.Second {
		response, err := client.Get("http://" + at + "/resource0")
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			took := time.Since(began)
			time.Sleep(rest)
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
			return took, memory(string(status)), err
		}
	}
	return 0, "", fmt.Errorf("no answer with status 200: %s", said.String())
}

func memory(status string) string {
	var words []string
	for _, l := range strings.Split(status, "\n") {
		if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "RssAnon") || strings.HasPrefix(l, "VmHWM") {
			words = append(words, strings.Join(strings.Fields(l), " "))
		}
	}
	return strings.Join(words, ", ")
}

func vacant() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:18080"
	}
	defer l.Close()
	return l.Addr().String()
}

// contract has four operations for each of n resources; the first is public.
func contract(n int) string {
	var b strings.Builder
	b.WriteString(`openapi: 3.0.3
info: {title: big, version: "1"}
security: [{token: []}]
components:
  securitySchemes: {token: {type: http, scheme: bearer}}
  schemas:
    Item: {type: object, additionalProperties: false, properties: {id: {type: integer, minimum: 1}, name: {type: string, maxLength: 80, pattern: "^[a-z ]*$"}, tags: {type: array, maxItems: 10, items: {type: string, maxLength: 20}}}}
paths:
`)
	for i := range n {
		public := ""
		if i == 0 {
			public = "security: [], "
		}
		fmt.Fprintf(&b, `  /resource%[1]d:
    get: {%[2]soperationId: list%[1]d, parameters: [{name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}], responses: {"200": {description: ok}}}
    post: {operationId: create%[1]d, requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Item"}}}}, responses: {"201": {description: ok}}}
  /resource%[1]d/{id}:
    get: {operationId: get%[1]d, parameters: [{name: id, in: path, required: true, schema: {type: integer}}], responses: {"200": {description: ok}}}
    put: {operationId: put%[1]d, parameters: [{name: id, in: path, required: true, schema: {type: integer}}], requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Item"}}}}, responses: {"200": {description: ok}}}
`, i, public)
	}
	return b.String()
}
