package adversary

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// reading is what somebody else's parser understands of a request's bytes.
type reading struct {
	Error    string
	Method   string
	Host     string // without its port
	Segments []string
	Query    [][2]string
	Event    string
}

// tool finds a program that the readers need; a missing one is a failure.
func tool(t testing.TB, name, install string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("%s is missing; run: scripts/need %s=%s", name, name, install)
	return ""
}

// byGo reads with net/http and net/url.
func byGo(raw string) (reading, error) {
	reader := bufio.NewReader(strings.NewReader(raw))
	request, err := http.ReadRequest(reader)
	if err != nil {
		return reading{}, err
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return reading{}, err
	}
	if n := reader.Buffered(); n > 0 {
		return reading{}, fmt.Errorf("%d bytes behind the request", n)
	}
	r := reading{Method: request.Method, Host: (&url.URL{Host: request.Host}).Hostname(), Event: request.Header.Get("Gatehouse-Event")}
	return r, r.target(request.URL.EscapedPath(), request.URL.RawQuery)
}

// target fills in segments and query, by net/url.
func (r *reading) target(path, query string) error {
	for _, s := range strings.Split(path, "/")[1:] {
		segment, err := url.PathUnescape(s)
		if err != nil {
			return err
		}
		r.Segments = append(r.Segments, segment)
	}
	if _, err := url.ParseQuery(query); err != nil {
		return err
	}
	for _, pair := range strings.Split(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return err
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return err
		}
		r.Query = append(r.Query, [2]string{n, v})
	}
	return nil
}

// byNode reads all of them with Node's parser, one after the other on one connection.
func byNode(t *testing.T, raws []string) []reading {
	t.Helper()
	node := exec.Command(tool(t, "node", "nodejs"), filepath.Join("testdata", "reader.js"))
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	node.Stderr = os.Stderr
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = stdin.Close(), node.Wait() }()
	decoder := json.NewDecoder(stdout)
	var up struct{ Port int }
	if err := decoder.Decode(&up); err != nil {
		t.Fatal(err)
	}
	c := feed(t, fmt.Sprintf("127.0.0.1:%d", up.Port), raws)
	defer c.Close()
	list := make([]reading, len(raws))
	for i := range list {
		if err := decoder.Decode(&list[i]); err != nil {
			t.Fatal(err)
		}
		if list[i].Error != "" {
			t.Fatalf("Node refuses %q: %s", raws[i], list[i].Error)
		}
	}
	return list
}

// feed writes all requests on one connection and throws the answers away.
func feed(t *testing.T, address string, raws []string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.Copy(io.Discard, c) }()
	if _, err := io.WriteString(c, strings.Join(raws, "")); err != nil {
		t.Fatal(err)
	}
	return c
}

// startNginx runs nginx with a configuration of one http block, in which DIR stands for a directory of its own, until the
// test ends. It gives the directory.
func startNginx(t *testing.T, block, address string) string {
	t.Helper()
	dir := t.TempDir()
	text := "daemon off; master_process off; pid DIR/pid; error_log DIR/error.log; events {}\nhttp {\n" +
		"client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;\n" + block + "\n}\n"
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, address, exec.Command(tool(t, "nginx", "nginx-light"), "-c", config, "-p", dir), new(lines))
	return dir
}

// start runs a server until the test ends, and waits until it listens.
func start(t *testing.T, address string, c *exec.Cmd, log *lines) {
	t.Helper()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Process.Kill(), c.Wait() })
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if probe, err := net.Dial("tcp", address); err == nil {
			probe.Close()
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("%s does not listen: %s", c.Path, log.String())
		}
	}
}

// byNginx reads all of them with nginx's parser: what it would route by.
func byNginx(t *testing.T, raws []string) []reading {
	t.Helper()
	address := loopback.Address()
	dir := startNginx(t, `log_format seen escape=json '["$request_method","$host","$uri","$args","$http_gatehouse_event"]';
		access_log DIR/seen.log seen; keepalive_requests 1000000; large_client_header_buffers 8 32k;
		server { listen `+address+`; location / { return 200; } }`, address)
	c := feed(t, address, raws)
	defer c.Close()
	var rows [][5]string
	for began := time.Now(); len(rows) < len(raws); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, "seen.log"))
		if err != nil {
			t.Fatal(err)
		}
		rows = rows[:0]
		for line := range strings.Lines(string(text)) {
			var row [5]string
			if err := json.Unmarshal([]byte(line), &row); err == nil {
				rows = append(rows, row)
			} else if strings.HasSuffix(line, "\n") {
				t.Fatalf("%q: %v", line, err)
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("nginx read %d of %d requests", len(rows), len(raws))
		}
	}
	list := make([]reading, len(rows))
	for i, row := range rows {
		list[i] = reading{Method: row[0], Host: strings.Trim(row[1], "[]"), Event: row[4], Segments: strings.Split(row[2], "/")[1:]}
		escaped := &url.URL{Path: row[2]}
		if err := list[i].target("/", row[3]); err != nil {
			t.Fatal(err)
		}
		list[i].Segments = strings.Split(escaped.Path, "/")[1:] // nginx has decoded it; no segment holds a slash (row A1)
	}
	return list
}
