package config_test

import (
	"net/netip"
	"net/url"
	"reflect"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// The types below stand for the parts of a real document: every kind of field that a part may have.

type profile string

func (profile) Values() []string { return []string{"edge", "internal"} }

type listenConfig struct {
	// URL is where the gateway listens. Required.
	URL url.URL `yaml:"url,required"`
	// Handshake bounds a TLS handshake; default 5s.
	Handshake time.Duration `yaml:"handshake"`
	// Head is the largest request head; default 16KiB.
	Head    unit.Size      `yaml:"head"`
	Fields  int            `yaml:"fields,min=1,max=1024"`
	Trusted []netip.Prefix `yaml:"trusted_proxies"`
	TLS     *tlsConfig     `yaml:"tls"`
}

type tlsConfig struct {
	Certificate string     `yaml:"certificate,required"`
	Key         secret.Ref `yaml:"key"`
	Minimum     tlsVersion `yaml:"minimum"`
}

type tlsVersion string

func (tlsVersion) Values() []string { return []string{"1.2", "1.3"} }

type rateConfig struct {
	PerAddress int     `yaml:"per_address,min=0"`
	Burst      uint16  `yaml:"burst"`
	Share      float64 `yaml:"share,min=0,max=1"`
	CountBad   bool    `yaml:"count_refused"`
}

type risk struct {
	AcceptRisk string    `yaml:"accept_risk,required"`
	Until      time.Time `yaml:"until"`
}

type common struct {
	Off    *risk `yaml:"off"`
	DryRun *risk `yaml:"dry_run"`
}

type guardSection[C any] struct {
	Common common `yaml:",inline"`
	Config C      `yaml:",inline"`
}

type identityConfig struct {
	Issuers []issuer `yaml:"issuers,nonempty"`
}

type issuer struct {
	URL      url.URL       `yaml:"url,required"`
	Audience string        `yaml:"audience,required,public"`
	Skew     time.Duration `yaml:"skew"`
}

type apiConfig struct {
	Name       string               `yaml:"name,required"`
	Hosts      []string             `yaml:"hosts,nonempty"`
	To         targets              `yaml:"to,required"`
	Operations map[string]operation `yaml:"operations"`
	Upstream   config.Elsewhere     `yaml:"upstream"`
	Guards     config.Elsewhere     `yaml:"guards"`
}

type operation struct {
	Public bool     `yaml:"public"`
	Roles  []string `yaml:"roles"`
}

type upstreamConfig struct {
	Connect time.Duration `yaml:"connect"`
	Balance balance       `yaml:"balance"`
}

type balance string

func (balance) Values() []string { return []string{"two_choices", "round_robin", "hash"} }

// targets is a list of URLs, or one.
type targets []url.URL

func (t *targets) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil {
		return err
	}
	*t = targets{*u}
	return nil
}

var sampleParts = []config.Part{
	{Name: "profile", Type: reflect.TypeFor[profile](), Doc: "Profile fills the limits."},
	{Name: "listen", Type: reflect.TypeFor[listenConfig](), Doc: "Listen says where clients connect."},
	{Name: "guards.rate", Type: reflect.TypeFor[guardSection[rateConfig]](), Doc: "Rate bounds requests."},
	{Name: "guards.identity", Type: reflect.TypeFor[guardSection[identityConfig]](), Doc: "Identity tells who calls."},
	{Name: "apis[]", Type: reflect.TypeFor[apiConfig](), Doc: "An API is one set of operations."},
	{Name: "apis[].upstream", Type: reflect.TypeFor[upstreamConfig](), Doc: "Upstream says how servers are called."},
	{Name: "apis[].guards.rate", Type: reflect.TypeFor[guardSection[rateConfig]](), Doc: "Replaces guards.rate."},
}

const sample = `# The shop.
profile: edge
listen:
  url: https://shop.example.com:8443
  handshake: 5s
  head: 16KiB
  fields: 128
  trusted_proxies:
    - 192.0.2.0/24
    - 2001:db8::/32
  tls:
    certificate: /etc/shop/tls.crt
    key: file:/etc/shop/tls.key
    minimum: "1.3"
guards:
  rate:
    per_address: 50
    burst: 200
    share: 0.5
    count_refused: true
    dry_run:
      accept_risk: "measured before it denies"
      until: 2026-12-31
  identity:
    issuers:
      - url: https://idp.example.com/realms/shop
        audience: shop
        skew: 30s
apis:
  - name: orders
    hosts: [shop.example.com, "www.example.com"]
    to:
      - http://127.0.0.1:9001
      - http://127.0.0.1:9002
    operations:
      "GET /orders/{id}":
        roles: [customer]
      "POST /v1.0/orders":
        public: false
    upstream:
      connect: 2s
      balance: round_robin
    guards:
      rate:
        burst: 10
  - name: catalogue
    hosts:
      - shop.example.com
    to: http://127.0.0.1:9003
`

// checkSample does with a document what cmd does with a real one: every section decoded, every other key unknown.
func checkSample(file string, data []byte) error {
	d, err := config.Parse(file, data)
	if d == nil {
		return err
	}
	errs := []error{err, d.Unknown("", []string{"profile", "listen", "guards", "apis"}), d.Unknown("guards", []string{"rate", "identity"})}
	_, _, err = config.Section[profile](d, "profile")
	errs = append(errs, err)
	_, _, err = config.Section[listenConfig](d, "listen")
	errs = append(errs, err)
	_, _, err = config.Section[guardSection[rateConfig]](d, "guards.rate")
	errs = append(errs, err)
	_, _, err = config.Section[guardSection[identityConfig]](d, "guards.identity")
	errs = append(errs, err)
	list, _, err := config.Section[[]apiConfig](d, "apis")
	errs = append(errs, err)
	for i := range list {
		path := "apis[" + string(rune('0'+i%10)) + "]"
		if i > 9 {
			break
		}
		errs = append(errs, d.Unknown(path+".guards", []string{"rate"}))
		_, _, err = config.Section[upstreamConfig](d, path+".upstream")
		errs = append(errs, err)
		_, _, err = config.Section[guardSection[rateConfig]](d, path+".guards.rate")
		errs = append(errs, err)
	}
	return config.Merge(errs...)
}
