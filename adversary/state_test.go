package adversary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// told runs the program with something to read, in a gateway's folder and state.
func (g *gateway) told(stdin string, args ...string) (out string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := g.program(ctx, args...)
	c.Stdin = strings.NewReader(stdin)
	data, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err.Error(), -1
	}
	return string(data), c.ProcessState.ExitCode()
}

func (g *gateway) program(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(g.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(g.dir, "config"))
	c.Dir = g.dir
	return c
}

func (g *gateway) state(name string) string { return filepath.Join(g.dir, "data", "gatehouse", name) }

// keep puts a secret into the gateway's own store; read gets it out again.
func (g *gateway) keep(t *testing.T, name, value string) {
	t.Helper()
	if out, code := g.told(value, "secret", "set", name, "--expect", "any"); code != 0 {
		t.Fatalf("secret set: %s", out)
	}
}

func (g *gateway) read(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := g.program(ctx, "secret", "get", name)
	var errs bytes.Buffer
	c.Stderr = &errs // what it says to people
	out, err := c.Output()
	if err != nil {
		t.Fatalf("secret get: %v\n%s", err, errs.String())
	}
	return string(out)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// I5, I6: what the state is reached by is missing, empty or no certificate: nothing is served, and nothing goes on without it.
func TestStateThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		section string
		files   map[string]string
		says    string
	}{
		"I5/authority of Redis missing":        {section: "store: {shared: {url: rediss://gw@127.0.0.1:9, password: file:DIR/word, ca: DIR/none.pem}}", says: "none.pem"},
		"I5/authority of Redis empty":          {section: "store: {shared: {url: rediss://gw@127.0.0.1:9, password: file:DIR/word, ca: DIR/empty.pem}}", files: map[string]string{"empty.pem": ""}, says: "empty.pem"},
		"I5/authority of Redis is a word":      {section: "store: {shared: {url: rediss://gw@127.0.0.1:9, password: file:DIR/word, ca: DIR/word}}", says: "word"},
		"I5/authority of PostgreSQL missing":   {section: "store: {url: postgres://gw@127.0.0.1:9/gw, password: file:DIR/word, ca: DIR/none.pem}", says: "none.pem"},
		"I5/authority of PostgreSQL empty":     {section: "store: {url: postgres://gw@127.0.0.1:9/gw, password: file:DIR/word, ca: DIR/empty.pem}", files: map[string]string{"empty.pem": ""}, says: "empty.pem"},
		"I5/PostgreSQL without TLS":            {section: "store: {url: \"postgres://gw@db.test/gw?sslmode=disable\", password: file:DIR/word}", says: "store"},
		"I6/password of Redis missing":         {section: "store: {shared: {url: rediss://gw@127.0.0.1:9, password: file:DIR/none}}", says: "none"},
		"I6/password of PostgreSQL missing":    {section: "store: {url: postgres://gw@127.0.0.1:9/gw, password: file:DIR/none}", says: "none"},
		"I6/password of PostgreSQL empty":      {section: "store: {url: postgres://gw@127.0.0.1:9/gw, password: file:DIR/nil}", files: map[string]string{"nil": ""}, says: "nil"},
		"K2/password of PostgreSQL in the URL": {section: "store: {url: \"postgres://gw:" + canary + "@127.0.0.1:9/gw\"}", says: "store.url: this URL has a password in it"},
		"I6/root key missing":                  {section: "key: {root: file:DIR/none.key}", says: "none.key"},
		"I6/root key is a word":                {section: "key: {root: file:DIR/word}", says: "word"},
		"I6/root key credential missing":       {section: "key: {root: credential:none}", says: "none"},
		"K10/shares that nobody would read":    {section: "key: {root: {shares: {threshold: 2, of: 3}}}", says: "on a terminal"},
		"I6/secret that is not kept":           {section: "", says: "shop/none"},
	} {
		t.Run(name, func(t *testing.T) {
			document := good + strings.ReplaceAll(c.section, "{}", "") + "\n"
			if c.section == "" {
				document = strings.Replace(good, "file:DIR/tls.key", "store:shop/none", 1)
			}
			files := map[string]string{"word": "hello, this is a word\n"}
			for name, text := range c.files {
				files[name] = text
			}
			g := &gateway{dir: arrange(t, document, files)}
			out, code := g.told("", "serve")
			if code != 1 || strings.Contains(out, "msg=serving") || !strings.Contains(out, c.says) || strings.Contains(out, "store.store") {
				t.Errorf("serve: exit %d, want 1 and %q\n%s", code, c.says, out)
			}
			if strings.Contains(out, canary) || strings.Contains(out, "hello, this") || strings.Contains(out, "goroutine ") {
				t.Errorf("serve prints what it must not:\n%s", out)
			}
			if _, err := os.Stat(g.state("keyring.json")); strings.HasPrefix(c.section, "key:") && err == nil {
				t.Error("a keyring was made under a root key that is not there")
			}
		})
	}
}

