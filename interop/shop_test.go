package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// TestShop tours the shop behind Gatehouse as make demo does, and then takes away one guard after the other: exactly the
// attacks that the tour credits to it must succeed again. A guard that is credited with what another one stops, or that
// stops nothing, fails here.
func TestShop(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../examples/shop/gatehouse.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !onLoopback("127.0.0.66") {
		t.Log("127.0.0.66 is not on this machine: the attack from a hostile network is not tried")
	}
	// Limits go together with the WAF, which would stop nothing of theirs but would think about 8 MiB for minutes; access
	// goes with identity, since nobody has a role whom nobody has identified.
	for _, removed := range [][]string{nil, {"address"}, {"limits", "waf"}, {"rate"}, {"identity", "access"}, {"access"}, {"contract"}, {"waf"}, {"headers"}} {
		name := "without " + strings.Join(removed, " and ")
		if removed == nil {
			name = "whole"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tour(t, string(document), removed)
		})
	}
}

func onLoopback(address string) bool {
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// tour starts the shop and a gateway without the guards that are removed, on ports of their own, and runs the tour.
func tour(t *testing.T, document string, removed []string) {
	dir := t.TempDir()
	args := []string{"--data", filepath.Join(dir, "shop")}
	for _, service := range []string{"control", "catalogue", "orders", "paycard", "paybank", "logistics", "invoice"} {
		args = append(args, "--"+service, loopback.Address())
	}
	start(t, nil, "ready", built("shop"), args...)
	gateway := fmt.Sprintf("https://localhost:%d", loopback.Port())
	file := filepath.Join(dir, "gatehouse.yaml")
	text := strings.ReplaceAll(document, "https://localhost:8443", gateway)
	text = strings.ReplaceAll(text, "127.0.0.1:9443", "127.0.0.1:0")
	ports := regexp.MustCompile(`127\.0\.0\.1:700([1-6])`)
	text = ports.ReplaceAllStringFunc(text, func(m string) string { return args[2*int(m[len(m)-1]-'0')+3] })
	contracts, err := filepath.Abs("../examples/shop/contracts")
	if err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "contract: contracts/", "contract: "+contracts+"/")
	ca := certificate(t, dir)
	text = strings.Replace(text, "\nlisten:\n", "\nlisten:\n  certificates: [{cert: "+ca+", key: \"file:"+ca+".key\"}]\n", 1)
	for _, guard := range removed {
		text = without(text, guard)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"XDG_DATA_HOME=" + filepath.Join(dir, "state"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config")}
	start(t, env, "serving", built("gatehouse"), "serve", "--config", file)
	run := exec.Command(built("tour"), "--shop", filepath.Join(dir, "shop", "addresses.json"), "--gateway", gateway, "--ca", ca,
		"--gatehouse", built("gatehouse"), "--state", filepath.Join(dir, "state"), "--without", strings.Join(removed, ","))
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// without switches a guard off in the document, whether it has a section or not.
func without(document, guard string) string {
	off := fmt.Sprintf("off: {accept_risk: %s}", quoted("a test takes "+guard+" away"))
	section := "\n  " + guard + ":\n"
	if at := strings.Index(document, section); at >= 0 {
		end := at + len(section)
		return document[:end] + "    " + off + "\n" + document[end:]
	}
	return strings.Replace(document, "\nguards:\n", "\nguards:\n  "+guard+":\n    "+off+"\n", 1)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
