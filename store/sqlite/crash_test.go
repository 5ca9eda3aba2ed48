package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/store"
)

// The test binary is also the process that is killed: with this variable set it does one thing and prints each
// acknowledgement to its standard output.
const childVariable = "GATEHOUSE_SQLITE_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childVariable); what != "" {
		if err := child(what); err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(what string) error {
	mode, path, _ := strings.Cut(what, " ")
	keys := func() (Keys, error) {
		one, err1 := secretOf(1)
		two, err2 := secretOf(2)
		return func() (a secret.Value, b []secret.Value) { return one, []secret.Value{two} }, errors.Join(err1, err2)
	}
	k, err := keys()
	if err != nil {
		return err
	}
	o := Options{Path: path, Key: k, Now: time.Now, Share: 1}
	if mode == "migrate" {
		o.migrations = longerHistory()
		fmt.Println("ready")
	}
	d, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	defer d.Close()
	switch mode {
	case "migrate":
		fmt.Println("migrated")
		return nil
	case "count":
		return count(d, 60)
	case "full":
		return fill(d)
	}
	fmt.Println("ready")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() { writeOn(d, g) })
	}
	for n := 0; ; n++ {
		switch mode {
		case "write":
			time.Sleep(time.Minute)
		case "rekey":
			next, err := secretOf(byte(1 + (n+1)%2))
			if err != nil {
				return err
			}
			if err := d.Rekey(context.Background(), next); err != nil {
				fmt.Println("error", err)
			}
			time.Sleep(5 * time.Millisecond) // let the writers in between
		case "snapshot":
			key, err := secretOf(9)
			if err != nil {
				return err
			}
			to := fmt.Sprintf("%s.copy%d", path, n)
			if err := d.Snapshot(context.Background(), to, key, nil); err != nil {
				fmt.Println("error", err)
			}
			fmt.Println("copied", to)
		}
	}
}

// writeOn writes one record again and again, and two more together, and prints what was acknowledged.
func writeOn(d *DB, g int) {
	for n := 1; ; n++ {
		value := []byte(strconv.Itoa(n))
		if _, err := d.Write(context.Background(), store.Write{Key: fmt.Sprintf("one/%d", g), Value: value, Version: store.Any}); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Printf("one %d %d\n", g, n)
		if err := d.WriteAll(context.Background(), store.Write{Key: fmt.Sprintf("left/%d", g), Value: value, Version: store.Any},
			store.Write{Key: fmt.Sprintf("right/%d", g), Value: value, Version: store.Any}); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Printf("two %d %d\n", g, n)
	}
}

// count adds one to a record that another process counts up, too.
func count(d *DB, times int) error {
	ctx := context.Background()
	for done := 0; done < times; {
		r, err := d.Get(ctx, "counter")
		if err != nil && !errors.Is(err, store.ErrNone) {
			return err
		}
		n, _ := strconv.Atoi(string(r.Value))
		_, err = d.Write(ctx, store.Write{Key: "counter", Value: []byte(strconv.Itoa(n + 1)), Version: r.Version})
		switch {
		case err == nil:
			done++
			fmt.Println("counted")
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return nil
}

// longerHistory is what a later program would bring: steps that take their time over what is there.
func longerHistory() fs.FS {
	first, err := embedded.ReadFile("migrations/00001_records.sql")
	if err != nil {
		panic(err)
	}
	h := fstest.MapFS{"00001_records.sql": {Data: first}}
	for n := 2; n <= 7; n++ {
		h[fmt.Sprintf("%05d_more.sql", n)] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"-- +goose Up\nCREATE TABLE more%d (a, b);\nINSERT INTO more%d SELECT key, value FROM record;\nALTER TABLE mark ADD COLUMN c%d INTEGER NOT NULL DEFAULT 7;\nCREATE INDEX i%d ON more%d (b, a);\n", n, n, n, n, n)}
	}
	return h
}

func points(short int) int {
	if os.Getenv("GATEHOUSE_SOAK") == "1" {
		return 200
	}
	return short
}

// killed starts a child, lets it work for a random time, kills it, and gives every line that it printed whole.
func killed(t *testing.T, what string, most time.Duration) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // what has no line end was cut off by the kill
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "ready" {
			time.AfterFunc(time.Duration(rand.Int64N(int64(most))), func() { _ = cmd.Process.Kill() })
		}
		lines = append(lines, line)
	}
	_ = cmd.Wait()
	for _, line := range lines {
		if strings.HasPrefix(line, "error") {
			t.Error(line)
		}
	}
	return lines
}

