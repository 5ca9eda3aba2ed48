//go:build linux

package state

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// ip runs the tool of that name from iproute2.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v %s; apt-get install iproute2; these tests need root", args, err, out)
	}
}

// room is a network namespace with three cables out of it: to PostgreSQL, to Redis, and to the server behind. Cutting one
// leaves connections as they are, with nothing coming through, as when a switch dies.
type room struct {
	name   string
	cables map[string]string // outer ends, by what they lead to
}

// newRoom makes the nth room. Its addresses outside are 10.88.n.1, .5 and .9.
func newRoom(t *testing.T, n int) *room {
	t.Helper()
	r := &room{name: fmt.Sprintf("gh%d-%d", os.Getpid()%100000, n), cables: map[string]string{}}
	ip(t, "netns add "+r.name)
	t.Cleanup(func() { ip(t, "netns del "+r.name) })
	ip(t, "-n "+r.name+" link set lo up")
	for i, what := range []string{"postgres", "redis", "behind"} {
		outer, inner := fmt.Sprintf("gh%d%d%c", os.Getpid()%100000, n, what[0]), fmt.Sprintf("in-%s", what)
		ip(t, "link add "+outer+" type veth peer name "+inner+" netns "+r.name)
		ip(t, fmt.Sprintf("addr add 10.88.%d.%d/30 dev %s", n, 4*i+1, outer))
		ip(t, fmt.Sprintf("-n %s addr add 10.88.%d.%d/30 dev %s", r.name, n, 4*i+2, inner))
		ip(t, "link set "+outer+" up")
		ip(t, "-n "+r.name+" link set "+inner+" up")
		r.cables[what] = outer
		t.Cleanup(func() { ip(t, "link del "+outer) }) // sockets that nobody owns keep a namespace for minutes
	}
	return r
}

// address is where something outside is reached from this room, by way of a relay.
func (r *room) address(t *testing.T, n, place int, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("10.88.%d.%d:0", n, 4*place+1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go relay(c, to)
		}
	}()
	return l.Addr().String()
}

func relay(c net.Conn, to string) {
	d, err := net.Dial("tcp", to)
	if err != nil {
		_ = c.Close()
		return
	}
	go func() { _, _ = io.Copy(d, c); _ = d.Close() }()
	_, _ = io.Copy(c, d)
	_ = c.Close()
}

func (r *room) cut(t *testing.T, what string)  { ip(t, "link set "+r.cables[what]+" down") }
func (r *room) mend(t *testing.T, what string) { ip(t, "link set "+r.cables[what]+" up") }

// dial connects from inside the room: a socket stays in the namespace in which it was made.
func (r *room) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var fd int
		if fd, err = unix.Open("/var/run/netns/"+r.name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return
		}
		_, port, _ := net.SplitHostPort(address)
		var n int
		_, _ = fmt.Sscan(port, &n)
		var s int
		if s, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		file := os.NewFile(uintptr(s), "socket")
		defer file.Close()
		if err = unix.Connect(s, &unix.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return
		}
		c, err = net.FileConn(file)
	}()
	<-done
	return c, err
}

// furnish puts a gateway into the room. All rooms have the same document but for its addresses, which stand in files of the
// host's names; the document itself is one text.
func (s *setting) furnish(t *testing.T, r *room, n int, pg, redisAddress, redisCA, pgCA, database string) *home {
	t.Helper()
	in := *s
	behind, err := url.Parse(s.behind)
	if err != nil {
		t.Fatal(err)
	}
	in.behind = "http://" + r.address(t, n, 2, behind.Host)
	in.store = s.postgres(t, "postgres://"+pgtest.Role+"@"+r.address(t, n, 0, pg)+"/"+database, pgCA) + "  server_name: 127.0.0.1\n" +
		s.redis(t, r.address(t, n, 1, redisAddress), redisCA) + "    server_name: 127.0.0.1\n"
	in.more += fmt.Sprintf("fleet: {name: node-%d, heartbeat: 500ms, revocations: {max_lag: 4s}}\n", n)
	h := in.newHome(t)
	h.dial = r.dial
	h.as = func(c *exec.Cmd) {
		if len(c.Args) > 1 && c.Args[1] == "serve" {
			c.Args = append([]string{"ip", "netns", "exec", r.name, c.Path}, c.Args[1:]...)
			c.Path, c.Err = exec.LookPath("ip")
		}
	}
	return h
}

