// Command classes invents valid benign requests for every operation of OpenAPI documents that nobody wrote for a benchmark,
// sends them through Gatehouse, and prints for each document and each class of request which share of them its WAF judged
// without the engine, and which it denied. A fast path that was made for the benchmark's own requests is found out here.
//
// What counts as valid is not this program's opinion: a request that Gatehouse refuses without its WAF is dropped, and how
// many were is printed.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

func main() {
	var o options
	flag.StringVar(&o.binaries, "bin", "bin", "folder with gatehouse")
	flag.IntVar(&o.each, "each", 4, "requests for each operation and kind of body")
	flag.DurationVar(&o.budget, "budget", 90*time.Second, "no document is begun after this time")
	flag.BoolVar(&o.list, "list", false, "list requests that the WAF denies, and why documents are not served")
	flag.Func("mode", "NAME=SECTION: how Gatehouse runs, with its section guards.waf as YAML in one line", func(text string) error {
		name, section, _ := strings.Cut(text, "=")
		o.mode = firewall.Mode{Name: name, WAF: section}
		return nil
	})
	flag.Parse()
	o.files = flag.Args()
	if err := classes(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "classes:", err)
		os.Exit(1)
	}
}

type options struct {
	binaries string
	files    []string // documents
	each     int
	budget   time.Duration
	list     bool
	mode     firewall.Mode
}

// share is what became of a class's requests.
type share struct {
	invented, valid, denied int
	fast, slow              float64
	told                    bool
}

func (s *share) add(o share) {
	s.invented, s.valid, s.denied, s.fast, s.slow, s.told = s.invented+o.invented, s.valid+o.valid, s.denied+o.denied, s.fast+o.fast, s.slow+o.slow, s.told || o.told
}

func classes(w io.Writer, o options) error {
	f, err := firewall.New(o.binaries)
	if err != nil {
		return err
	}
	defer f.Close()
	dir, err := os.MkdirTemp("", "gatehouse-classes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(w, "| document | operations | class | invented | valid | denied by the WAF | fast path |\n|---|---|---|---|---|---|---|\n")
	all, served := map[string]*share{}, 0
	began := time.Now()
	for i, file := range o.files {
		if time.Since(began) > o.budget {
			fmt.Fprintf(w, "\n%d documents are left out for want of time.\n", len(o.files)-i)
			break
		}
		d, err := read(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		shares, err := d.measure(f, filepath.Join(dir, fmt.Sprintf("%d.json", i)), o)
		if err != nil {
			fmt.Fprintf(w, "| %s | %d | not served: %s | | | | |\n", filepath.Base(file), len(d.operations), reason(err, o.list))
			continue
		}
		served++
		for _, class := range slices.Sorted(maps.Keys(shares)) {
			fmt.Fprintf(w, "| %s | %d | %s | %s |\n", filepath.Base(file), len(d.operations), class, shares[class])
			if all[class] == nil {
				all[class] = &share{}
			}
			all[class].add(*shares[class])
		}
	}
	for _, class := range slices.SortedFunc(maps.Keys(all), cmp.Compare[string]) {
		fmt.Fprintf(w, "| **all %d** | | %s | %s |\n", served, class, all[class])
	}
	return nil
}

func (s *share) String() string {
	fast := "not told"
	if s.told && s.fast+s.slow > 0 {
		fast = fmt.Sprintf("%.1f %%", 100*s.fast/(s.fast+s.slow))
	}
	return fmt.Sprintf("%d | %d | %d | %s", s.invented, s.valid, s.denied, fast)
}

// measure serves the document and sends what was invented for it.
func (d *document) measure(f *firewall.Field, file string, o options) (map[string]*share, error) {
	if err := d.write(file); err != nil {
		return nil, err
	}
	apis := []firewall.API{{Name: "invented", Contract: file}}
	var servers [2]*firewall.Server
	var errs [2]error
	var both sync.WaitGroup
	for i, m := range []firewall.Mode{firewall.Off, o.mode} {
		both.Go(func() { servers[i], errs[i] = f.Gatehouse(apis, m) })
	}
	both.Wait()
	for _, s := range servers {
		if s != nil {
			defer s.Stop()
		}
	}
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		return nil, err
	}
	without, with := servers[0], servers[1]
	by := map[string][]firewall.Request{}
	for _, op := range d.operations {
		for _, one := range d.requests(op, o.each) {
			by[one.class] = append(by[one.class], one.Request)
		}
	}
	judge, asked := without.Conn(), with.Conn()
	defer judge.Close()
	defer asked.Close()
	if err := warmed(judge, with, by); err != nil {
		return nil, err
	}
	out := map[string]*share{}
	for class, requests := range by {
		s := &share{invented: len(requests)}
		out[class] = s
		fast, slow, _ := with.Paths()
		for _, r := range requests {
			raw := r.Bytes()
			status, err := judge.Send(raw)
			if err != nil {
				return nil, err
			}
			if status != http.StatusOK {
				if o.list {
					fmt.Fprintf(os.Stderr, "%d without the WAF: %s %s %s\n", status, r.Method, r.Target, short(r.Body))
				}
				continue
			}
			s.valid++
			if status, err = asked.Send(raw); err != nil {
				return nil, err
			}
			if status != http.StatusOK {
				s.denied++
				if o.list {
					fmt.Fprintf(os.Stderr, "%d: %s %s %s\n", status, r.Method, r.Target, short(r.Body))
				}
			}
		}
		after, behind, told := with.Paths()
		s.fast, s.slow, s.told = after-fast, behind-slow, told
	}
	return out, nil
}

// warmed sends the first valid request of each class until the server is quiet: before its rules have seen one, its fast path
// may not be there.
func warmed(judge *firewall.Conn, with *firewall.Server, by map[string][]firewall.Request) error {
	for _, requests := range by {
		for _, r := range requests {
			if status, err := judge.Send(r.Bytes()); err != nil {
				return err
			} else if status == http.StatusOK {
				if err := with.Settled(r.Bytes()); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

func short(body []byte) string { return string(body[:min(len(body), 300)]) }

// reason is the first mistake that Gatehouse names.
func reason(err error, whole bool) string {
	text := err.Error()
	if whole {
		fmt.Fprintln(os.Stderr, text)
	}
	for line := range strings.Lines(text) {
		if _, said, ok := strings.Cut(line, ".json"); ok {
			return fmt.Sprintf("%s (%d mistakes)", strings.TrimSpace(said), strings.Count(text, ".json:"))
		}
	}
	return strings.SplitN(text, "\n", 2)[0]
}
