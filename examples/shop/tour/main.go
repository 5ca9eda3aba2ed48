// Command tour attacks the example shop, first its services and then the same services behind Gatehouse, with the same bytes,
// and says what came of it:
//
//	go run ./examples/shop/tour --shop DIR/addresses.json \
//	    --gateway https://localhost:8443 --ca ca.pem --gatehouse ./gatehouse --state DIR
//
// It sends good requests, then attacks that Gatehouse must stop, then those that it cannot stop yet (and says so), then the
// good requests again. An attack counts by its effect: a row in the service's database, or a secret in the answer. Tokens and
// explanations come from the commands that a person would type. The exit status is 0 only when everything went as claimed.
//
// Without --gateway only the services are attacked, with tokens that nobody signed, which they believe.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

func main() {
	claimed, err := run(os.Args[1:], os.Stdout)
	switch {
	case err == flag.ErrHelp:
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	case !claimed:
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	shop, gateway, ca   string
	binary, stateDir    string
	token, explain      string
	without, only, host string
	json                bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("tour", flag.ContinueOnError)
	f.StringVar(&o.shop, "shop", "", "addresses.json in the shop's data folder (required)")
	f.StringVar(&o.gateway, "gateway", "", "URL of Gatehouse, such as https://localhost:8443; empty: attack the services only")
	f.StringVar(&o.ca, "ca", "", "PEM file of the CA that signed the gateway's certificate")
	f.StringVar(&o.binary, "gatehouse", "gatehouse", "the gatehouse program, which makes tokens and explains events")
	f.StringVar(&o.stateDir, "state", "", "where that program keeps its state: becomes its XDG_DATA_HOME; empty: unchanged")
	f.StringVar(&o.token, "token-cmd", "{gatehouse} token --as {user} --role {role} {scopes}", "command that prints a token; {scopes} becomes --scope NAME for each")
	f.StringVar(&o.explain, "explain-cmd", "{gatehouse} explain {id}", "command that explains an event; empty: don't ask")
	f.StringVar(&o.without, "without", "", "guards that are switched off, separated by commas: attacks credited to them must now succeed")
	f.StringVar(&o.only, "only", "", "attack these holes only: ids, separated by commas")
	f.StringVar(&o.host, "host", "", "Host of all requests; default: that of --gateway")
	f.BoolVar(&o.json, "json", false, "print JSON instead of lines")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.shop == "" {
		return o, fmt.Errorf("no shop: add --shop DIR/addresses.json")
	}
	return o, nil
}

// run walks the tour and tells whether all was as claimed.
func run(args []string, out *os.File) (bool, error) {
	o, err := parse(args)
	if err != nil {
		return false, err
	}
	services, err := readShop(o.shop)
	if err != nil {
		return false, err
	}
	var commands gatehouse
	gateway, host, err := o.target()
	if err != nil {
		return false, err
	}
	if gateway != nil {
		conn, err := gateway.open("")
		if err != nil {
			return false, fmt.Errorf("no gateway at %s: %w", o.gateway, err)
		}
		conn.Close()
		commands.token = strings.ReplaceAll(o.token, "{gatehouse}", o.binary)
		commands.explain = strings.ReplaceAll(o.explain, "{gatehouse}", o.binary)
		if o.stateDir != "" {
			commands.env = []string{"XDG_DATA_HOME=" + o.stateDir, "XDG_CONFIG_HOME=" + o.stateDir + "-key"}
		}
	}
	var steps record
	show := newScreen(out, terminalWidth(), gateway != nil)
	t, err := newTour(services, gateway, host, commands, func(s step) {
		if steps.Steps = append(steps.Steps, s); !o.json {
			show.step(s)
		}
	})
	if err != nil {
		return false, err
	}
	if o.without != "" {
		t.without = strings.Split(o.without, ",")
	}
	if o.only != "" {
		t.only = strings.Split(o.only, ",")
	}
	if steps.AsClaimed, err = t.walk(); err != nil {
		return false, err
	}
	if o.json {
		return steps.AsClaimed, steps.write(out)
	}
	show.end()
	return steps.AsClaimed, nil
}

// target reads --gateway, --ca and --host. The target is nil when there is no gateway.
func (o options) target() (*target, string, error) {
	if o.gateway == "" {
		return nil, or(o.host, "localhost:8443"), nil
	}
	u, err := url.Parse(o.gateway)
	if err != nil || u.Host == "" {
		return nil, "", fmt.Errorf("--gateway %q is not a URL; write https://localhost:8443", o.gateway)
	}
	if u.Scheme == "http" {
		return &target{address: withPort(u, "80")}, or(o.host, u.Host), nil
	}
	config := &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, "", err
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("%s holds no certificate", o.ca)
		}
	}
	return &target{address: withPort(u, "443"), tls: config}, or(o.host, u.Host), nil
}

func withPort(u *url.URL, port string) string {
	return net.JoinHostPort(u.Hostname(), or(u.Port(), port))
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// terminalWidth asks stty, which every system with a terminal has; 0 when there is no answer.
func terminalWidth() int {
	cmd := exec.Command("stty", "size")
	cmd.Stdin = os.Stdin
	out, err := cmd.Output()
	if err != nil {
		return 0
	}
	var rows, columns int
	if _, err := fmt.Sscan(string(out), &rows, &columns); err != nil {
		return 0
	}
	return columns
}
