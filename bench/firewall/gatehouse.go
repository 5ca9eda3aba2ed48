package firewall

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/program"
)

// Mode is a way in which Gatehouse's WAF is set up.
type Mode struct {
	Name     string
	WAF      string // the section guards.waf, as YAML in one line
	Contract string // of the API; "" is that of what the other benchmarks send
}

// Off is Gatehouse without a WAF and with everything else.
var Off = Mode{Name: "gatehouse", WAF: "{off: {accept_risk: a benchmark without the WAF}}"}

// API is one that Gatehouse serves.
type API struct {
	Name     string
	Contract string // file
}

//go:embed bench.yaml
var contract string

// api is the one that a mode's requests are for.
func (f *Field) api(m Mode) ([]API, error) {
	file := f.fresh("contract.yaml")
	return []API{{"bench", f.path(file)}}, f.write(file, cmp.Or(m.Contract, contract))
}

// Gatehouse starts it for APIs. Rates are no limit, bodies may have 2 MiB; every other guard is as it is by default.
func (f *Field) Gatehouse(apis []API, m Mode) (*Server, error) {
	admin, err := program.Free()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "listen:\n  at: [\"http://ADDRESS\"]\n  admin: http://%s\naudit: {directory: %s}\n", admin, f.path(f.fresh("events")))
	fmt.Fprintf(&b, "guards:\n  rate: {per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000}\n  limits: {body: 2MiB}\n")
	if m.WAF != "" {
		fmt.Fprintf(&b, "  waf: %s\n", m.WAF)
	}
	b.WriteString("apis:\n")
	for _, a := range apis {
		fmt.Fprintf(&b, "  - {name: %q, contract: %q, to: [\"http://%s\"]}\n", a.Name, a.Contract, f.behind.Address)
	}
	file := f.fresh("gatehouse.yaml")
	s, err := f.launch(file, b.String(), filepath.Join(f.binaries, "gatehouse"), "serve", "--config", f.path(file))
	if err != nil {
		return nil, err
	}
	s.Admin = admin
	return s, nil
}

// Paths tells how many requests Gatehouse's WAF has judged without the engine, and how many with it. A Gatehouse that
// doesn't count them tells nothing.
func (s *Server) Paths() (fast, slow float64, told bool) {
	if s.Admin == "" {
		return 0, 0, false
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + s.Admin + "/metrics")
	if err != nil {
		return 0, 0, false
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(text)) {
		labels, ok := strings.CutPrefix(line, "gatehouse_waf_requests_total{")
		if !ok {
			continue
		}
		labels, number, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			continue
		}
		told = true
		if strings.Contains(labels, `path="fast"`) {
			fast += n
		} else {
			slow += n
		}
	}
	return fast, slow, told
}
