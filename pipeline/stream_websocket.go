package pipeline

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/websocket"
)

// The statuses of Close frames with which the gateway ends websockets.
const (
	policyClose    = websocket.Policy
	goingAwayClose = websocket.GoingAway
)

// tunnel joins the client with a server that has agreed to the handshake, and with no other: an answer that only looks like
// agreement would let a client talk past the gateway (rows C16, C18).
func (t *trip) tunnel(l *life, a *gate.Answer, asked *http.Request, response *http.Response) {
	if response.StatusCode != http.StatusSwitchingProtocols {
		a.Fields.Set("Connection", "close")
		t.release(a, response)
		return
	}
	if wrong := websocket.Chosen(asked.Header, response.Header); wrong != "" {
		t.refuse(gate.Deny(gate.BadServer, "stream.handshake", "the server switches wrongly: %s", wrong).At(t.plan.op.Pointer))
		return
	}
	accept, protocol := response.Header.Get("Sec-Websocket-Accept"), response.Header.Get("Sec-Websocket-Protocol")
	server, ok := response.Body.(io.ReadWriteCloser)
	if !ok || t.conn.Request == nil {
		t.refuse(gate.Deny(gate.Internal, "stream.no_connection", "no connection to join"))
		return
	}
	if !t.open(a) {
		return
	}
	a.Fields.Set("Upgrade", "websocket")
	a.Fields.Set("Connection", "Upgrade")
	a.Fields.Set("Sec-Websocket-Accept", accept)
	if protocol != "" {
		a.Fields.Set("Sec-Websocket-Protocol", protocol)
	}
	client, err := t.take(a)
	if err != nil {
		t.closed(closing{verdict: gate.Allow(), reason: "stream.client_gone", detail: "before the switch: " + err.Error()})
		panic(http.ErrAbortHandler)
	}
	defer client.Close()
	t.closed(t.join(l, client, server))
	if half, ok := client.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // what is still on its way reaches the client
	}
}

// take takes the client's connection from net/http, writes the head of the answer on it and opens it for other bytes than
// requests.
func (t *trip) take(a *gate.Answer) (net.Conn, error) {
	client, buffered, err := t.flow.control.Hijack()
	if err != nil {
		return nil, err
	}
	t.wrote = true
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = a.Fields.Write(&head) // a buffer takes everything; line ends in values become blanks
	head.WriteString("\r\n")
	_ = client.SetWriteDeadline(time.Now().Add(chunkTime))
	if _, err = client.Write(head.Bytes()); err == nil {
		_ = client.SetWriteDeadline(time.Time{})
		err = t.conn.Request.Tunnel()
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n)
		return &begun{client, bytes.NewReader(bytes.Clone(early))}, nil
	}
	return client, nil
}

// begun is a connection of which something has been read already.
type begun struct {
	net.Conn
	early *bytes.Reader
}

func (b *begun) Read(p []byte) (int, error) {
	if b.early.Len() > 0 {
		return b.early.Read(p)
	}
	return b.Conn.Read(p)
}

// join passes frames until one end, or the gateway, ends the websocket.
func (t *trip) join(l *life, client net.Conn, server io.ReadWriteCloser) closing {
	end := make(chan websocket.End, 1)
	watched := make(chan struct{})
	defer close(watched)
	go func() {
		select {
		case <-l.ctx.Done():
			if e := l.ending(); e != nil {
				end <- websocket.End{Code: e.close, Text: e.detail}
			} else {
				end <- websocket.End{Code: goingAwayClose}
			}
		case <-watched:
		}
	}()
	limits := websocket.Limits{Message: t.plan.op.Stream.Message}
	r := websocket.Relay(client, server, end, websocket.Config{FromClient: limits, FromServer: limits, Rand: rand.Reader})
	c := t.told(l, r)
	c.asked = tally{r.FromClient.Messages, r.FromClient.Bytes}
	c.answered = tally{r.FromServer.Messages, r.FromServer.Bytes}
	return c
}

// told puts the end of a relay in an event's words.
func (t *trip) told(l *life, r websocket.Result) closing {
	e := l.ending()
	switch {
	case r.By == "gateway" && e != nil:
		return ended(e)
	case r.By == "gateway":
		return closing{verdict: gate.Deny(gate.TooSlow, "stream.idle", "%s", r.Detail), reason: "stream.idle", detail: r.Detail}
	case r.Violation != nil:
		code, reason := gate.BadRequest, gate.Reason("stream.malformed")
		if r.Violation.Code == websocket.TooBig {
			code, reason = gate.TooLarge, "stream.message"
		}
		return closing{verdict: gate.Deny(code, reason, "%s", r.Detail), reason: reason, detail: "the " + r.By + ": " + r.Detail}
	case r.Code == websocket.Abnormal:
		return closing{verdict: gate.Allow(), reason: "stream.broken", detail: "the " + r.By + ": " + r.Detail}
	}
	return closing{verdict: gate.Allow(), reason: "stream.ended", detail: "by the " + r.By}
}
