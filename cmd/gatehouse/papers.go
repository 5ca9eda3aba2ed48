package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gatehouse-sec/gatehouse/config/source"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// papers are a document and what it was made of, as they were when it was read: what stands in those files by now may be
// something that nobody has put in force.
type papers struct {
	file string // the document, among the files

	mu    sync.Mutex
	files map[string][]byte // by the path under which each was read
}

func newPapers(b *source.Bundle) *papers {
	return &papers{file: b.File, files: map[string][]byte{b.File: b.Data}}
}

// reader reads as read does, and keeps what it has read.
func (p *papers) reader(read func(contract, path string) ([]byte, error)) func(contract, path string) ([]byte, error) {
	return func(contract, path string) ([]byte, error) {
		data, err := read(contract, path)
		if err == nil {
			p.mu.Lock()
			p.files[path] = bytes.Clone(data)
			p.mu.Unlock()
		}
		return data, err
	}
}

// layout gives the files by paths below the last folder that all of them share, so that each finds the others there as it
// did; and the path of the document.
func (p *papers) layout() (files map[string][]byte, document string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	whole := map[string][]byte{}
	root := ""
	for name, data := range p.files {
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, "", err
		}
		whole[path] = data
		if folder := filepath.Dir(path); root == "" {
			root = folder
		}
		for !below(path, root) {
			root = filepath.Dir(root)
		}
	}
	files = map[string][]byte{}
	for path, data := range whole {
		name, err := filepath.Rel(root, path)
		if err != nil {
			return nil, "", err
		}
		files[filepath.ToSlash(name)] = data
	}
	path, err := filepath.Abs(p.file)
	if err != nil {
		return nil, "", err
	}
	document, err = filepath.Rel(root, path)
	return files, filepath.ToSlash(document), err
}

func below(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// readPapers reads a document for a command that serves nothing, with all that it is made of.
func (o opening) readPapers(ctx context.Context) (*papers, error) {
	b, err := readDocument(ctx, o.places, o.at)
	if err != nil {
		return nil, err
	}
	n := newNode(o.places.state, slog.New(slog.DiscardHandler), waf.Load())
	defer n.close()
	if n.kept.dev, err = dev.Open(o.places.state, random()); err != nil {
		return nil, err
	}
	l, err := n.load(b)
	if err != nil {
		return nil, inOrder(mistakesOf(err))
	}
	return l.papers, nil
}

// paper gives the document in force, or the one that the command was given.
func (o opening) paper(ctx context.Context, n *node) (*papers, error) {
	if n == nil {
		return o.readPapers(ctx)
	}
	if p := n.papers.Load(); p != nil {
		return p, nil
	}
	return nil, errors.New("no document is in force yet; try again in a moment")
}
