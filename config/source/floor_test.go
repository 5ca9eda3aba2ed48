package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func digest(c string) string { return strings.Repeat(c, 64) }

func TestFloorFile(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "floor.json")
	for i, c := range []struct {
		mark Mark
		ok   bool
		then Mark
	}{
		{Mark{3, digest("a")}, true, Mark{3, digest("a")}},
		{Mark{3, digest("a")}, true, Mark{3, digest("a")}},
		{Mark{2, digest("a")}, false, Mark{3, digest("a")}},
		{Mark{3, digest("b")}, false, Mark{3, digest("a")}},
		{Mark{9, digest("b")}, true, Mark{9, digest("b")}},
	} {
		if highest, err := FloorFile(path).Highest(ctx); i == 0 && (highest != Mark{} || err != nil) {
			t.Errorf("before: %+v, %v", highest, err)
		}
		err := FloorFile(path).Raise(ctx, c.mark)
		if (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrReplayed) {
			t.Errorf("step %d: %v", i, err)
		}
		if highest, err := FloorFile(path).Highest(ctx); highest != c.then || err != nil {
			t.Errorf("step %d: %+v, %v", i, highest, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, text := range []string{"", "{}", "garbage", `{"format":"gatehouse.floor/1","version":0,"digest":""}`, `{"format":"gatehouse.floor/2","version":1,"digest":"` + digest("a") + `"}`} {
		write(t, path, text) // what cannot be read is not taken for nothing
		_, err := FloorFile(path).Highest(ctx)
		wants(t, err, path, "remove it")
		wants(t, FloorFile(path).Raise(ctx, Mark{10, digest("c")}), path)
	}
	if FloorFile(filepath.Join(path, "x")).Raise(ctx, Mark{1, digest("a")}) == nil {
		t.Error("a floor that cannot be written is no error")
	}
}

func TestFloorFileIsNeverLowered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "floor.json")
	f := FloorFile(path)
	var wait sync.WaitGroup
	for v := range int64(50) {
		wait.Go(func() { _ = f.Raise(context.Background(), Mark{v + 1, digest("a")}) })
	}
	wait.Wait()
	if highest, err := f.Highest(context.Background()); highest.Version != 50 || err != nil {
		t.Errorf("%+v, %v", highest, err)
	}
}

// At the start a node knows only its own file. An old document that names another store is refused by that; one that
// another node has left behind meanwhile is refused by Accept, once the store is known.
func TestFloorsOfNodeAndFleet(t *testing.T) {
	d := newDesk(t)
	path := filepath.Join(t.TempDir(), "floor.json")
	start := func() *Source {
		return open(t, filepath.Join(d.dir, "gatehouse.yaml"), Options{SignedBy: []string{d.verifier}, Floor: FloorFile(path), Now: func() time.Time { return d.now }})
	}
	fleet := &memory{}
	d.sign(2, time.Hour)
	s := start()
	b, err := s.Read(context.Background())
	must(t, err)
	s.Share(fleet)
	must(t, b.Accept(context.Background()))
	if fleet.mark.Version != 2 {
		t.Errorf("%+v", fleet.mark)
	}
	d.sign(1, time.Hour)
	if _, err := start().Read(context.Background()); !errors.Is(err, ErrReplayed) { // with any store
		t.Errorf("%v", err)
	}
	d.sign(3, time.Hour)
	s = start()
	b, err = s.Read(context.Background())
	must(t, err)
	fleet.mark = Mark{4, digest("f")} // another node is further
	s.Share(fleet)
	if err := b.Accept(context.Background()); !errors.Is(err, ErrReplayed) {
		t.Errorf("%v", err)
	}
	if own, _ := FloorFile(path).Highest(context.Background()); own.Version != 2 {
		t.Errorf("what was refused is remembered: %+v", own)
	}
	fleet.mark = Mark{1, digest("f")} // the store was restored from an old backup
	if _, err = start().Read(context.Background()); err != nil {
		t.Error(err)
	}
	d.sign(1, time.Hour)
	s = start()
	s.Share(fleet)
	if _, err := s.Read(context.Background()); !errors.Is(err, ErrReplayed) {
		t.Errorf("%v", err)
	}
}

func TestGiven(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/orders.yaml", "o")
	b := Given(dir+"/made-up.yaml", []byte("d"))
	data, err := b.ReadFile(dir+"/orders.yaml", dir+"/orders.yaml")
	if string(data) != "o" || err != nil || strings.Join(b.Files(), " ") != "made-up.yaml orders.yaml" || b.State().Generation == "" {
		t.Errorf("%q, %v, %q", data, err, b.Files())
	}
	must(t, b.Accept(context.Background()))
}
