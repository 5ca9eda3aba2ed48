package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// remembered says where gateways keep their state. The zero value is the embedded store and counters in memory.
type remembered struct {
	postgres *database
	redis    string // host:port
}

func (r remembered) String() string {
	switch {
	case r.postgres == nil && r.redis == "":
		return "memory"
	case r.redis == "":
		return "PostgreSQL alone"
	}
	return "PostgreSQL and Redis"
}

// node is one running gateway of an installation.
type node struct {
	*process
	base      string // URL
	home      string // of its state
	directory string // of its binary
}

// nodes starts gateways without the WAF that share what r says. rate is the section guards.rate.
func (f *field) nodes(n int, r remembered, rate string) ([]*node, error) {
	var list []*node
	for range n {
		one, err := f.node(r, rate, "")
		if err != nil {
			stopAll(list)
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

func stopAll(list []*node) {
	for _, n := range list {
		n.Stop()
	}
}

// node starts one. more is appended to its document.
func (f *field) node(r remembered, rate, more string) (*node, error) {
	home, err := os.MkdirTemp(f.dir, "node-")
	if err != nil {
		return nil, err
	}
	address := loopback.Address()
	text := strings.ReplaceAll(document("http://"+address, "http://"+f.upstream, filepath.Join(home, "events"), false), "keys.json", f.dir+"/keys.json")
	text = strings.ReplaceAll(text, "contract: bench.yaml", "contract: "+f.dir+"/bench.yaml")
	text = strings.ReplaceAll(text, "per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000", rate)
	text = strings.Replace(text, "  admin:", "  trusted_proxies: [127.0.0.0/8]\n  admin:", 1)
	text = strings.ReplaceAll(text, "/events}", "/events, keep: 100}")
	text += "key: {root: \"file:" + f.dir + "/root.key\"}\nfleet: {name: " + filepath.Base(home) + "}\n" + r.section(f.dir) + more
	file := filepath.Join(home, "gatehouse.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	one := &node{base: "http://" + address, home: home, directory: f.binaries}
	if one.process, err = start(address, one.environment(), filepath.Join(f.binaries, "gatehouse"), "serve", "--config", file); err != nil {
		return nil, err
	}
	return one, one.first(address)
}

// section is the document's store section.
func (r remembered) section(dir string) string {
	if r.postgres == nil {
		return ""
	}
	text := "store:\n  url: \"" + r.postgres.url() + "\"\n"
	if r.redis != "" {
		text += "  shared: {url: \"rediss://" + r.redis + "\", ca: " + dir + "/tls.crt}\n"
	}
	return text
}

func (n *node) environment() []string {
	return []string{"XDG_DATA_HOME=" + n.home, "XDG_CONFIG_HOME=" + n.home + "/config"}
}

// tell runs one of Gatehouse's commands beside the node.
func (n *node) tell(args ...string) error {
	c := exec.Command(filepath.Join(n.directory, "gatehouse"), args...)
	c.Env = append(os.Environ(), n.environment()...)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("gatehouse %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

// client keeps enough connections for whoever uses it.
func client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
}

// ask sends one request with a token and gives the status.
func (n *node) ask(c *http.Client, token string) (int, error) {
	q, err := http.NewRequest(http.MethodGet, n.base+"/orders/7", nil)
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	answer, err := c.Do(q)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	return answer.StatusCode, drain(answer.Body)
}