// K7: another process of the same user reads neither memory nor variables of the gateway, and it leaves no core.
func TestTheProcessKeepsItsKeys(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	if os.Getuid() != 0 {
		t.Fatal("this needs two processes of a user that is not root; run it as root, as make test does in CI")
	}
	dir := shortDir(t)
	g, err := prepareGateway(dir, good, sharedFiles())
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program") // which the other user can reach
	writeFile(t, program, readFile(t, binary))
	err = filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		return errors.Join(err, os.Chown(name, nobody, nobody))
	})
	if err = errors.Join(err, os.Chmod(program, 0o700)); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) *exec.Cmd {
		c := exec.Command(args[0], args[1:]...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return c
	}
	g.process = as(program, "serve", "--config", filepath.Join(dir, "gatehouse.yaml"))
	g.process.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "CANARY_KEY="+canary)
	g.process.Stderr = &g.log
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.exited <- g.process.Wait() }()
	t.Cleanup(g.stop)
	for began := time.Now(); !strings.Contains(g.log.String(), "msg=serving"); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal(g.log.String())
		}
	}
	proc := fmt.Sprintf("/proc/%d/", g.process.Process.Pid)
	for _, file := range []string{"environ", "maps", "mem", "auxv"} {
		if out, err := as("/bin/cat", proc+file).CombinedOutput(); err == nil || strings.Contains(string(out), canary) {
			t.Errorf("%s can be read: %d bytes", file, len(out))
		}
	}
	if out, err := as("/bin/cat", "/proc/self/environ").CombinedOutput(); err != nil || len(out) == 0 {
		t.Fatal("the reader can read nothing at all:", err)
	}
	limits := strings.Join(strings.Fields(string(readFile(t, proc+"limits"))), " ")
	if !strings.Contains(limits, "Max core file size 0 0") {
		t.Error("it may leave a core:", limits)
	}
	if response, err := http.Get("http://" + g.admin + "/debug/pprof/heap"); err == nil {
		if response.Body.Close(); response.StatusCode != 404 {
			t.Error("pprof answers", response.Status)
		}
	}
}

// K8: whoever can write to the file of the store exchanges parts of it, brings back old ones, flips bits. Nothing of it is
// taken for what was stored.
func TestStoreThatWasTamperedWith(t *testing.T) {
	t.Parallel()
	g := &gateway{dir: arrange(t, good, nil)}
	g.keep(t, "shop/a", "the first value")
	old := readFile(t, g.state("store.db"))
	for i := range 20 {
		g.keep(t, fmt.Sprint("shop/b", i), strings.Repeat("x", 500))
	}
	g.keep(t, "shop/a", "the second value")
	now := readFile(t, g.state("store.db"))
	const block = 4096
	n := min(len(now), len(old)) / block
	if n < 3 {
		t.Fatal("a store of", len(now), "bytes")
	}
	put := func(data []byte) {
		for _, rest := range []string{"store.db-wal", "store.db-journal", "store.db-shm"} {
			_ = os.Remove(g.state(rest))
		}
		writeFile(t, g.state("store.db"), data)
	}
	refused := 0
	for i := range n {
		for name, change := range map[string]func(data []byte){
			"a bit flipped": func(data []byte) { data[i*block+rand.IntN(block)] ^= 1 << rand.IntN(8) },
			"exchanged with its neighbour": func(data []byte) {
				j := (i + 1) % n
				copy(data[i*block:(i+1)*block], now[j*block:(j+1)*block])
				copy(data[j*block:(j+1)*block], now[i*block:(i+1)*block])
			},
			"from an earlier time": func(data []byte) { copy(data[i*block:(i+1)*block], old[i*block:(i+1)*block]) },
		} {
			data := bytes.Clone(now)
			change(data)
			put(data)
			out, code := g.told("", "secret", "get", "shop/a")
			if code == 0 && out != "the second value" {
				t.Errorf("block %d %s: %q", i, name, out)
			}
			if code != 0 {
				refused++
				if strings.Contains(out, "goroutine ") || strings.Contains(out, " value") && strings.Contains(out, "the first") || len(out) < 40 {
					t.Errorf("block %d %s: %s", i, name, out)
				}
			}
		}
	}
	if refused < n {
		t.Errorf("of %d changes %d were seen", 3*n, refused)
	}
	put(now)
	if got := g.read(t, "shop/a"); got != "the second value" {
		t.Errorf("%q", got)
	}
}

