// Command bare is the yardstick of the benchmark: net/http's own ReverseProxy with a tuned Transport and nothing else, no
// check of any kind. What Gatehouse costs is told as a multiple of it.
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	to := flag.String("to", "", "URL of the server behind")
	cert := flag.String("cert", "", "certificate file; without it, no TLS")
	key := flag.String("key", "", "key file")
	flag.Parse()
	target, err := url.Parse(*to)
	if err != nil {
		log.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024, MaxIdleConns: 1024, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
	}
	server := &http.Server{Addr: *listen, Handler: proxy, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	if *cert == "" {
		log.Fatal(server.ListenAndServe())
	}
	log.Fatal(server.ListenAndServeTLS(*cert, *key))
}
