package firewall

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// directives are Coraza's recommended ones with the Core Rule Set's default setup, which is paranoia 1 and a threshold of 5.
const directives = `Include @coraza.conf-recommended
Include @crs-setup.conf.example
` + expected + `Include @owasp_crs/*.conf
SecRuleEngine On
SecResponseBodyAccess Off
SecAuditEngine Off
`

// expected says what the contract says to Gatehouse, in the words of an operator: the API has these methods, takes JSON patches,
// and octet-streams are allowed and not looked into.
const expected = `SecRule REQUEST_HEADERS:Content-Type "@streq application/octet-stream" "id:10001,phase:1,pass,nolog,t:none,ctl:requestBodyAccess=Off,setvar:'tx.allowed_request_content_type=|application/octet-stream|'"
SecRule REQUEST_HEADERS:Content-Type "@streq application/json-patch+json" "id:10002,phase:1,pass,nolog,t:none,ctl:requestBodyProcessor=JSON,setvar:'tx.allowed_request_content_type=|application/json-patch+json|'"
SecAction "id:10003,phase:1,pass,nolog,t:none,setvar:'tx.allowed_methods=GET HEAD POST OPTIONS PUT PATCH DELETE'"
`

// coraza is the bare proxy, with Coraza when there are directives.
func (f *Field) coraza(directives string) (*Server, error) {
	args := []string{"-listen", "ADDRESS", "-to", "http://" + f.behind.Address}
	file := ""
	if directives != "" {
		file = f.fresh("coraza.conf")
		args = append(args, "-directives", f.path(file))
	}
	return f.launch(file, directives, filepath.Join(f.binaries, "corazaproxy"), args...)
}

// caddy is Caddy, with Coraza as a handler when waf is true. Its adapter wants a site by its port alone.
func (f *Field) caddy(waf bool) (*Server, error) {
	rules := ""
	if waf {
		rules = "\t\tcoraza `" + directives + "`\n"
	}
	file := f.fresh("Caddyfile")
	text := "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\nhttp://:PORT {\n\tbind 127.0.0.1\n\troute {\n" + rules +
		"\t\treverse_proxy " + f.behind.Address + "\n\t}\n}\n"
	return f.launch(file, text, filepath.Join(f.binaries, "caddywaf"), "run", "--adapter", "caddyfile", "--config", f.path(file))
}

// nginx starts it with what stands outside of http and what stands inside.
func (f *Field) nginx(name, outside, inside string) (*Server, error) {
	name = f.fresh(name)
	conf := fmt.Sprintf(`%s
daemon off; worker_processes 1; pid %s/%s.pid; error_log %s/%s.log crit;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;
%s }
`, outside, f.dir, name, f.dir, name, f.dir, f.dir, f.dir, f.dir, f.dir, inside)
	return f.launch(name+".conf", conf, "nginx", "-c", f.path(name+".conf"))
}

// module is nginx's connector to ModSecurity 3, as Debian has it: built for just that nginx.
const module = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so"

// modsecurity is nginx with ModSecurity as Debian sets it up, with the Core Rule Set of the others in place of Debian's older
// one: what is compared is the engine.
func (f *Field) modsecurity(waf bool) (*Server, error) {
	if _, err := os.Stat(module); err != nil {
		return nil, err
	}
	load, on := "", ""
	if waf {
		if err := f.rules(); err != nil {
			return nil, err
		}
		load, on = "load_module "+module+";", "modsecurity on; modsecurity_rules_file "+f.path("modsecurity.conf")+";"
	}
	return f.nginx("front", load, on+`
	upstream behind { server `+f.behind.Address+`; keepalive 64; keepalive_requests 100000000; }
	server { listen ADDRESS; keepalive_requests 100000000; client_max_body_size 8m; client_body_buffer_size 2m; large_client_header_buffers 8 64k;
		location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering on; } }`)
}

// rules writes the Core Rule Set and the directives for ModSecurity. Its reader takes a chained rule without actions for
// unfinished when the next rule follows without an empty line, which the published files with their comments have.
func (f *Field) rules() error {
	err := fs.WalkDir(coreruleset.FS, "@owasp_crs", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(coreruleset.FS, name)
		if err != nil {
			return err
		}
		return f.write(path.Join("crs", path.Base(name)), strings.ReplaceAll(string(text), "\nSecRule ", "\n\nSecRule "))
	})
	if err != nil {
		return err
	}
	setup, err := fs.ReadFile(coreruleset.FS, "@crs-setup.conf.example")
	if err != nil {
		return err
	}
	if err := f.write("crs-setup.conf", string(setup)); err != nil {
		return err
	}
	return f.write("modsecurity.conf", `Include /etc/nginx/modsecurity.conf
SecRuleEngine On
SecAuditEngine Off
SecStatusEngine Off
SecResponseBodyAccess Off
SecRequestBodyNoFilesLimit 2097152
Include `+f.path("crs-setup.conf")+`
`+expected+`Include `+f.path("crs")+`/*.conf
`)
}
