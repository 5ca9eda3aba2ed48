package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// errAway tells that a server could not be asked, or does not answer as it should.
var errAway = errors.New("the server with the document is away")

// keptFormat names the form of what is kept.
const keptFormat = "gatehouse.kept/1"

// kept is the last generation from a server that was accepted, kept on this machine: a node that starts while the server is
// away serves by it. It is judged like any other, so that with pinned keys whoever writes here gains nothing, and an
// expired note is still refused.
type kept struct {
	Format string            `json:"format"`
	Place  string            `json:"place"`
	Files  map[string][]byte `json:"files"`

	origin httpOrigin
}

func (s *Source) keptFile() string {
	sum := sha256.Sum256([]byte(s.String()))
	return filepath.Join(s.opt.Keep, fmt.Sprintf("document-%x.json", sum[:8]))
}

// keep writes down what was accepted, complete or not at all.
func (s *Source) keep(g *served) error {
	if s.opt.Keep == "" {
		return nil
	}
	k := kept{Format: keptFormat, Place: s.String(), Files: map[string][]byte{}}
	g.mu.Lock()
	for name, f := range g.fetched {
		if f.data != nil {
			k.Files[name] = f.data
		}
	}
	g.mu.Unlock()
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return replaceFile(s.keptFile(), data)
}

// lastKept reads what was kept, or gives nil when nothing was.
func (s *Source) lastKept() (*kept, error) {
	origin, ok := s.origin.(httpOrigin)
	if s.opt.Keep == "" || !ok {
		return nil, nil
	}
	data, err := os.ReadFile(s.keptFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	k := &kept{origin: origin}
	if err == nil {
		err = json.Unmarshal(data, k)
	}
	if err != nil || k.Format != keptFormat || k.Place != s.String() {
		return nil, fmt.Errorf("what was kept in %s cannot be read; remove it", s.keptFile())
	}
	return k, nil
}

func (k *kept) file() string { return k.origin.file }

func (k *kept) id() string { return "" }

func (k *kept) name(name string) (string, error) { return (&served{origin: k.origin}).name(name) }

func (k *kept) read(_ context.Context, contract, name string) ([]byte, error) {
	if !beside(contract, name) {
		return nil, fmt.Errorf("%s lies outside of the folder of what refers to it", name)
	}
	data, ok := k.Files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w, and it is not among what was kept", k.origin.address(name), errAway)
	}
	return data, nil
}

func (*kept) list(context.Context, string) ([]string, error) { return nil, errNoList }

// seen and look differ as soon as the server is back.
func (k *kept) seen() marks { return marks{k.file(): "kept"} }

func (k *kept) look(ctx context.Context) (marks, error) {
	client, err := k.origin.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	f, err := k.origin.fetch(ctx, client, k.file(), fetched{})
	if err != nil {
		return nil, err
	}
	return marks{k.file(): f.mark}, nil
}

func (k *kept) settled(context.Context) error { return nil }
