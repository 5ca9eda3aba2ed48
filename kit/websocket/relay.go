package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is how a relay behaves. Zero means the default, but for Rand.
type Config struct {
	FromClient Limits        //
	FromServer Limits        //
	Idle       time.Duration // how long nothing may come from either end; default 5 minutes
	Take       time.Duration // how long an end may take to accept one piece of 16 KiB; default 30 seconds
	Answer     time.Duration // how long an end may take to answer a Close frame; default 2 seconds
	Rand       io.Reader     // for the mask of the one frame that a gateway sends to a server; needed
}

func (c Config) withDefaults() Config {
	c.Idle = orDefault(c.Idle, 5*time.Minute)
	c.Take = orDefault(c.Take, 30*time.Second)
	c.Answer = orDefault(c.Answer, 2*time.Second)
	return c
}

func orDefault(d, standard time.Duration) time.Duration {
	if d <= 0 {
		return standard
	}
	return d
}

// End is the owner's word that a connection is over.
type End struct {
	Code int    // sent to both ends
	Text string // up to 123 bytes of UTF-8, sent with it
}

// Result is how a connection ended and what passed before.
type Result struct {
	FromClient Tally
	FromServer Tally
	By         string     // "client", "server" or "gateway"
	Code       int        // of the first Close frame; Abnormal when there was none
	Violation  *Violation // the rule that was broken, else nil
	Detail     string     // in words, when it did not end by a Close frame of one of the ends
}

// relay is one connection in progress.
type relay struct {
	cfg    Config
	client net.Conn
	server io.ReadWriteCloser
	began  time.Time
	active atomic.Int64  // when something came last, in nanoseconds since began
	ends   [2]*pump      // from the client, from the server
	silent chan struct{} // closed when nothing comes from the server any more

	mu     sync.Mutex // guards the following
	over   bool       // nothing more may pass: the end is decided
	notice End        // what both ends are told; without a code the ends closed by themselves, or are cut off
	result Result
	wake   chan struct{} // closed with over
}

// Relay passes frames between two ends that have shaken hands, until one of them closes, breaks a rule or is silent for too
// long, or end speaks. Both are then told with a Close frame, unless one stands in the middle of a frame: it is cut off, and
// takes the message for what it is, an incomplete one. Relay closes the server's side. It leaves the client's to its caller,
// who may have to write down the result before the client can know of it.
func Relay(client net.Conn, server io.ReadWriteCloser, end <-chan End, cfg Config) Result {
	r := &relay{cfg: cfg.withDefaults(), client: client, server: server, began: time.Now(), silent: make(chan struct{}), wake: make(chan struct{})}
	up := &pump{relay: r, by: Client, parser: NewParser(Client, r.cfg.FromClient), from: client, to: server}
	down := &pump{relay: r, by: Server, parser: NewParser(Server, r.cfg.FromServer), from: server, to: client}
	r.ends = [2]*pump{up, down}
	var pumps sync.WaitGroup
	pumps.Go(up.run)
	pumps.Go(down.run)
	go r.watch(end)
	pumps.Wait()
	r.finish(End{}, Result{}) // the watch may end
	_ = server.Close()
	r.result.FromClient, r.result.FromServer = up.tally, down.tally
	return r.result
}

// watch ends the connection when its time is over.
func (r *relay) watch(end <-chan End) {
	idle := time.NewTimer(r.cfg.Idle)
	defer idle.Stop()
	for {
		select {
		case <-r.wake:
			return
		case e := <-end:
			r.finish(e, Result{By: "gateway", Code: e.Code, Detail: e.Text})
			return
		case <-idle.C:
			rest := r.cfg.Idle - time.Since(r.began.Add(time.Duration(r.active.Load())))
			if rest <= 0 {
				r.finish(End{GoingAway, "idle"}, Result{By: "gateway", Code: GoingAway, Detail: "nothing came for " + r.cfg.Idle.String()})
				return
			}
			idle.Reset(rest)
		}
	}
}

// finish decides the end, once: the first to say so is right. It wakes the pump that reads the client, which then tells both
// ends, and wakes the other by closing the server.
func (r *relay) finish(e End, result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.over, r.notice = true, e
	if r.result.By == "" {
		r.result = result
	}
	close(r.wake)
	now := time.Now()
	_ = r.client.SetReadDeadline(now)
	_ = r.client.SetWriteDeadline(now.Add(r.cfg.Answer))
	time.AfterFunc(r.cfg.Answer, func() { _ = r.server.Close() }) // for a pump that hangs, writing to the server
}

// closes notes a Close frame of one end. The other has a moment to answer it.
func (r *relay) closes(by Side, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result.By != "" {
		return
	}
	r.result.By, r.result.Code = string(by), code
	time.AfterFunc(r.cfg.Answer, func() { r.finish(End{}, Result{}) })
}

// ending is what both ends are told, and whether the end is decided.
func (r *relay) ending() (End, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notice, r.over
}

