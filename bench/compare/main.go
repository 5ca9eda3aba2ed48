// Command compare measures what a request costs through Gatehouse beside the same request through a bare ReverseProxy
// and through the proxies of the field that the machine has. The figure that survives a noisy machine is CPU time of the
// gateway's processes for each request, told as a multiple of the bare proxy in the same run; everything else is context.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	seconds := flag.Int("seconds", 5, "seconds of each run")
	rounds := flag.Int("rounds", 2, "rounds; the median counts")
	binaries := flag.String("bin", "bin", "folder with gatehouse and bare")
	only := flag.String("only", "", "run only the cases whose names contain this; also: start, matching, state")
	mib := flag.Int64("mib", 1024, "size of what is backed up")
	flag.Parse()
	if err := compare(os.Stdout, *binaries, *only, *rounds, *mib, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one measurement: which proxies, which request.
type bench struct {
	name    string
	tls     bool
	waf     bool
	token   bool
	request request
	peers   []string // beside gatehouse and bare
}

func cases(token string) []bench {
	get := request{method: "GET", path: "/plain/7"}
	auth := map[string]string{"Authorization": "Bearer " + token}
	browser := map[string]string{
		"Authorization": "Bearer " + token, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36",
		"Accept": "application/json, text/plain, */*", "Accept-Language": "en-GB,en;q=0.9", "Accept-Encoding": "gzip, deflate, br",
		"Referer": "https://shop.example/orders", "Cookie": "theme=dark; lang=en",
	}
	return []bench{
		{name: "plain GET", request: get, peers: []string{"caddy", "nginx", "haproxy"}},
		{name: "TLS GET", tls: true, request: get, peers: []string{"caddy", "nginx", "haproxy"}},
		{name: "TLS + RS256 token, all but the WAF, GET", tls: true, token: true, request: request{method: "GET", path: "/orders/7?fields=total", fields: browser}},
		{name: "all but the WAF, 1 KiB JSON", tls: true, token: true, request: request{method: "POST", path: "/orders", fields: auth, body: order(1 << 10)}},
		{name: "all but the WAF, 10 KiB JSON", tls: true, token: true, request: request{method: "POST", path: "/orders", fields: auth, body: order(10 << 10)}},
		{name: "everything, GET", tls: true, token: true, waf: true, request: request{method: "GET", path: "/orders/7?fields=total", fields: browser}},
		{name: "everything, 1 KiB JSON", tls: true, token: true, waf: true, request: request{method: "POST", path: "/orders", fields: auth, body: order(1 << 10)}},
		{name: "everything, 10 KiB JSON", tls: true, token: true, waf: true, request: request{method: "POST", path: "/orders", fields: auth, body: order(10 << 10)}},
	}
}

func compare(w io.Writer, binaries, only string, rounds int, mib int64, d time.Duration) error {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f := field{dir: dir, binaries: binaries}
	if err := f.prepare(); err != nil {
		return err
	}
	defer f.server.Stop()
	version, _ := exec.Command(filepath.Join(binaries, "gatehouse"), "version").Output()
	fmt.Fprintf(w, "%s, %d cores, %s of each run, %d rounds, median; CPU is of the proxy's processes\n\n", strings.TrimSpace(string(version)), runtime.NumCPU(), d, rounds)
	if strings.HasPrefix(only, "state") {
		return f.states(w, only, rounds, mib<<20, d)
	}
	fmt.Fprintf(w, "| case | proxy | CPU µs/request | x bare | req/s | p50 | p99 | peak MiB |\n|---|---|---|---|---|---|---|---|\n")
	for _, b := range cases(f.token) {
		if !strings.Contains(b.name, only) {
			continue
		}
		if err := f.measure(w, b, rounds, d); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	if err := f.sizes(w, only, d); err != nil {
		return err
	}
	return f.states(w, only, rounds, mib<<20, d)
}

// sizes prints what isn't the cost of a request.
func (f *field) sizes(w io.Writer, only string, d time.Duration) error {
	fmt.Fprintf(w, "\n| what | measured | goal |\n|---|---|---|\n")
	if strings.Contains("start", only) {
		if err := f.begin(w); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	if strings.Contains("matching", only) {
		if err := f.matching(w, d); err != nil {
			return fmt.Errorf("matching: %w", err)
		}
	}
	return nil
}

// measure runs one case for each proxy in turn, as often as there are rounds, and prints a line for each.
func (f *field) measure(w io.Writer, b bench, rounds int, d time.Duration) error {
	names := []string{"bare", "gatehouse"}
	for _, name := range b.peers {
		if name != "caddy" || f.hasCaddy() {
			names = append(names, name)
		}
	}
	results := map[string][]result{}
	for range rounds {
		for _, name := range names {
			r, err := f.run(name, b, d)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if r.errors > 0 {
				return fmt.Errorf("%s: %d requests went wrong", name, r.errors)
			}
			results[name] = append(results[name], r)
		}
	}
	bare := middle(results["bare"]).micros
	for _, name := range names {
		r := middle(results[name])
		fmt.Fprintf(w, "| %s | %s | %.1f | %.2f | %.0f | %s | %s | %.0f |\n", b.name, name, r.micros, r.micros/bare, r.rate, r.p50, r.p99, r.memory)
	}
	return nil
}

// middle is the run with the median CPU time.
func middle(list []result) result {
	sorted := append([]result(nil), list...)
	for i := range sorted {
		for j := i; j > 0 && sorted[j].micros < sorted[j-1].micros; j-- {
			sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
		}
	}
	return sorted[len(sorted)/2]
}
