// Command corazaproxy is the yardstick of the WAF's benchmark: net/http's own ReverseProxy with Coraza before it, by Coraza's
// own wrapper, and the Core Rule Set that the engine's authors publish. Without directives it is the same proxy without a WAF,
// so that the difference of both is what Coraza takes.
package main

import (
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	corazahttp "github.com/corazawaf/coraza/v3/http"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	to := flag.String("to", "", "URL of the server behind")
	directives := flag.String("directives", "", "file of SecLang directives; without it, no WAF")
	flag.Parse()
	log.Fatal(serve(*listen, *to, *directives))
}

func serve(listen, to, directives string) error {
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
	var handler http.Handler = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024, MaxIdleConns: 1024, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
	}
	if directives != "" {
		text, err := os.ReadFile(directives)
		if err != nil {
			return err
		}
		waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(string(text)))
		if err != nil {
			return err
		}
		handler = corazahttp.WrapHandler(waf, handler)
	}
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}
