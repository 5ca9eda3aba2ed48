package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"filippo.io/age"
)

// backedUp makes a backup of a gateway that serves, and tells what requests felt of it and what it took. Nearly all of it are
// events, since nothing else of a gateway grows so large.
func (f *field) backedUp(w io.Writer, size int64) error {
	const rate = 200
	place := filepath.Join(f.dir, "backups")
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	offline, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	n, err := f.node(remembered{}, "per_address: 1000000/s burst 1000000, per_caller: 1000000/s burst 1000000",
		"backup: {to: "+place+", recipients: ["+offline.Recipient().String()+"]}\n")
	if err != nil {
		return err
	}
	defer n.Stop()
	if size, err = f.fill(n, size); err != nil {
		return err
	}
	const beside = 30 * time.Second
	p := paced{n, f.token, rate}
	p.send(2 * time.Second)
	without, idle, err := n.during(func() felt { return p.send(beside) })
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	var made error
	began := time.Now()
	go func() {
		made = n.tell("backup", "create", "--config", filepath.Join(n.home, "gatehouse.yaml"))
		end()
	}()
	with, busy, err := n.during(func() felt { return p.until(ctx) })
	if err := errors.Join(made, err); err != nil {
		return err
	}
	took := time.Since(began)
	after := p.send(beside)
	without.add(after)
	fmt.Fprintf(w, "\n| a backup of %d MiB, made and proved, at %d requests/s | measured | goal |\n|---|---|---|\n", size>>20, rate)
	fmt.Fprintf(w, "| it takes | %.1f s | < 60 s |\n", took.Seconds())
	fmt.Fprintf(w, "| its share of the machine's %d cores | %.1f %% | < 20 %% |\n", runtime.NumCPU(), 100*(busy-idle)/float64(runtime.NumCPU()))
	fmt.Fprintf(w, "| p50, p99, longest before and after | %s | |\n| meanwhile | %s, p99 %.2f x, %d not 200 | p99 <= 1.2 x |\n", without, with, with.at(99).Seconds()/without.at(99).Seconds(), with.wrong())
	n.Stop()
	back, err := f.restored(n, place, offline)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| restored in an empty place, until that serves its first 200 | %.1f s | < 15 min |\n", back.Seconds())
	return nil
}

// restored brings the backup back in an empty place, serves from there, and tells how long that took.
func (f *field) restored(n *node, place string, offline *age.X25519Identity) (time.Duration, error) {
	made, err := filepath.Glob(filepath.Join(place, "*.age"))
	if err != nil || len(made) == 0 {
		return 0, errors.Join(errors.New("no backup is in its place"), err)
	}
	identity, home := filepath.Join(f.dir, "offline.txt"), filepath.Join(f.dir, "empty")
	if err := os.WriteFile(identity, []byte(offline.String()+"\n"), 0o600); err != nil {
		return 0, err
	}
	document := filepath.Join(n.home, "gatehouse.yaml")
	newest := made[len(made)-1] // their names begin with the time; one was made when the gateway had just started
	began := time.Now()
	empty := &node{base: n.base, home: home, directory: n.directory}
	if err := empty.tell("backup", "restore", newest, "--identity", identity, "--config", document, "--into", filepath.Join(home, "gatehouse")); err != nil {
		return 0, err
	}
	address := strings.TrimPrefix(n.base, "http://")
	if empty.process, err = start(address, empty.environment(), filepath.Join(f.binaries, "gatehouse"), "serve", "--config", document); err != nil {
		return 0, err
	}
	defer empty.Stop()
	err = empty.first(address)
	return time.Since(began), err
}

// fill lets a gateway serve until its event files have a size or a little more.
func (f *field) fill(n *node, size int64) (int64, error) {
	script := filepath.Join(f.dir, "fill.lua")
	if err := os.WriteFile(script, nil, 0o600); err != nil {
		return 0, err
	}
	for {
		if _, err := (wrk{script: script, connections: 32, url: n.base + "/plain/7"}).run(5 * time.Second); err != nil {
			return 0, err
		}
		files, err := filepath.Glob(filepath.Join(n.home, "events", "*"))
		if err != nil {
			return 0, err
		}
		var sum int64
		for _, name := range files {
			if info, err := os.Stat(name); err == nil {
				sum += info.Size()
			}
		}
		if sum >= size {
			return sum, nil
		}
	}
}

// during gives what requests felt, and how many cores the gateway used with its children.
func (n *node) during(send func() felt) (felt, float64, error) {
	before, err := n.CPU()
	if err != nil {
		return felt{}, 0, err
	}
	began := time.Now()
	out := send()
	took := time.Since(began)
	after, err := n.CPU()
	return out, (after - before).Seconds() / took.Seconds(), err
}
