package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store"
)

// fill writes until the disk is full, then removes, and goes on.
func fill(d *DB) error {
	ctx := context.Background()
	value := make([]byte, 40_000)
	n := 0
	for ; n < 1000; n++ {
		_, err := d.Write(ctx, store.Write{Key: fmt.Sprint("fill/", n), Value: value})
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		fmt.Println("refused", err)
		break
	}
	if n < 3 || n == 1000 {
		return fmt.Errorf("%d records were taken", n)
	}
	for i := range n {
		r, err := d.Get(ctx, fmt.Sprint("fill/", i))
		if err != nil || len(r.Value) != len(value) {
			return fmt.Errorf("acknowledged record %d of %d: %w", i, n, err)
		}
	}
	if err := d.Check(ctx); err != nil {
		return err
	}
	fmt.Println("kept", n)
	return nil
}

// A real full disk: a process that may write no file longer than a megabyte. What was acknowledged stays, what is refused
// says why, and the store opens afterwards.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	o := options(t, somewhere(t))
	o.Key = under(t, 1, 2)
	_ = open(t, o).Close()
	cmd := exec.Command("/bin/sh", "-c", `ulimit -f 2048; trap "" XFSZ; exec "$0"`, os.Args[0]) // in blocks of 512 bytes
	cmd.Env = append(os.Environ(), childVariable+"=full "+o.Path)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "refused") || !strings.Contains(string(out), "kept") {
		t.Fatalf("%v: %s", err, out)
	}
	d := open(t, o)
	if err := d.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	put(t, d, "after", "x")
}