// storm asks for a path with many callers at once for a time, and gives how long answers took, and how many had each status.
func storm(h *home, path string, token func(i int) string, d time.Duration) (took []time.Duration, status map[int]int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	status = map[int]int{}
	end := time.Now().Add(d)
	for w := range 4 {
		all.Go(func() {
			c := h.client()
			for i := w; time.Now().Before(end); i += 4 {
				begin := time.Now()
				got := h.get(c, path, token(i))
				mu.Lock()
				took = append(took, time.Since(begin))
				status[got]++
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took, status
}

func p99(took []time.Duration) time.Duration { return took[len(took)*99/100] }

// TestPartitions cuts one of two nodes off from Redis but not from PostgreSQL, then the reverse, then from both. Requests
// neither wait nor get through that shouldn't.
func TestPartitions(t *testing.T) {
	t.Parallel()
	p, red := pgtest.Start(t), startRedis(t)
	s := newSetting(t)
	cfg := p.Database(t)
	database := cfg.URL[strings.LastIndexByte(cfg.URL, '/')+1:]
	s.more = "key: {root: \"file:" + write(t, s.dir+"/root.key", randomKey()+"\n") + "\"}\n"
	rooms := []*room{newRoom(t, 1), newRoom(t, 2)}
	var homes []*home
	for i, r := range rooms {
		homes = append(homes, s.furnish(t, r, i+1, p.Address(), red.Address, red.CAFile, p.CA(), database))
	}
	nodes := startAll(t, homes)
	within(t, "two rooms", reach(t, s, nodes, "whole", 6), time.Second)
	one := "" // of the seconds of the start, none is taken: they may have been used before it
	until(t, "a token for one use is taken", 15*time.Second, func() bool {
		one = s.issuer.token("ann", fmt.Sprintf("used-once-%d", time.Now().UnixNano()))
		return nodes[0].get(nodes[0].client(), "/once/ping", one) == http.StatusOK
	})
	if got := nodes[1].get(nodes[1].client(), "/once/ping", one); got != http.StatusUnauthorized {
		t.Errorf("a token for one use gets %d at the other node", got)
	}

	exhaust := func(subject string) (admitted int) {
		_, status := storm(nodes[0].home, "/limited/ping", func(int) string { return s.issuer.token(subject, "limit-"+subject) }, 900*time.Millisecond)
		return status[http.StatusOK]
	}
	good := func(i int) string { return s.issuer.token("good", fmt.Sprintf("good-%d", i)) }
	for _, c := range []struct {
		cut  []string
		once int // what a token for one use gets at the node that is cut off
	}{
		{[]string{"redis"}, http.StatusServiceUnavailable},
		{[]string{"postgres"}, http.StatusOK},
	} {
		t.Run("without "+strings.Join(c.cut, " and "), func(t *testing.T) {
			subject := "limited-" + c.cut[0]
			before := exhaust(subject)
			for _, what := range c.cut {
				rooms[0].cut(t, what)
			}
			took, status := storm(nodes[0].home, "/open/ping", good, 2500*time.Millisecond)
			t.Logf("requests at the node that is cut off: %v, p50 %v, p99 %v, worst %v", status, took[len(took)/2].Round(time.Microsecond), p99(took).Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond))
			if len(status) != 1 || p99(took) > 500*time.Millisecond {
				t.Error("requests wait, or are refused")
			}
			took, status = storm(nodes[0].home, "/limited/ping", func(int) string { return s.issuer.token(subject, "limit-"+subject) }, time.Second)
			t.Logf("the limit of %d, of which %d were admitted before: %v, p99 %v", s.burst, before, status, p99(took).Round(time.Microsecond))
			if all := before + status[http.StatusOK]; all > s.burst*102/100+2 || status[0] > 0 {
				t.Errorf("%d admitted of %d", all, s.burst)
			}
			if got := nodes[0].get(nodes[0].client(), "/open/ping", s.issuer.token("ann", "whole-1")); got != http.StatusUnauthorized {
				t.Errorf("what was called back before gets %d", got)
			}
			took, status = storm(nodes[0].home, "/once/ping", func(i int) string {
				return s.issuer.token("once", fmt.Sprintf("once-%s-%d-%d", subject, i, time.Now().UnixNano()))
			}, time.Second)
			t.Logf("single use: %v, p99 %v", status, p99(took).Round(time.Microsecond))
			if status[c.once] == 0 || len(status) > 1 || p99(took) > 1500*time.Millisecond {
				t.Errorf("single use: %v, p99 %v, want %d", status, p99(took), c.once)
			}
			if got := nodes[0].get(nodes[0].client(), "/once/ping", one); got == http.StatusOK {
				t.Error("a token for one use is taken again")
			}
			// called back at the node that is whole: the other learns it on the way that is left
			within(t, "called back elsewhere, at the node that is cut off", reach(t, s, []*gateway{nodes[1], nodes[0]}[:1], "away-"+c.cut[0], 1), time.Second)
			client := nodes[0].client()
			lag := until(t, "the node that is cut off refuses", 5*time.Second, func() bool {
				return nodes[0].get(client, "/open/ping", s.issuer.token("ann", "away-"+c.cut[0]+"-0")) == http.StatusUnauthorized
			})
			t.Logf("refused there after %v", lag.Round(time.Millisecond))
			if lag > time.Second {
				t.Errorf("refused after %v", lag)
			}
			for _, what := range c.cut {
				rooms[0].mend(t, what)
			}
			back := until(t, "all is well again", 30*time.Second, func() bool {
				return nodes[0].get(client, "/once/ping", s.issuer.token("once", fmt.Sprint(time.Now().UnixNano()))) == http.StatusOK &&
					strings.Contains(nodes[0].must(t, "store", "status"), "it can be written")
			})
			t.Logf("all is well again %v after the cable is back", back.Round(time.Millisecond))
		})
	}
	t.Run("without both", func(t *testing.T) {
		rooms[0].cut(t, "redis")
		rooms[0].cut(t, "postgres")
		client := nodes[0].client()
		nodes[1].must(t, "token", "revoke", "--id", "blind")
		lag := until(t, "the node that hears nothing refuses every token", 10*time.Second, func() bool {
			return nodes[0].get(client, "/open/ping", s.issuer.token("good", "whatever")) == http.StatusServiceUnavailable
		})
		t.Logf("with max_lag 4s every token gets 503 after %v", lag.Round(100*time.Millisecond))
		if got := nodes[0].get(client, "/open/ping", s.issuer.token("ann", "blind")); got == http.StatusOK {
			t.Error("called back, and taken")
		}
		rooms[0].mend(t, "redis")
		rooms[0].mend(t, "postgres")
		until(t, "tokens are taken again", 30*time.Second, func() bool {
			return nodes[0].get(client, "/open/ping", s.issuer.token("good", "whatever")) == http.StatusOK
		})
		if got := nodes[0].get(client, "/open/ping", s.issuer.token("ann", "blind")); got != http.StatusUnauthorized {
			t.Errorf("what was called back meanwhile gets %d", got)
		}
	})
}
