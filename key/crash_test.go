package key_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/key"
)

// TestMain is also the process that is killed: it works on a house until then.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KEY_TEST_WORK"); dir != "" {
		os.Exit(work(dir))
	}
	os.Exit(m.Run())
}

// work seals records, rotates and changes the root key without an end, and says each thing that has been done. The reader
// of the pipe judges: what was said must hold.
func work(dir string) int {
	h := &house{dir: filepath.Join(dir, "state"), configDir: filepath.Join(dir, "config")}
	r, _, err := key.Open(context.Background(), key.Config{}, h.options())
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("open")
	tb := disk(filepath.Join(dir, "records"))
	for i := 0; ; i++ {
		sealed, err := r.Seal("store", fmt.Appendf(nil, "%d", i), []byte("record"))
		if err == nil {
			err = tb.put(i%20, sealed)
		}
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		fmt.Println("record", i)
		if i%5 == 0 {
			if _, err := r.Rotate(context.Background(), "store", tb.reseal(r), tb.left(r)); err != nil {
				fmt.Println("error", err)
				return 1
			}
			fmt.Println("rotated", i)
		}
		if i%7 == 0 {
			next, err := key.NewRoot(key.Config{}, r.Status().Installation, h.options())
			if err == nil {
				err = r.Rekey(context.Background(), next, func(key.Handout) error { return nil })
			}
			if err != nil {
				fmt.Println("error", err)
				return 1
			}
			fmt.Println("rekeyed", i)
		}
	}
}

// K9, I14: killed at random instants of first starts, rotations and changes of the root key, everything that was sealed
// opens, a rotation goes on to its end, and what the old key sealed is then closed.
func TestKilledAtAnyInstant(t *testing.T) {
	points := 20
	if os.Getenv("GATEHOUSE_SOAK") == "1" {
		points = 200
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := &house{dir: filepath.Join(dir, "state"), configDir: filepath.Join(dir, "config")}
	tb := disk(filepath.Join(dir, "records"))
	said := map[string]int{}
	for point := range points {
		if point%5 == 0 { // a first start again
			for _, name := range []string{"state", "config", "records"} {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		c := exec.Command(self)
		c.Env = append(os.Environ(), "KEY_TEST_WORK="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// every fourth is killed by the clock, perhaps in its first start; the others soon after a number of things done
		kill := func(within int64) {
			micros, _ := rand.Int(rand.Reader, big.NewInt(within))
			time.AfterFunc(time.Duration(micros.Int64())*time.Microsecond, func() { _ = c.Process.Kill() })
		}
		number, _ := rand.Int(rand.Reader, big.NewInt(30))
		until := number.Int64() + 1
		if point%4 == 0 {
			kill(30_000)
		}
		last, done := -1, int64(0)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			said[word]++
			if word == "error" {
				t.Errorf("point %d: %s", point, rest)
			}
			if word == "record" {
				_, _ = fmt.Sscan(rest, &last)
			}
			if done++; done == until {
				kill(5_000)
			}
		}
		_ = c.Wait()
		judge(t, h, tb, point, last)
	}
	if said["record"] == 0 || said["rotated"] == 0 || said["rekeyed"] == 0 {
		t.Errorf("the work was never done: %v", said)
	}
}

// judge opens what a killed process has left.
func judge(t *testing.T, h *house, tb disk, point, last int) {
	t.Helper()
	r, first, err := key.Open(t.Context(), key.Config{}, h.options())
	if err != nil {
		t.Fatalf("point %d: %v", point, err)
	}
	records := tb.all(t)
	if first != nil && len(records) > 0 {
		t.Fatalf("point %d: a keyring was made over records", point)
	}
	highest := -1
	for name, sealed := range records {
		plain, err := r.Open("store", sealed, []byte("record"))
		if err != nil {
			t.Fatalf("point %d: record %s is lost: %v", point, name, err)
		}
		var n int
		_, _ = fmt.Sscan(string(plain), &n)
		highest = max(highest, n)
	}
	if highest < last {
		t.Fatalf("point %d: record %d was acknowledged, the newest is %d", point, last, highest)
	}
	rotation, err := r.Rotate(t.Context(), "store", tb.reseal(r), tb.left(r))
	if err != nil || !rotation.Done {
		t.Fatalf("point %d: %+v %v", point, rotation, err)
	}
	for name, sealed := range records {
		if r.Current("store", sealed) {
			continue // a rotation that was broken off had sealed it anew already
		}
		if _, err := r.Open("store", sealed, []byte("record")); err == nil {
			t.Fatalf("point %d: the old key still opens %s", point, name)
		}
	}
	for name, sealed := range tb.all(t) {
		if _, err := r.Open("store", sealed, []byte("record")); err != nil {
			t.Fatalf("point %d: record %s is lost by rotating: %v", point, name, err)
		}
	}
}

// disk keeps records as small files, each replaced whole.
type disk string

func (d disk) put(i int, sealed []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	path := filepath.Join(string(d), fmt.Sprint(i))
	if err := os.WriteFile(path+".new", []byte(hex.EncodeToString(sealed)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d disk) read() (map[string][]byte, error) {
	list, err := os.ReadDir(string(d))
	if os.IsNotExist(err) {
		return nil, nil
	}
	all := map[string][]byte{}
	for _, f := range list {
		if strings.HasSuffix(f.Name(), ".new") {
			continue
		}
		text, readErr := os.ReadFile(filepath.Join(string(d), f.Name()))
		sealed, hexErr := hex.DecodeString(string(text))
		if err = errors.Join(err, readErr, hexErr); err != nil {
			return nil, err
		}
		all[f.Name()] = sealed
	}
	return all, err
}

func (d disk) all(t *testing.T) map[string][]byte {
	t.Helper()
	all, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (d disk) reseal(r *key.Ring) key.Reseal {
	return func(_ context.Context, rotation key.Rotation) error {
		all, err := d.read()
		if err != nil {
			return err
		}
		for name, sealed := range all {
			if r.Current(rotation.Purpose, sealed) {
				continue
			}
			plain, err := r.Open(rotation.Purpose, sealed, []byte("record"))
			if err != nil {
				return err
			}
			if sealed, err = r.Seal(rotation.Purpose, plain, []byte("record")); err != nil {
				return err
			}
			i, err := strconv.Atoi(name)
			if err == nil {
				err = d.put(i, sealed)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func (d disk) left(r *key.Ring) key.Left {
	return func(_ context.Context, rotation key.Rotation) (n int64, _ error) {
		all, err := d.read()
		for _, sealed := range all {
			if !r.Current(rotation.Purpose, sealed) {
				n++
			}
		}
		return n, err
	}
}
