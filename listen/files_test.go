package listen

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const fewFiles = 256

// TestMain runs the server of TestFewFiles when the test binary is started as one.
func TestMain(m *testing.M) {
	if os.Getenv("GATEHOUSE_TEST_FEW_FILES") != "" {
		serveWithFewFiles()
		return
	}
	os.Exit(m.Run())
}

func serveWithFewFiles() {
	limit := syscall.Rlimit{Cur: fewFiles, Max: fewFiles}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	address, _ := ParseAddress("http://127.0.0.1:0")
	s, err := New(Config{At: []Address{address}}, Deps{Handler: http.HandlerFunc(tell), Now: time.Now})
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	admin, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		_ = http.Serve(admin, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, s.Connections()) }))
	}()
	go func() { _ = s.Serve(s.ctx) }()
	fmt.Println(strings.TrimPrefix(s.Addresses()[0], "http://"), admin.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test has ended
}

// H12: with 256 files, a flood from many addresses gets fewer than half of them; the admin address answers all the time, and
// the clients who have a connection are served.
func TestFewFiles(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GATEHOUSE_TEST_FEW_FILES=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	var where, admin string
	if _, err := fmt.Fscan(bufio.NewReader(out), &where, &admin); err != nil {
		t.Fatal(err)
	}

	served := 0
	var conns []net.Conn
	for i := range 400 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(10+i/50))}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp4", where)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if n, _ := c.Read(make([]byte, 1)); n == 1 {
			served++
		}
	}
	if served == 0 || served >= fewFiles/2 {
		t.Errorf("%d connections served", served)
	}
	client := &http.Client{Timeout: 2 * time.Second}
	if _, body := get(t, client, "http://"+admin); body != fmt.Sprint(served) {
		t.Errorf("the admin address counts %s, served were %d", body, served)
	}
}