// judge opens what a killed process left and holds it to what that had acknowledged.
func judge(t *testing.T, o Options, lines []string) {
	t.Helper()
	d, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("after %d acknowledgements: %v", len(lines), err)
	}
	defer d.Close()
	if err := d.Check(context.Background()); err != nil {
		t.Error(err)
	}
	last := map[string]int{}
	for _, line := range lines {
		var g, n int
		var kind string
		if _, err := fmt.Sscanf(line, "%s %d %d", &kind, &g, &n); err == nil {
			last[fmt.Sprintf("%s/%d", kind, g)] = n
		}
	}
	number := func(key string) int {
		r, err := d.Get(context.Background(), key)
		if err != nil && !errors.Is(err, store.ErrNone) {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(r.Value))
		return n
	}
	for g := range 4 {
		one, left, right := number(fmt.Sprint("one/", g)), number(fmt.Sprint("left/", g)), number(fmt.Sprint("right/", g))
		if want := last[fmt.Sprint("one/", g)]; one < want || one > want+1 {
			t.Errorf("writer %d: %d was acknowledged, %d is there", g, want, one)
		}
		if want := last[fmt.Sprint("two/", g)]; left < want || left > want+1 || left != right {
			t.Errorf("writer %d: %d was acknowledged, %d and %d are there", g, want, left, right)
		}
	}
}

// Row I14: kill -9 at random points of writes, changes of key, and copies.
func TestI14Killed(t *testing.T) {
	for mode, n := range map[string]int{"write": 20, "rekey": 10, "snapshot": 8} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			total := 0
			for range points(n) {
				o := options(t, somewhere(t))
				o.Key = under(t, 1, 2)
				lines := killed(t, mode+" "+o.Path, 150*time.Millisecond)
				total += len(lines)
				judge(t, o, lines)
				copies, _ := filepath.Glob(o.Path + ".copy*")
				for _, c := range copies {
					if strings.Contains(c, ".part-") {
						continue
					}
					co := o
					co.Path, co.Key, co.MustExist = c, under(t, 9), true
					d := open(t, co)
					if err := d.Check(context.Background()); err != nil {
						t.Error(err)
					}
					_ = d.Close()
				}
				for _, line := range lines {
					if c, ok := strings.CutPrefix(line, "copied "); ok {
						if _, err := os.Stat(c); err != nil {
							t.Error(err)
						}
					}
				}
			}
			if total < points(n) {
				t.Errorf("only %d acknowledgements: this tests nothing", total)
			}
		})
	}
}

// Row I14: killed while a new version of the tables is made, or while the store itself is.
func TestI14KilledWhileMigrating(t *testing.T) {
	t.Parallel()
	for round := range points(10) {
		o := options(t, somewhere(t))
		o.Key = under(t, 1, 2)
		filled := round%2 == 0
		if filled {
			d := open(t, o)
			all := make([]store.Write, 400)
			for i := range all {
				all[i] = store.Write{Key: fmt.Sprintf("k/%d", i), Value: []byte(strings.Repeat("v", 500))}
			}
			if err := d.WriteAll(context.Background(), all...); err != nil {
				t.Fatal(err)
			}
			_ = d.Close()
		}
		killed(t, "migrate "+o.Path, 80*time.Millisecond)
		o.migrations = longerHistory()
		d := open(t, o)
		if s, err := d.Stat(context.Background()); err != nil || s.Schema != 7 {
			t.Fatalf("%+v, %v", s, err)
		}
		list, err := d.List(context.Background(), "", "", 1000)
		if err != nil || filled && len(list) != 400 {
			t.Fatalf("%d records, %v", len(list), err)
		}
		if err := d.Check(context.Background()); err != nil {
			t.Error(err)
		}
		left, _ := filepath.Glob(o.Path + ".new*")
		if len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		_ = d.Close()
	}
}

// Two real processes count one record up, while this one changes the key under them.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	o := options(t, somewhere(t))
	o.Key = under(t, 1, 2)
	d := open(t, o)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"=count "+o.Path)
			if out, err := cmd.Output(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	var wrote int
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		if err := d.Rekey(context.Background(), key(t, byte(2-wrote%2))); err != nil {
			t.Error(err)
		}
		put(t, d, fmt.Sprint("mine/", wrote), "x")
		wrote++
	}
	wg.Wait()
	has(t, d, "counter", "120")
	if list, err := d.List(context.Background(), "mine/", "", 10); err != nil || len(list) != 3 {
		t.Errorf("%d records, %v", len(list), err)
	}
}
