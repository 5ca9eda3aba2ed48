package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func TestSampleIsGood(t *testing.T) {
	if err := checkSample("gatehouse.yaml", []byte(sample)); err != nil {
		t.Fatal(err)
	}
	d, err := config.Parse("gatehouse.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	listen, ok, err := config.Section[listenConfig](d, "listen")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if listen.URL.Host != "shop.example.com:8443" || listen.Handshake.String() != "5s" || listen.Head != 16<<10 || listen.Fields != 128 ||
		len(listen.Trusted) != 2 || listen.TLS == nil || listen.TLS.Minimum != "1.3" || listen.TLS.Key.String() != "file:/etc/shop/tls.key" {
		t.Errorf("listen decoded as %+v", listen)
	}
	rate, _, err := config.Section[guardSection[rateConfig]](d, "guards.rate")
	if err != nil || rate.Config.PerAddress != 50 || rate.Config.Share != 0.5 || !rate.Config.CountBad || rate.Common.DryRun == nil ||
		rate.Common.DryRun.Until.Year() != 2026 || rate.Common.Off != nil {
		t.Errorf("rate decoded as %+v, %v", rate, err)
	}
	apis, _, err := config.Section[[]apiConfig](d, "apis")
	if err != nil || len(apis) != 2 || len(apis[0].To) != 2 || len(apis[1].To) != 1 || !bool(apis[0].Upstream) || bool(apis[1].Upstream) ||
		apis[0].Operations["GET /orders/{id}"].Roles[0] != "customer" {
		t.Errorf("apis decoded as %+v, %v", apis, err)
	}
	if _, ok, err := config.Section[upstreamConfig](d, "apis[1].upstream"); ok || err != nil {
		t.Error("an absent section is present", err)
	}
	if d.Len("apis") != 2 || d.Len("listen") != 0 || strings.Join(d.Keys("guards"), " ") != "rate identity" || d.Keys("nothing") != nil {
		t.Error("Len or Keys")
	}
}

// one gives the mistakes of an error.
func one(t *testing.T, err error) mistake.List {
	t.Helper()
	var list mistake.List
	if !errors.As(err, &list) {
		t.Fatalf("no list of mistakes but %v", err)
	}
	return list
}
