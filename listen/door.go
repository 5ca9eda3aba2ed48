package listen

import (
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// door is one bound socket.
type door struct {
	listener net.Listener
	address  Address // as written
	role     atomic.Pointer[role]
}

// url is where the door really is, with the port that the system chose.
func (d *door) url() string {
	scheme := "http"
	if d.role.Load().secure {
		scheme = "https"
	}
	return scheme + "://" + d.listener.Addr().String()
}

// shut closes the door after those who already stand before it were let in: a connection that the system has accepted for
// us would otherwise be reset.
func (d *door) shut() {
	if l, ok := d.listener.(*net.TCPListener); ok {
		_ = l.SetDeadline(time.Now().Add(50 * time.Millisecond))
	}
	time.AfterFunc(60*time.Millisecond, func() { _ = d.listener.Close() })
}

// plan is a door that a document asks for.
type plan struct {
	key     string // the same for the same socket, over reloads
	address Address
	role    role
}

func (c Config) plans() []plan {
	var all []plan
	add := func(a Address, r role) {
		key := a.HostPort()
		if a.port == 0 { // the system chooses: such doors are the same only at the same place in the document
			key = fmt.Sprintf("%s %d", a, len(all))
		}
		all = append(all, plan{key: key, address: a, role: r})
	}
	for _, a := range c.At {
		add(a, role{secure: a.Secure()})
	}
	if !c.Redirect.IsZero() {
		add(c.Redirect, role{redirect: true})
	}
	return all
}

// open binds the planned doors that are not there yet.
func (s *Server) open(plans []plan) (map[string]*door, error) {
	opened := map[string]*door{}
	for _, p := range plans {
		if s.control.doors[p.key] != nil {
			continue
		}
		listeners, err := p.address.bind()
		if err != nil {
			closeAll(opened)
			return nil, err
		}
		for i, l := range listeners {
			d := &door{listener: l, address: p.address}
			d.role.Store(&p.role)
			opened[second(p.key, i)] = d
		}
	}
	return opened, nil
}

// second is the key of the i-th socket of one address; localhost has two.
func second(key string, i int) string {
	if i == 0 {
		return key
	}
	return key + "/" + strconv.Itoa(i)
}

func closeAll(doors map[string]*door) {
	for _, d := range doors {
		_ = d.listener.Close()
	}
}

// portOf is the port that the planned door really has.
func portOf(p plan, doors ...map[string]*door) int {
	for _, some := range doors {
		if d := some[p.key]; d != nil {
			return d.listener.Addr().(*net.TCPAddr).Port
		}
	}
	return int(p.address.port)
}
