// Command waf measures what Gatehouse's WAF adds to the CPU time of a request, beside plain Coraza, Caddy with Coraza and
// nginx with ModSecurity over the same rules, for benign traffic, attacks, and the worst that an adversary thinks out who
// knows how the WAF saves its work. Each round runs all rivals one after the other for each case; a figure is the median
// over the rounds, and a multiple the median of the multiples within rounds, since the machine's speed changes between them.
// A wrong verdict of Gatehouse or Coraza is an error: who lets attacks pass is fast.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
)

func main() {
	var o options
	flag.StringVar(&o.binaries, "bin", "bin", "folder with gatehouse, corazaproxy and caddywaf")
	flag.StringVar(&o.only, "only", "", "run only the cases whose group or name contain this")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; the median counts")
	flag.BoolVar(&o.quick, "quick", false, "one short round of fewer cases and rivals")
	flag.DurationVar(&o.run, "run", 150*time.Millisecond, "time of each run")
	flag.DurationVar(&o.budget, "budget", 5*time.Minute, "time in which rounds end, but for the first")
	flag.Func("mode", "NAME=SECTION: a way in which Gatehouse runs, with its section guards.waf as YAML in one line; may be repeated", o.mode)
	flag.Parse()
	if o.quick {
		o.rounds, o.run = 1, 60*time.Millisecond
	}
	if len(o.modes) == 0 {
		o.modes = []firewall.Mode{{Name: "gatehouse"}}
	}
	if err := measure(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-waf:", err)
		os.Exit(1)
	}
}

type options struct {
	binaries, only string
	quick          bool
	rounds         int
	run, budget    time.Duration
	modes          []firewall.Mode
}

func (o *options) mode(text string) error {
	name, section, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q is not NAME=SECTION", text)
	}
	o.modes = append(o.modes, firewall.Mode{Name: name, WAF: section})
	return nil
}

func measure(w io.Writer, o options) error {
	root := os.Getenv("GATEHOUSE_CORPORA")
	if root == "" {
		fmt.Fprintln(w, "GATEHOUSE_CORPORA does not name the folder of the corpora; a few naughty strings of our own are sent.")
	}
	naughty, err := traffic.Naughty(root)
	if err != nil {
		return err
	}
	f, err := firewall.New(o.binaries)
	if err != nil {
		return err
	}
	defer f.Close()
	rivals, missing, err := f.Rivals(o.modes)
	if err != nil {
		return err
	}
	if o.quick {
		rivals = slices.DeleteFunc(rivals, func(r firewall.Rival) bool { return strings.Contains(r.Name, "SecRxPreFilter") })
	}
	var cases []*measured
	for _, c := range traffic.Cases(naughty) {
		if strings.Contains(c.Group+" "+c.Name, o.only) && !(o.quick && c.Long) {
			cases = append(cases, newMeasured(c))
		}
	}
	for _, r := range rivals {
		for _, s := range []*firewall.Server{r.With, r.Without} {
			if err := s.Settled(traffic.Query("blue").Bytes()); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	began, rounds := time.Now(), 0
	for ; rounds < o.rounds && (rounds == 0 || time.Since(began) < o.budget); rounds++ {
		for _, c := range cases {
			if rounds > 0 && time.Since(began) >= o.budget {
				break // this round covers fewer cases
			}
			if err := c.round(rivals, o.run); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
		}
	}
	fmt.Fprintf(w, "%d cores, %s of each run at least, median of %d interleaved rounds in %s; CPU is user and system time of the proxy's processes.\n",
		runtime.NumCPU(), o.run, rounds, time.Since(began).Round(time.Second))
	for _, m := range missing {
		fmt.Fprintln(w, m)
	}
	return printed(w, cases, rivals, o.modes)
}