// pump is one direction.
type pump struct {
	*relay
	by     Side
	parser *Parser
	from   io.Reader
	to     io.Writer
	buffer [16 << 10]byte
	held   int  // bytes at the beginning of buffer that have not passed: a head that is not complete, or what came too late
	broken bool // the end has broken a rule: what follows is not understood
	tally  Tally

	mu   sync.Mutex // guards what is written to the receiving end
	cut  bool       // a write has failed: the receiving end stands somewhere in a frame
	told bool       // the receiving end has got our Close frame: nothing may follow
}

// run passes frames on until the end. The pump that reads the client, which can be woken without closing anything, then tells
// both ends and closes the server.
func (p *pump) run() {
	p.pass()
	p.tally = p.parser.Tally()
	if p.by == Server {
		close(p.silent)
		return
	}
	select {
	case <-p.wake:
	case <-p.silent:
	}
	if notice, _ := p.ending(); notice.Code != 0 {
		_ = p.client.SetWriteDeadline(time.Now().Add(p.cfg.Answer))
		for _, one := range p.ends {
			one.tell(notice)
		}
		p.await()
	}
	_ = p.server.Close()
}

// tell writes a Close frame to the receiving end, if it stands between two frames.
func (p *pump) tell(notice End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, said := p.parser.Ended(); said || p.cut || !p.parser.Between() {
		return
	}
	if p.broken {
		notice = End{Code: GoingAway} // the receiving end has done nothing wrong
	}
	p.told = true
	_, _ = p.to.Write(closeFrame(notice, p.by == Client, p.cfg.Rand)) // an end that is gone needs no notice
}

// pass reads, looks and writes.
func (p *pump) pass() {
	stall := time.AfterFunc(p.cfg.Take, p.stalled)
	defer stall.Stop()
	for {
		stall.Stop()
		n, err := p.from.Read(p.buffer[p.held:])
		p.held += n
		if _, over := p.ending(); over {
			return
		}
		if n > 0 {
			p.active.Store(int64(time.Since(p.began)))
			stall.Reset(p.cfg.Take)
			if !p.step() {
				return
			}
		}
		if err != nil {
			p.finish(End{}, Result{By: string(p.by), Code: Abnormal, Detail: "it ended without a Close frame: " + plain(err)})
			return
		}
	}
}

// step lets pass what may. It tells whether anything may follow.
func (p *pump) step() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told {
		return false
	}
	size, violation := p.parser.Advance(p.buffer[:p.held])
	code, ended := p.parser.Ended()
	if ended && violation == nil { // before the other end can answer
		p.closes(p.by, code)
	}
	_, err := p.to.Write(p.buffer[:size])
	p.held = copy(p.buffer[:], p.buffer[size:p.held])
	p.cut = err != nil
	if violation != nil {
		p.broken = true
		p.finish(End{Code: violation.Code}, Result{By: string(p.by), Code: violation.Code, Violation: violation, Detail: violation.Detail})
		return false
	}
	if err != nil {
		p.finish(End{}, Result{By: string(other(p.by)), Code: Abnormal, Detail: "it takes no more: " + plain(err)})
		return false
	}
	return !ended
}

// stalled is called when an end does not take what it is sent.
func (p *pump) stalled() {
	p.finish(End{Code: ServerError}, Result{By: string(other(p.by)), Code: Abnormal, Detail: "it takes nothing for " + p.cfg.Take.String()})
}

// await reads on until the client has answered the Close frame: bytes that nobody has read would make the system reset the
// connection, and the reset overtakes the frame.
func (p *pump) await() {
	_ = p.client.SetReadDeadline(time.Now().Add(p.cfg.Answer))
	for total := 0; total < 1<<20; {
		if !p.broken {
			size, violation := p.parser.Advance(p.buffer[:p.held])
			if _, ended := p.parser.Ended(); ended {
				return
			}
			p.held, p.broken = copy(p.buffer[:], p.buffer[size:p.held]), violation != nil
		}
		if p.broken {
			p.held = 0
		}
		n, err := p.client.Read(p.buffer[p.held:])
		if err != nil {
			return
		}
		p.held += n
		total += n
	}
}

func other(s Side) Side {
	if s == Client {
		return Server
	}
	return Client
}

// plain names a network error without addresses.
func plain(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "too late"
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return fmt.Sprintf("%.100v", err)
}

// closeFrame writes a Close frame. Towards a server it is masked, with a key that nobody can foresee (RFC 6455 section 5.3).
func closeFrame(e End, mask bool, random io.Reader) []byte {
	text := e.Text
	if len(text) > longestControl-2 {
		text = ""
	}
	payload := append(binary.BigEndian.AppendUint16(nil, uint16(e.Code)), text...)
	frame := []byte{0x80 | opClose, byte(len(payload))}
	if !mask {
		return append(frame, payload...)
	}
	var key [4]byte
	_, _ = io.ReadFull(random, key[:]) // a source that fails leaves zeros: the payload is ours and no secret
	frame[1] |= 0x80
	frame = append(frame, key[:]...)
	for i, b := range payload {
		frame = append(frame, b^key[i&3])
	}
	return frame
}
