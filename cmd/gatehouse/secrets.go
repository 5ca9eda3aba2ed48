package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/secret"
	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
)

// What is asked about the gateway's own secrets. Values are bytes, which JSON carries as base64.

type secretSet struct {
	Name    string   `json:"name"`
	Value   []byte   `json:"value"`
	Expect  int64    `json:"expect"`
	MayRead []string `json:"may_read,omitempty"` // none: those before
	By      string   `json:"by"`
}

// Format hides the value from every format.
func (secretSet) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

type secretGet struct {
	Name    string `json:"name"`
	Version int64  `json:"version"` // 0: the newest
}

// secretValue is a value on its way to whoever asked for it.
type secretValue struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	Bytes   []byte `json:"bytes"`
}

// Format hides the value from every format.
func (secretValue) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

type secretRotate struct {
	Name     string `json:"name"`
	Length   int    `json:"length"`
	Alphabet string `json:"alphabet"`
	Expect   *int64 `json:"expect"` // nil: whatever is there, but something is
	By       string `json:"by"`
}

type secretRemove struct {
	Name    string `json:"name"`
	Version int64  `json:"version"` // 0: all
	Expect  int64  `json:"expect"`
	By      string `json:"by"`
}

type secretAllow struct {
	Name    string   `json:"name"`
	MayRead []string `json:"may_read"`
}

// secretChanged is what a secret is after a change.
type secretChanged struct {
	Name    string   `json:"name"`
	Version int64    `json:"version"` // the newest; 0: none is left
	MayRead []string `json:"may_read"`
	Unknown []string `json:"unknown,omitempty"` // readers that are no part of the document in force
}

// secretOperations are what can be asked about secrets.
func secretOperations(o *control.Operations, h *held, n *node) {
	s := secrets{h, n}
	control.Handle(o, "secret.set", s.set)
	control.Handle(o, "secret.get", s.get)
	control.Handle(o, "secret.list", func(ctx context.Context, _ nothing, _ control.Progress) ([]owned.Info, error) {
		return h.kept.List(ctx)
	})
	control.Handle(o, "secret.rotate", s.rotate)
	control.Handle(o, "secret.rm", s.remove)
	control.Handle(o, "secret.allow", s.allow)
}

// secrets are the gateway's own, and who follows them here.
type secrets struct {
	h *held
	n *node // nil: nothing is served
}

func (s secrets) set(ctx context.Context, q secretSet, _ control.Progress) (secretChanged, error) {
	if err := owned.CheckReaders(q.MayRead); err != nil {
		return secretChanged{}, err
	}
	if _, err := s.h.kept.Set(ctx, q.Name, q.Value, q.Expect, q.By); err != nil {
		return secretChanged{}, s.explained(ctx, q.Name, q.Expect, err)
	}
	if len(q.MayRead) > 0 {
		if err := s.h.kept.MayRead(ctx, q.Name, q.MayRead); err != nil {
			return secretChanged{}, fmt.Errorf("the secret is written, but not who may read it: %w; try again with: gatehouse secret allow %s --reader %s", err, q.Name, strings.Join(q.MayRead, ","))
		}
	}
	return s.changed(ctx, q.Name)
}

func (s secrets) get(ctx context.Context, q secretGet, _ control.Progress) (secretValue, error) {
	v, version, err := s.h.kept.Get(ctx, q.Name, q.Version)
	if err != nil {
		return secretValue{}, err
	}
	return secretValue{q.Name, version, v.Reveal()}, nil
}

// rotate replaces what is there. A name that was never written is more likely mistyped than meant.
func (s secrets) rotate(ctx context.Context, q secretRotate, _ control.Progress) (secretChanged, error) {
	var expected int64
	if q.Expect != nil {
		expected = *q.Expect
	} else {
		_, version, err := s.h.kept.Get(ctx, q.Name, 0)
		if errors.Is(err, secret.ErrGone) {
			err = fmt.Errorf("there is no secret %s; to make a random one add --expect 0", q.Name)
		}
		if err != nil {
			return secretChanged{}, err
		}
		expected = version
	}
	spec := owned.Spec{Length: q.Length, Alphabet: q.Alphabet}
	if _, err := s.h.kept.Rotate(ctx, q.Name, spec, expected, q.By); err != nil {
		return secretChanged{}, s.explained(ctx, q.Name, expected, err)
	}
	return s.changed(ctx, q.Name)
}

func (s secrets) remove(ctx context.Context, q secretRemove, _ control.Progress) (secretChanged, error) {
	err := s.h.kept.Remove(ctx, q.Name, q.Version, q.Expect, q.By)
	switch {
	case errors.Is(err, secret.ErrGone) && q.Version > 0:
		return secretChanged{}, fmt.Errorf("no version %d of %s is kept; gatehouse secret list --json shows those that are", q.Version, q.Name)
	case errors.Is(err, secret.ErrGone):
		return secretChanged{}, fmt.Errorf("there is no secret %s; gatehouse secret list shows those that are", q.Name)
	case err != nil:
		return secretChanged{}, s.explained(ctx, q.Name, q.Expect, err)
	}
	return s.changed(ctx, q.Name)
}

func (s secrets) allow(ctx context.Context, q secretAllow, _ control.Progress) (secretChanged, error) {
	if err := s.h.kept.MayRead(ctx, q.Name, q.MayRead); err != nil {
		return secretChanged{}, err
	}
	return s.changed(ctx, q.Name)
}

// explained says what is there instead of what was expected.
func (s secrets) explained(ctx context.Context, name string, expected int64, err error) error {
	if !errors.Is(err, owned.ErrConflict) {
		return err
	}
	now, problem := s.info(ctx, name)
	switch {
	case problem != nil || now.Current == expected:
		return err
	case now.Current == 0:
		return fmt.Errorf("there is no secret %s now; without --expect it is written anew", name)
	}
	last := now.Versions[len(now.Versions)-1]
	if expected == 0 {
		return fmt.Errorf("secret %s is there already, in version %d by %s; to replace it add --expect %d", name, now.Current, last.By, now.Current)
	}
	return fmt.Errorf("secret %s has version %d by now, by %s; to replace that one add --expect %d", name, now.Current, last.By, now.Current)
}

func (s secrets) info(ctx context.Context, name string) (owned.Info, error) {
	all, err := s.h.kept.List(ctx)
	for _, info := range all {
		if info.Name == name {
			return info, nil
		}
	}
	return owned.Info{}, err
}

// changed has everything that follows secrets of the store look at them now, and tells what the secret is.
func (s secrets) changed(ctx context.Context, name string) (secretChanged, error) {
	s.h.secrets.Refresh(secret.Kept)
	info, err := s.info(ctx, name)
	done := secretChanged{Name: name, Version: info.Current, MayRead: info.MayRead}
	if s.n == nil {
		return done, err
	}
	s.n.current.Lock()
	defer s.n.current.Unlock()
	for _, reader := range done.MayRead {
		if api, ok := strings.CutPrefix(reader, "apis."); ok && !slices.Contains(s.n.current.apis, api) {
			done.Unknown = append(done.Unknown, reader)
		}
	}
	return done, err
}
