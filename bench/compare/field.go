package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// field is the machine on which proxies are compared: a server behind, and what proxies need to start.
type field struct {
	dir, binaries string
	server        *process
	upstream      string // host:port
	issuer        issuer
	token         string
}

// prepare writes certificate, token, contract and bodies, and starts nginx as the server behind: it answers 1 KiB from memory.
func (f *field) prepare() error {
	if err := certificate(f.dir); err != nil {
		return err
	}
	var err error
	if err := os.WriteFile(filepath.Join(f.dir, "root.key"), fmt.Appendf(nil, "%x", random(32)), 0o600); err != nil {
		return err
	}
	if f.issuer, err = newIssuer(f.dir); err != nil {
		return err
	}
	if f.token, err = f.issuer.token("alice", "bench"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(f.dir, "bench.yaml"), []byte(contract), 0o600); err != nil {
		return err
	}
	f.upstream = loopback.Address()
	conf := nginxHead(f.dir, "behind") + `
	server { listen ` + f.upstream + `; keepalive_requests 100000000; client_max_body_size 1m; client_body_buffer_size 64k;
		location / { default_type application/json; return 200 '{"answer":"` + strings.Repeat("x", 1010) + `"}'; } } }`
	f.server, err = f.nginx("behind", conf, f.upstream)
	return err
}

func nginxHead(dir, name string) string {
	return fmt.Sprintf(`daemon off; worker_processes 1; pid %s/%s.pid; error_log %s/%s.log crit;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;`,
		dir, name, dir, name, dir, dir, dir, dir, dir)
}

func (f *field) nginx(name, conf, address string) (*process, error) {
	file := filepath.Join(f.dir, name+".conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return start(address, nil, "nginx", "-c", file)
}

// run starts a proxy, drives it, and stops it.
func (f *field) run(name string, b bench, d time.Duration) (result, error) {
	address := loopback.Address()
	p, err := f.proxy(name, address, b)
	if err != nil {
		return result{}, err
	}
	defer p.Stop()
	scheme := "http://"
	if b.tls {
		scheme = "https://"
	}
	connections := 32
	if b.waf { // a request takes so long that more would only queue
		connections = 4
	}
	if b.waf && b.request.body != "" { // and so long that only a few end in a short run, and what is cut off at its end counts
		connections, d = 1, max(d, 10*time.Second)
	}
	return drive(p, scheme+address, b.request, connections, d, f.dir)
}

func (f *field) proxy(name, address string, b bench) (*process, error) {
	switch name {
	case "bare":
		args := []string{"-listen", address, "-to", "http://" + f.upstream}
		if b.tls {
			args = append(args, "-cert", filepath.Join(f.dir, "tls.crt"), "-key", filepath.Join(f.dir, "tls.key"))
		}
		return start(address, nil, filepath.Join(f.binaries, "bare"), args...)
	case "gatehouse":
		return f.gatehouse(address, b)
	case "nginx":
		return f.nginx("front", f.nginxFront(address, b), address)
	case "haproxy":
		return f.haproxy(address, b)
	case "caddy":
		return f.caddy(address, b)
	}
	return nil, fmt.Errorf("no proxy %q", name)
}

func (f *field) gatehouse(address string, b bench) (*process, error) {
	scheme := "http://"
	if b.tls {
		scheme = "https://"
	}
	events := filepath.Join(f.dir, fmt.Sprintf("events-%d", time.Now().UnixNano()))
	file := filepath.Join(f.dir, "gatehouse.yaml")
	text := strings.ReplaceAll(document(scheme+address, "http://"+f.upstream, events, b.waf), "tls.", f.dir+"/tls.")
	text = strings.ReplaceAll(text, "keys.json", f.dir+"/keys.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(address, []string{"XDG_DATA_HOME=" + f.dir, "XDG_CONFIG_HOME=" + f.dir + "/config"}, filepath.Join(f.binaries, "gatehouse"), "serve", "--config", file)
}

func (f *field) nginxFront(address string, b bench) string {
	listen := address
	if b.tls {
		listen += " ssl"
	}
	return nginxHead(f.dir, "front") + `
	upstream behind { server ` + f.upstream + `; keepalive 64; keepalive_requests 100000000; }
	server { listen ` + listen + `; keepalive_requests 100000000; ssl_certificate ` + f.dir + `/tls.crt; ssl_certificate_key ` + f.dir + `/tls.key; ssl_protocols TLSv1.3;
		location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering on; } } }`
}

func (f *field) haproxy(address string, b bench) (*process, error) {
	bind := address
	if b.tls {
		bind += " ssl crt " + f.dir + "/tls.pem ssl-min-ver TLSv1.3"
	}
	conf := `global
  maxconn 4096
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend front
  bind ` + bind + `
  default_backend behind
backend behind
  server one ` + f.upstream + `
`
	file := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return start(address, nil, "haproxy", "-f", file)
}

// hasCaddy tells that it could be built.
func (f *field) hasCaddy() bool {
	_, err := os.Stat(filepath.Join(f.binaries, "caddy"))
	return err == nil
}

func (f *field) caddy(address string, b bench) (*process, error) {
	_, port, _ := net.SplitHostPort(address)
	scheme, tls := "http", ""
	if b.tls {
		scheme, tls = "https", "\ttls "+f.dir+"/tls.crt "+f.dir+"/tls.key\n"
	}
	conf := "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tdefault_sni localhost\n}\n" +
		scheme + "://:" + port + " {\n\tbind 127.0.0.1\n" + tls + "\treverse_proxy " + f.upstream + "\n}\n"
	file := filepath.Join(f.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return start(address, []string{"XDG_DATA_HOME=" + f.dir, "XDG_CONFIG_HOME=" + f.dir}, filepath.Join(f.binaries, "caddy"), "run", "--adapter", "caddyfile", "--config", file)
}
