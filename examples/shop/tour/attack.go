package main

import "slices"

// attack is one hole used, with bytes that are the same for the service and for the gateway.
type attack struct {
	Hole    string // id in holes.json
	Name    string // what the attacker wants, short
	Service string // who is attacked
	Guard   string // who must stop it: a guard's folder, or wire, canon, match, cors, body; "" when it is still open
	Expect  []int  // the gateway's statuses that count as stopped; a 2xx means served, but without the effect
	Workers int    // how many messages at a time; 0 means one
	From    string // loopback address to call from, "" for any
	Write   func(m message) ([][]byte, error)
	Effect  func(o outcome) bool // whether the attacker got it
}

// outcome is what an attack leaves behind.
type outcome struct {
	answers       []answer
	before, after state
}

// telling is the answer that shows how it ended: the last of those expected, else the last.
func (o outcome) telling(expect []int) answer {
	for _, a := range slices.Backward(o.answers) {
		if slices.Contains(expect, a.Status) {
			return a
		}
	}
	return o.last()
}

// last is the answer that came last, which is the only one for most attacks.
func (o outcome) last() answer {
	if len(o.answers) == 0 {
		return answer{}
	}
	return o.answers[len(o.answers)-1]
}

// one makes the bytes of an attack that is a single ordinary request.
func one(user, method, path, body string, fields ...string) func(message) ([][]byte, error) {
	return times(1, user, method, path, body, fields...)
}

// times makes n equal ones.
func times(n int, user, method, path, body string, fields ...string) func(message) ([][]byte, error) {
	return func(m message) ([][]byte, error) {
		raw, err := m.bytes(user, method, path, body, fields...)
		if err != nil {
			return nil, err
		}
		all := make([][]byte, n)
		for i := range all {
			all[i] = raw
		}
		return all, nil
	}
}

// attacks lists those that Gatehouse stops today, those far from the guards first. The last one makes its caller wait.
func attacks() []attack {
	var all []attack
	for _, part := range [][]attack{beneath(), callers(), contents(), amounts()} {
		all = append(all, part...)
	}
	return all
}
