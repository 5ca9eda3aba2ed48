// Command caddywaf is Caddy with Coraza in its chain of handlers, by Coraza's own wrapper for net/http, with the engine and
// the Core Rule Set that Gatehouse has: what it costs tells of the gateways and not of their rules. In a Caddyfile:
// "coraza" in a route, before reverse_proxy.
//
// It stands for coraza-caddy, which does the same. That module isn't used since no checksum database told its checksum
// where this was built; what can't be verified isn't built.
package main

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	corazahttp "github.com/corazawaf/coraza/v3/http"
)

func main() {
	caddy.RegisterModule(new(inspector))
	httpcaddyfile.RegisterHandlerDirective("coraza", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next() // its name
		in := new(inspector)
		if h.NextArg() {
			in.Directives = h.Val()
		}
		return in, nil
	})
	caddycmd.Main()
}

// inspector is the handler.
type inspector struct {
	Directives string `json:"directives"` // SecLang; it may include files of the Core Rule Set by their names there
	waf        coraza.WAF
}

// CaddyModule names it.
func (*inspector) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_coraza", New: func() caddy.Module { return new(inspector) }}
}

// Provision compiles the rules.
func (in *inspector) Provision(caddy.Context) (err error) {
	in.waf, err = coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(in.Directives))
	return err
}

// ServeHTTP asks the rules and goes on.
func (in *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	corazahttp.WrapHandler(in.waf, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err = next.ServeHTTP(w, r)
	})).ServeHTTP(w, r)
	return err
}
