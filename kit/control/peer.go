package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const suffix = ".sock"

// Peer is a running process that can be asked.
type Peer struct {
	PID  int
	path string
}

// Find lists the processes that answer in a folder, and forgets the sockets of those that have ended. A folder that isn't
// there has none.
func Find(dir string) ([]Peer, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a running gateway: %w", err)
	}
	var alive []Peer
	for _, e := range entries {
		pid, err := strconv.Atoi(strings.TrimSuffix(e.Name(), suffix))
		if err != nil || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		p := Peer{PID: pid, path: filepath.Join(dir, e.Name())}
		c, err := p.dial(context.Background())
		switch {
		case err == nil:
			_ = c.Close()
			alive = append(alive, p)
		case refused(err):
			_ = os.Remove(p.path)
		default:
			return nil, fmt.Errorf("ask process %d: %w", pid, err)
		}
	}
	return alive, nil
}

func (p Peer) dial(ctx context.Context) (c net.Conn, err error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	err = short(p.path, func(path string) (err error) {
		c, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return c, err
}

func (p Peer) perform(ctx context.Context, name string, question []byte, tell Progress) ([]byte, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dial(ctx) }}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+name, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("ask process %d: %w", p.PID, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return nil, fmt.Errorf("process %d: %s", p.PID, strings.TrimSpace(string(text)))
	}
	lines := json.NewDecoder(response.Body)
	for {
		var l line
		if err := lines.Decode(&l); err != nil {
			return nil, fmt.Errorf("process %d ended before it had answered; its log says why", p.PID)
		}
		switch {
		case l.Error != "":
			return nil, errors.New(l.Error)
		case l.Answer != nil:
			return l.Answer, nil
		}
		tell(l.Done, l.Total, l.What)
	}
}