// K9: a rotation that is killed at any instant loses nothing and goes on where it was; afterwards an old copy of the keyring
// opens nothing any more.
func TestRotationKilled(t *testing.T) {
	t.Parallel()
	g := &gateway{dir: arrange(t, good, nil)}
	for i := range 10 {
		g.keep(t, fmt.Sprint("shop/v", i), fmt.Sprint("value-", i))
	}
	before := readFile(t, g.state("keyring.json"))
	began := time.Now()
	if out, code := g.told("", "key", "rotate"); code != 0 {
		t.Fatal(out)
	}
	whole := time.Since(began)
	for range 15 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.Int64N(int64(whole))))
		_ = g.program(ctx, "key", "rotate").Run() // killed by the end of ctx
		cancel()
		i := rand.IntN(10)
		if got := g.read(t, fmt.Sprint("shop/v", i)); got != fmt.Sprint("value-", i) {
			t.Fatalf("shop/%d is %q", i, got)
		}
	}
	if out, code := g.told("", "key", "rotate"); code != 0 {
		t.Fatal(out)
	}
	for i := range 10 {
		if got := g.read(t, fmt.Sprint("shop/v", i)); got != fmt.Sprint("value-", i) {
			t.Errorf("shop/%d is %q", i, got)
		}
	}
	after := readFile(t, g.state("keyring.json"))
	writeFile(t, g.state("keyring.json"), before)
	if out, code := g.told("", "secret", "get", "shop/v1"); code == 0 || strings.Contains(out, "value-") || strings.Contains(out, "goroutine ") {
		t.Errorf("an old keyring opens what was sealed after it: exit %d\n%s", code, out)
	}
	writeFile(t, g.state("keyring.json"), after)
	if got := g.read(t, "shop/v1"); got != "value-1" {
		t.Errorf("after the old keyring: %q", got)
	}
}

// K10: a start that waits for shares takes right ones, in any order and number, and wrong ones cost whoever guesses time and
// nobody else anything. Each attempt is written down.
func TestSharesOfTheRootKey(t *testing.T) {
	t.Parallel()
	g, err := prepareGateway(shortDir(t), good, sharedFiles())
	if err != nil {
		t.Fatal(err)
	}
	g.keep(t, "shop/a", "kept")
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(g.dir, "next.yaml"), []byte(strings.ReplaceAll(good, "DIR", g.dir)+"key: {root: {shares: {threshold: 2, of: 3}}}\n"))
	out, code := g.told("", "key", "rekey", "--config", "next.yaml")
	shares := regexp.MustCompile(`(?m)^ {4}(\S+)$`).FindAllStringSubmatch(out, -1)
	if code != 0 || len(shares) != 3 {
		t.Fatalf("exit %d, %d shares\n%s", code, len(shares), out)
	}
	_ = g.process.Process.Signal(syscall.SIGTERM)
	<-g.exited
	for _, s := range shares {
		if strings.Contains(g.log.String(), s[1]) {
			t.Error("a share stands in the log")
		}
	}
	g.log = lines{}
	started := make(chan error, 1)
	writeFile(t, filepath.Join(g.dir, "gatehouse.yaml"), readFile(t, filepath.Join(g.dir, "next.yaml")))
	go func() { started <- g.start() }()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if left, _ := filepath.Glob(g.state("control/*.sock")); len(left) > 0 {
			break
		}
		if time.Since(began) > patience {
			t.Fatal("nobody waits for shares")
		}
	}
	wrong := []byte(shares[0][1])
	wrong[len(wrong)-2] ^= 1
	slow := 0
	for range 20 {
		out, code := g.told(string(wrong), "key", "share")
		if code == 0 || strings.Contains(out, string(wrong)) {
			t.Fatalf("a wrong share: exit %d\n%s", code, out)
		}
		if strings.Contains(out, "wait") {
			slow++
		}
	}
	if slow == 0 {
		t.Error("twenty guesses, and none had to wait")
	}
	for i := 0; i < 2; {
		if out, code := g.told(shares[i][1], "key", "share"); code == 0 {
			i++
		} else if !strings.Contains(out, "wait") {
			t.Fatalf("a right share: %s", out)
		} else {
			time.Sleep(100 * time.Millisecond)
		}
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	if got := g.read(t, "shop/a"); got != "kept" {
		t.Errorf("%q", got)
	}
	if log := g.log.String(); strings.Count(log, "a share of the root key was given") < 20 || strings.Contains(log, shares[0][1]) {
		t.Errorf("what the log says of shares:\n%s", log)
	}
}

// I14: the gateway is killed at any instant while others have it change things: what it acknowledged is there after the
// restart, and the chain of events is whole.
func TestKilledWhileItChangesThings(t *testing.T) {
	t.Parallel()
	g, err := prepareGateway(shortDir(t), good, sharedFiles())
	if err != nil {
		t.Fatal(err)
	}
	acknowledged, tried := 0, 0
	for range 6 {
		if err := g.start(); err != nil {
			t.Fatal(err)
		}
		killed := make(chan struct{})
		time.AfterFunc(time.Duration(rand.Int64N(int64(400*time.Millisecond))), func() { _ = g.process.Process.Kill(); close(killed) })
		for ended := false; !ended; {
			select {
			case <-killed:
				ended = true
			default:
			}
			tried++
			if _, code := g.told(fmt.Sprint("value-", tried), "secret", "set", "shop/a", "--expect", "any"); code == 0 {
				acknowledged = tried
			}
		}
		<-g.exited
		got := 0
		if _, err := fmt.Sscanf(g.read(t, "shop/a"), "value-%d", &got); err != nil || got < acknowledged {
			t.Fatalf("value %d is there, %d was acknowledged: %v", got, acknowledged, err)
		}
		g.log = lines{}
	}
	if acknowledged == 0 {
		t.Fatal("nothing was ever acknowledged")
	}
	if err := g.events.verify(); err != nil {
		t.Error(err)
	}
}
