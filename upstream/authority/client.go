package authority

import (
	"crypto/tls"
	"errors"
	"sync"
)

// Client is a name under which the gateway shows itself to servers. It is safe for use by many goroutines.
type Client struct {
	authority *Authority
	name      string

	mu      sync.Mutex
	current *tls.Certificate
	by      *member // that signed it
}

// Client gives the client of a name, such as "gateway": letters, digits and hyphens. The same name gives the same client.
func (a *Authority) Client(name string) *Client {
	c, _ := a.clients.LoadOrStore(name, &Client{authority: a, name: name})
	return c.(*Client)
}

// ClientCertificate gives the certificate for the next connection. It is made anew when two thirds of its life are over,
// when another authority signs by now, and when a clock was set. It asks nothing of the store.
func (c *Client) ClientCertificate() (*tls.Certificate, error) {
	now := c.authority.deps.Now()
	by := c.authority.known.Load().signing(now)
	if by == nil {
		return nil, errors.New("the internal authority has ended and has no successor; look at the store, then: gatehouse certificates")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.by.authority.Certificate.Equal(by.authority.Certificate) {
		leaf := c.current.Leaf
		if now.After(leaf.NotBefore) && leaf.NotAfter.Sub(now) > ClientLife/3 {
			return c.current, nil
		}
	}
	made, err := by.authority.Client(c.authority.deps.Rand, c.name, now, ClientLife)
	if err != nil {
		return nil, err
	}
	c.current, c.by = made, by
	return made, nil
}
