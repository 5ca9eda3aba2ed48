package redistest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/loopback"
)

// Watched is a master with one replica, watched by Sentinels that replace the master when it is gone.
type Watched struct {
	Name      string // what the Sentinels call the master
	Master    *Server
	Replica   *Server
	Sentinels []*Server
}

// Addresses are those of the Sentinels, which is what a client is given.
func (w *Watched) Addresses() []string { return addresses(w.Sentinels) }

// Passwords are those of the default users; none: everybody may.
type Passwords struct {
	Servers   string
	Sentinels string
}

// Sentinel runs a master, a replica and n Sentinels, and waits until all know each other.
func Sentinel(t testing.TB, n int, p Passwords) *Watched {
	t.Helper()
	program(t, "redis-cli", "redis-tools")
	w := &Watched{Name: "gatehouse", Master: Start(t, Options{Password: p.Servers, Extra: []string{"--repl-diskless-sync-delay", "0"}})}
	_, port, _ := strings.Cut(w.Master.Address, ":")
	w.Replica = Start(t, Options{Password: p.Servers, Extra: []string{"--replicaof", "127.0.0.1 " + port}})
	eventually(t, "the replica follows", func() bool {
		return strings.Contains(w.Replica.Do(t, "info", "replication"), "master_link_status:up")
	})
	for range n {
		file := filepath.Join(t.TempDir(), "sentinel.conf")
		lines := []string{
			"sentinel monitor gatehouse 127.0.0.1 " + port + " " + strconv.Itoa(n/2+1),
			"sentinel down-after-milliseconds gatehouse 500", "sentinel failover-timeout gatehouse 3000",
		}
		if p.Servers != "" {
			lines = append(lines, "sentinel auth-pass gatehouse "+p.Servers)
		}
		if p.Sentinels != "" {
			lines = append(lines, "requirepass "+p.Sentinels, "sentinel sentinel-pass "+p.Sentinels)
		}
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		own := loopback.Port()
		s := &Server{Address: "127.0.0.1:" + strconv.Itoa(own), opts: Options{Password: p.Sentinels}, args: []string{file, "--port", strconv.Itoa(own), "--bind", "127.0.0.1", "--protected-mode", "no", "--sentinel"}}
		s.run(t)
		t.Cleanup(s.Kill)
		s.wait(t)
		w.Sentinels = append(w.Sentinels, s)
	}
	for _, s := range w.Sentinels {
		eventually(t, "the Sentinel knows all", func() bool {
			out := s.Do(t, "info", "sentinel")
			return strings.Contains(out, "slaves=1,sentinels="+strconv.Itoa(n))
		})
	}
	return w
}

// Cluster runs three masters that share the slots, and waits until all say that the cluster is ready.
func Cluster(t testing.TB) []*Server {
	t.Helper()
	cli := program(t, "redis-cli", "redis-tools")
	var all []*Server
	for range 3 {
		s := launch(t, Options{}, loopback.Port(), []string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(loopback.Port()), "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf",
		})
		s.wait(t)
		all = append(all, s)
	}
	args := append([]string{"--cluster", "create"}, addresses(all)...)
	if out, err := exec.Command(cli, append(args, "--cluster-yes")...).CombinedOutput(); err != nil { //nolint:gosec // as a test asks
		t.Fatalf("create the cluster: %v: %s", err, out)
	}
	for _, s := range all {
		eventually(t, "the cluster is ready", func() bool {
			return strings.Contains(s.Do(t, "cluster", "info"), "cluster_state:ok")
		})
	}
	return all
}

// Addresses of several servers.
func Addresses(all []*Server) []string { return addresses(all) }

func addresses(all []*Server) (list []string) {
	for _, s := range all {
		list = append(list, s.Address)
	}
	return list
}
