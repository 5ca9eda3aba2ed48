package websocket

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ends gives the far ends of a relay over real sockets, and what it comes to.
func ends(t *testing.T, cfg Config, end <-chan End) (client, server net.Conn, result <-chan Result) {
	t.Helper()
	near, client := sockets(t)
	far, server := sockets(t)
	cfg.Rand = strings.NewReader("mask")
	done := make(chan Result, 1)
	go func() {
		r := Relay(near, far, end, cfg)
		_ = near.Close()
		done <- r
	}()
	return client, server, done
}

// sockets are the two ends of a connection.
func sockets(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		t.Cleanup(func() { _ = c.Close() })
	}
	return b, a
}

// comes reads as many bytes as are wanted.
func comes(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%.40x came, %v, want %.40x", got, err, want)
	}
}

// told reads the one Close frame that ends what an end hears, and gives its status; 0 when there is none.
func told(t *testing.T, c net.Conn, masked bool) int {
	t.Helper()
	rest, _ := io.ReadAll(c)
	by := Server
	if masked {
		by = Client
	}
	p := NewParser(by, Limits{})
	if n, v := p.Advance(rest); v != nil || n != len(rest) {
		t.Fatalf("%x was heard: %v", rest, v)
	}
	code, _ := p.Ended()
	return code
}

func closing(code int, masked bool) []byte {
	return frame(0x88, masked, string(binary.BigEndian.AppendUint16(nil, uint16(code))))
}

func TestRelay(t *testing.T) {
	client, server, result := ends(t, Config{}, nil)
	hello, ping, answer := frame(0x81, true, "hello"), frame(0x89, true, "p"), frame(0x82, false, strings.Repeat("a", 70_000))
	_, _ = client.Write(hello[:3]) // a head in pieces
	time.Sleep(5 * time.Millisecond)
	_, _ = client.Write(append(hello[3:], ping...))
	comes(t, server, append(hello, ping...))
	go func() { _, _ = server.Write(answer) }()
	comes(t, client, answer)
	_, _ = client.Write(closing(1000, true))
	comes(t, server, closing(1000, true))
	_, _ = server.Write(closing(1000, false))
	comes(t, client, closing(1000, false))
	r := <-result
	if r.By != "client" || r.Code != Normal || r.Violation != nil || r.FromClient != (Tally{1, 5}) || r.FromServer != (Tally{1, 70_000}) {
		t.Errorf("%+v", r)
	}
}

func TestRelayEnds(t *testing.T) {
	for _, c := range []struct {
		name     string
		cfg      Config
		client   []byte // what the ends say
		server   []byte
		end      *End
		gone     Side // who ends the connection then
		by       string
		code     int
		toClient int // statuses that the ends are told
		toServer int
	}{
		{name: "D17 by its owner", end: &End{Policy, "expired"}, by: "gateway", code: Policy, toClient: Policy, toServer: Policy},
		{name: "idle", cfg: Config{Idle: 50 * time.Millisecond}, by: "gateway", code: GoingAway, toClient: GoingAway, toServer: GoingAway},
		{name: "D18 a client breaks a rule", client: frame(0x81, false, "x"), by: "client", code: ProtocolError, toClient: ProtocolError, toServer: GoingAway},
		{name: "a server breaks a rule", server: frame(0x81, true, "x"), by: "server", code: ProtocolError, toClient: GoingAway, toServer: ProtocolError},
		{name: "D18 too large", client: frame(0x82, true, strings.Repeat("x", 101)), by: "client", code: TooBig, toClient: TooBig, toServer: GoingAway},
		{name: "the client vanishes", gone: Client, by: "client", code: Abnormal},
		{name: "the server vanishes", gone: Server, by: "server", code: Abnormal},
		{name: "the owner speaks in the middle of a message", server: frame(0x82, false, "half a message")[:6], end: &End{Policy, "x"}, by: "gateway", code: Policy, toServer: Policy},
		{name: "the client closes and is not answered", client: closing(1000, true), by: "client", code: Normal, toServer: Normal},
		{name: "the server closes and is not answered", server: closing(1000, false), by: "server", code: Normal, toClient: Normal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			end := make(chan End, 1)
			c.cfg.FromClient.Message, c.cfg.FromServer.Message, c.cfg.Answer = 100, 100, 100*time.Millisecond
			client, server, result := ends(t, c.cfg, end)
			_, _ = client.Write(c.client)
			_, _ = server.Write(c.server)
			if len(c.server) == 6 { // the beginning of a message, which has passed
				comes(t, client, c.server)
			}
			switch c.gone {
			case Client:
				_ = client.Close()
			case Server:
				_ = server.Close()
			}
			if c.end != nil {
				end <- *c.end
			}
			if c.gone != Client {
				if got := told(t, client, false); got != c.toClient {
					t.Errorf("the client was told %d, want %d", got, c.toClient)
				}
			}
			if c.gone != Server {
				if got := told(t, server, true); got != c.toServer {
					t.Errorf("the server was told %d, want %d", got, c.toServer)
				}
			}
			if r := <-result; r.By != c.by || r.Code != c.code {
				t.Errorf("%+v", r)
			}
		})
	}
}

// H3: an end that takes nothing does not hold the other, nor the gateway.
func TestRelayToAnEndThatTakesNothing(t *testing.T) {
	for _, slow := range []Side{Client, Server} {
		t.Run(string(slow), func(t *testing.T) {
			t.Parallel()
			client, server, result := ends(t, Config{Take: 100 * time.Millisecond, Answer: 100 * time.Millisecond}, nil)
			from, masked := client, true
			if slow == Client {
				from, masked = server, false
			}
			go func() {
				for message := frame(0x82, masked, strings.Repeat("x", 1<<19)); ; {
					if _, err := from.Write(message); err != nil {
						return
					}
				}
			}()
			if r := <-result; r.By != string(slow) || r.Code != Abnormal {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestChosen(t *testing.T) {
	asked := http.Header{"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"a, b", "c"}}
	agreed := func(change func(http.Header)) http.Header {
		h := http.Header{"Upgrade": {"WebSocket"}, "Connection": {"keep-alive, upgrade"}, "Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}}
		change(h)
		return h
	}
	for _, c := range []struct {
		name   string
		change func(http.Header)
		good   bool
	}{
		{"as asked", func(http.Header) {}, true},
		{"a subprotocol", func(h http.Header) { h.Set("Sec-Websocket-Protocol", "c") }, true},
		{"no accept", func(h http.Header) { h.Del("Sec-Websocket-Accept") }, false},
		{"two accepts", func(h http.Header) { h.Add("Sec-Websocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") }, false},
		{"another accept", func(h http.Header) { h.Set("Sec-Websocket-Accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=") }, false},
		{"an extension", func(h http.Header) { h.Set("Sec-Websocket-Extensions", "permessage-deflate") }, false},
		{"another subprotocol", func(h http.Header) { h.Set("Sec-Websocket-Protocol", "d") }, false},
		{"two subprotocols", func(h http.Header) { h["Sec-Websocket-Protocol"] = []string{"a", "b"} }, false},
		{"another upgrade", func(h http.Header) { h.Set("Upgrade", "h2c") }, false},
		{"no connection", func(h http.Header) { h.Del("Connection") }, false},
	} {
		if wrong := Chosen(asked, agreed(c.change)); (wrong == "") != c.good {
			t.Errorf("%s: %q", c.name, wrong)
		}
	}
}
