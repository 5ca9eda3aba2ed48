// Command alarms sends the benign traffic of an everyday API, with its contract, to Gatehouse in three modes and to the others:
// whole requests, and each text alone in each field where it may stand. What is denied of it are false alarms. Then it puts
// attacks into the same fields: into texts those that can hurt what the contract says becomes of them, into all other fields
// any. Both are split by hash: one half to build on, the other opened only for reports; the output names the half.
//
// The goal: with the contract and what it says of its texts, at most a tenth of plain Coraza's false alarms, and no less
// detection. It prints whether that holds, and ends with 1 when it doesn't.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
	"github.com/gatehouse-sec/gatehouse/bench/traffic/everyday"
)

func main() {
	var o options
	flag.StringVar(&o.binaries, "bin", "bin", "folder with gatehouse, corazaproxy and caddywaf")
	flag.StringVar(&o.half, "half", "even", "half of the texts and attacks: even to build on, odd for reports")
	flag.IntVar(&o.most, "most", 60, "most attacks of each class")
	flag.IntVar(&o.requests, "requests", 1020, "how many whole requests")
	flag.BoolVar(&o.list, "list", false, "list every benign text that is denied and every attack that passes, on the other output; only for the even half")
	flag.Parse()
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "alarms:", err)
		os.Exit(1)
	}
}

type options struct {
	binaries, half string
	most, requests int
	list           bool
}

// sinks is the last of the modes: the one that the goal is about.
const sinks = "gatehouse, contract with sinks"

// modes are the ways in which Gatehouse runs. All have the contract; what differs is what the WAF makes of it.
func modes() []firewall.Mode {
	return []firewall.Mode{
		{Name: "gatehouse, exact", WAF: "{exact: true}", Contract: everyday.Contract()},
		{Name: "gatehouse, contract", Contract: everyday.WithoutSinks()},
		{Name: sinks, Contract: everyday.Contract()},
	}
}

func run(w io.Writer, o options) error {
	if o.half != "even" && o.half != "odd" {
		return fmt.Errorf("-half is even or odd, not %q", o.half)
	}
	root := os.Getenv("GATEHOUSE_CORPORA")
	benign, err := benign(root, o.half == "odd", o.requests)
	if err != nil {
		return err
	}
	var attacks []traffic.Attack
	if root != "" {
		if attacks, err = traffic.Attacks(root, o.half == "odd", o.most); err != nil {
			return err
		}
	}
	hostile, err := hostile(attacks)
	if err != nil {
		return err
	}
	f, err := firewall.New(o.binaries)
	if err != nil {
		return err
	}
	defer f.Close()
	rivals, missing, err := f.Rivals(modes())
	if err != nil {
		return err
	}
	t := &table{w: w, list: o.list && o.half == "even", rivals: rivals}
	for _, r := range rivals {
		t.servers = append(t.servers, r.With)
		if err := r.With.Settled(everyday.Requests(false, 1)[0].Bytes()); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	t.servers = append(t.servers, rivals[0].Without)
	for _, m := range missing {
		fmt.Fprintln(w, m)
	}
	fmt.Fprintf(w, "False alarms: denied of benign requests and texts, of the half that is %s by hash.\n\n", o.half)
	t.head()
	for _, p := range benign {
		if err := t.send(p); err != nil {
			return err
		}
	}
	if root == "" {
		fmt.Fprintln(w, "\nGATEHOUSE_CORPORA does not name the folder of the corpora: no attacks are sent.")
		return t.goal()
	}
	fmt.Fprintf(w, "\nDetection: denied of attacks, at most %d of each class, of the half that is %s by hash.\n\n", o.most, o.half)
	t.head()
	for _, p := range hostile {
		if err := t.send(p); err != nil {
			return err
		}
	}
	return t.goal()
}
