package upstream

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// still is a group of servers that nothing is sent to.
func still(n int) []*server {
	cfg := Config{}.withDefaults()
	list := make([]*server, n)
	for i := range list {
		t := target{name: fmt.Sprintf("http://s%d:80", i)}
		list[i] = &server{target: t, hash: digest(t.name), most: 1000}
		list[i].breaker.cfg, list[i].ejector.cfg = cfg.Breaker, cfg.Health
		list[i].ejector.clean.Store(true)
	}
	return list
}

func balancers() map[string]balancer {
	random := rand.New(rand.NewPCG(1, 2))
	var turn uint64
	return map[string]balancer{
		"power_of_two": powerOfTwo(random.Uint64),
		"round_robin":  roundRobin(func() uint64 { turn++; return turn }),
		"hash":         rendezvous(powerOfTwo(random.Uint64)),
	}
}

// What every balancer promises.
func TestBalancerConformance(t *testing.T) {
	now := time.Now()
	for name, pick := range balancers() {
		t.Run(name+"/spreads evenly", func(t *testing.T) {
			servers, got := still(5), make([]int, 5)
			for i := range 10000 {
				got[pick(servers, &choice{key: fmt.Sprint(i), now: now})]++
			}
			for i, n := range got {
				if n < 1700 || n > 2300 {
					t.Errorf("server %d got %d of 10000 among 5", i, n)
				}
			}
		})
		t.Run(name+"/leaves out what may not serve", func(t *testing.T) {
			servers := still(6)
			servers[0].ejector.down.Store(true)
			servers[1].busy.Store(1000)
			servers[2].breaker.state.Store(open)
			servers[2].breaker.opened = now
			for range servers[3].ejector.cfg.EjectAfter {
				servers[3].ejector.record(bad, now, now)
			}
			for i := range 1000 {
				c := choice{key: fmt.Sprint(i), now: now}
				c.skip.add(4)
				if got := pick(servers, &c); got != 5 {
					t.Fatalf("server %d", got)
				}
				c.lax = true
				c.skip.add(5)
				if got := pick(servers, &c); got != 0 && got != 3 {
					t.Fatalf("lax: server %d", got)
				}
			}
		})
		t.Run(name+"/says when there is none", func(t *testing.T) {
			for n := range 4 {
				servers := still(n + 1)
				c := choice{key: "k", now: now}
				for i := range servers {
					c.skip.add(i)
				}
				if got := pick(servers, &c); got != -1 {
					t.Errorf("server %d of %d", got, n+1)
				}
			}
		})
	}
}

func TestPowerOfTwoPrefersTheLessBusy(t *testing.T) {
	servers := still(2)
	servers[0].busy.Store(5)
	pick := balancers()["power_of_two"]
	for range 100 {
		if got := pick(servers, &choice{now: time.Now()}); got != 1 {
			t.Fatal("the busy one was taken")
		}
	}
}

// A key stays with its server; when a server goes, only its own keys move; when it is back, so are they.
func TestHashIsConsistent(t *testing.T) {
	servers, pick, now := still(8), balancers()["hash"], time.Now()
	home := map[string]int{}
	for i := range 2000 {
		key := fmt.Sprint("user", i)
		home[key] = pick(servers, &choice{key: key, now: now})
	}
	servers[3].ejector.down.Store(true)
	for key, was := range home {
		is := pick(servers, &choice{key: key, now: now})
		if is == 3 || was != 3 && is != was {
			t.Fatalf("%s moved from %d to %d", key, was, is)
		}
	}
	servers[3].ejector.down.Store(false)
	for key, was := range home {
		if is := pick(servers, &choice{key: key, now: now}); is != was {
			t.Fatalf("%s did not come back", key)
		}
	}
}

func TestBudget(t *testing.T) {
	b := newBudget(Retry{Budget: 10, Burst: 5})
	spent := 0
	for range 1000 {
		b.request()
		for b.spend() {
			spent++
		}
	}
	if spent < 100 || spent > 105 {
		t.Errorf("%d retries for 1000 requests", spent)
	}
	for range 10000 {
		b.request()
	}
	for spent = 0; b.spend(); spent++ {
	}
	if spent != 5 {
		t.Errorf("%d retries were saved up, not 5", spent)
	}
}
