// Command detect sends the same attacks and the same benign texts to Gatehouse, plain Coraza, Caddy with Coraza and nginx
// with ModSecurity, once as a value of the query and once as a leaf of a JSON body, and prints what part each denies: of
// attacks that is detection, of benign texts false alarms. The attack corpora are split by hash: one half to build on, the
// other opened only for reports; the output names the half.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
)

func main() {
	var o options
	flag.StringVar(&o.binaries, "bin", "bin", "folder with gatehouse, corazaproxy and caddywaf")
	flag.StringVar(&o.half, "half", "even", "half of the attack corpora: even to build on, odd for reports")
	flag.IntVar(&o.most, "most", 60, "most attacks of each class")
	flag.BoolVar(&o.list, "list", false, "list every attack that passes and every benign text that is denied")
	flag.Func("mode", "NAME=SECTION: a way in which Gatehouse runs, with its section guards.waf as YAML in one line; may be repeated", o.mode)
	flag.Parse()
	if len(o.modes) == 0 {
		o.modes = []firewall.Mode{{Name: "gatehouse"}}
	}
	if err := detect(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "detect:", err)
		os.Exit(1)
	}
}

type options struct {
	binaries, half string
	most           int
	list           bool
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

// group is a set of texts of one kind.
type group struct {
	name   string
	attack bool
	texts  []string
}

func groups(o options) ([]group, error) {
	if o.half != "even" && o.half != "odd" {
		return nil, fmt.Errorf("-half is even or odd, not %q", o.half)
	}
	root := os.Getenv("GATEHOUSE_CORPORA")
	var list []group
	if root != "" {
		attacks, err := traffic.Attacks(root, o.half == "odd", o.most)
		if err != nil {
			return nil, err
		}
		for _, a := range attacks {
			if len(list) == 0 || list[len(list)-1].name != a.Class {
				list = append(list, group{name: a.Class, attack: true})
			}
			list[len(list)-1].texts = append(list[len(list)-1].texts, a.Text)
		}
	}
	naughty, err := traffic.Naughty(root)
	return append(list, group{name: "naughty strings", texts: naughty}, group{name: "prose, eight languages", texts: traffic.Paragraphs()},
		group{name: "code talked about", texts: traffic.Talk()}, group{name: "values of APIs", texts: traffic.Values()}), err
}

func detect(w io.Writer, o options) error {
	list, err := groups(o)
	if err != nil {
		return err
	}
	if os.Getenv("GATEHOUSE_CORPORA") == "" {
		fmt.Fprintln(w, "GATEHOUSE_CORPORA does not name the folder of the corpora: no attacks are sent, and a few naughty strings of our own.")
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
	for _, r := range rivals {
		if err := r.With.Settled(traffic.Query("blue").Bytes()); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	for _, m := range missing {
		fmt.Fprintln(w, m)
	}
	fmt.Fprintf(w, "Denied, in per cent of texts; at most %d of each class of attack, of the half that is %s by hash.\n\n| texts | place | number |", o.most, o.half)
	for _, r := range rivals {
		fmt.Fprintf(w, " %s |", r.Name)
	}
	fmt.Fprintf(w, " gatehouse without its WAF |\n|---|---|---%s|---|\n", strings.Repeat("|---", len(rivals)))
	return report(w, o, list, rivals)
}

// report sends all of it and prints a line for each group and place, and one for all attacks and all benign texts.
func report(w io.Writer, o options, list []group, rivals []firewall.Rival) error {
	servers := make([]*firewall.Server, 0, len(rivals)+1)
	for _, r := range rivals {
		servers = append(servers, r.With)
	}
	servers = append(servers, rivals[0].Without)
	for _, attack := range []bool{true, false} {
		for _, place := range []struct {
			name string
			make func(string) firewall.Request
		}{{"query", traffic.Query}, {"JSON", traffic.Note}} {
			sum, all := make([]int, len(servers)), 0
			for _, g := range list {
				if g.attack != attack {
					continue
				}
				requests := make([]firewall.Request, len(g.texts))
				for i, text := range g.texts {
					requests[i] = place.make(text)
				}
				said, err := firewall.Ask(servers, requests)
				if err != nil {
					return fmt.Errorf("%s: %w", g.name, err)
				}
				denied := make([]int, len(servers))
				for i, text := range g.texts {
					for k, status := range said[i] {
						if status != http.StatusOK {
							denied[k]++
						}
						if o.list && k < len(rivals) && (status == http.StatusOK) == attack {
							fmt.Fprintf(os.Stderr, "%s %s %s %d: %s\n", g.name, place.name, rivals[k].Name, status, text)
						}
					}
				}
				line(w, g.name, place.name, len(g.texts), denied)
				for k, n := range denied {
					sum[k] += n
				}
				all += len(g.texts)
			}
			if all > 0 {
				line(w, map[bool]string{true: "**detection**", false: "**false alarms**"}[attack], place.name, all, sum)
			}
		}
	}
	return nil
}

func line(w io.Writer, name, place string, n int, denied []int) {
	fmt.Fprintf(w, "| %s | %s | %d |", name, place, n)
	for _, d := range denied {
		fmt.Fprintf(w, " %.1f |", 100*float64(d)/float64(n))
	}
	fmt.Fprintln(w)
}
