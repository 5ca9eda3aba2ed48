package backup

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// TestMain runs this program as the one that is killed, if it is told to.
func TestMain(m *testing.M) {
	switch os.Getenv("GATEHOUSE_BACKUP_CHILD") {
	case "create":
		os.Exit(createForEver(os.Getenv("GATEHOUSE_BACKUP_ROOT")))
	case "restore":
		os.Exit(restoreForEver(os.Getenv("GATEHOUSE_BACKUP_ROOT")))
	}
	os.Exit(m.Run())
}

func childBackups(root string) (*Backups, error) {
	public, err := os.ReadFile(filepath.Join(root, "public"))
	if err != nil {
		return nil, err
	}
	var to Recipient
	if err := to.UnmarshalText(public); err != nil {
		return nil, err
	}
	cfg := Config{To: Target{directory: filepath.Join(root, "place")}, Recipients: []Recipient{to}, MaxRate: 1 << 40, Keep: Keep{Last: 4}}.Default(filepath.Join(root, "state"))
	b, err := New(cfg, Tools{
		Collect: func(context.Context) (Content, error) {
			return Content{Maker: Maker{Installation: "inst", Node: "a"}, Revision: 7, Parts: []Part{Bytes("store.db", randomBytes(int(unit.MiB))), Bytes("keyring.json", []byte("{}"))}}, nil
		},
		Keys: ring{"one"}, Now: laterEachTime(), Random: rand.Reader,
	})
	if hours, _ := strconv.Atoi(os.Getenv("GATEHOUSE_BACKUP_HOURS")); err == nil && hours%2 == 1 {
		b.place = copying{b.place}
	}
	return b, err
}

// copying is a place on another disk.
type copying struct{ Destination }

func (c copying) Put(ctx context.Context, name string, from io.ReadSeeker, size int64) error {
	return c.Destination.Put(ctx, name, struct{ io.ReadSeeker }{from}, size)
}

// laterEachTime is a clock by which no two backups are made in one second, also not by two processes: names tell the order.
func laterEachTime() func() time.Time {
	hours, _ := strconv.Atoi(os.Getenv("GATEHOUSE_BACKUP_HOURS"))
	at := noon.Add(time.Duration(hours) * time.Hour)
	return func() time.Time {
		at = at.Add(time.Second)
		return at
	}
}

// createForEver makes one backup after the other and prints the name of each that is done.
func createForEver(root string) int {
	b, err := childBackups(root)
	for err == nil {
		var made Made
		if made, err = b.Create(context.Background(), nil); err == nil {
			fmt.Println(made.Name)
		}
		if _, pruned := b.Prune(context.Background()); pruned != nil {
			err = errors.Join(err, pruned)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// restoreForEver restores the same backup to new places and prints each that is done.
func restoreForEver(root string) int {
	b, err := childBackups(root)
	var all []Listed
	if err == nil {
		all, err = b.List(context.Background())
	}
	for n := 0; err == nil; n++ {
		into := filepath.Join(root, fmt.Sprintf("restored-%d-%d", os.Getpid(), n))
		_, err = b.Restore(context.Background(), all[0].Name, into, RestoreOptions{Now: time.Now, After: voidNothing})
		if err == nil {
			fmt.Println(into)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func voidNothing(context.Context, Opened) ([]string, error) { return nil, nil }

// killed runs a child, kills it at some time after it has done its first piece of work, and gives what it has printed.
func killed(t *testing.T, what, root string, round int) []string {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "GATEHOUSE_BACKUP_CHILD="+what, "GATEHOUSE_BACKUP_ROOT="+root, fmt.Sprint("GATEHOUSE_BACKUP_HOURS=", round))
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	command.Stderr = &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines, done := bufio.NewScanner(out), []string{}
	if !lines.Scan() {
		_ = command.Wait()
		t.Fatalf("the child did nothing: %s", said.String())
	}
	done = append(done, lines.Text())
	timer := time.AfterFunc(time.Duration(mathrand.IntN(60_000))*time.Microsecond, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	for lines.Scan() {
		done = append(done, lines.Text())
	}
	_ = command.Wait()
	return done
}

func rounds(short, soak int) int {
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		return soak
	}
	return short
}

func crashRoot(t *testing.T) (string, *Backups) {
	t.Helper()
	root := t.TempDir()
	offline, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, "place"), 0o700), os.WriteFile(filepath.Join(root, "public"), []byte(offline.Recipient().String()), 0o600)); err != nil {
		t.Fatal(err)
	}
	b, err := childBackups(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, b
}

// kill -9 while backups are made: every one that is listed is whole, every one that was acknowledged is listed or was
// removed by the rule, and the next one is made as if nothing had been (I14).
func TestKilledWhileCreating(t *testing.T) {
	root, b := crashRoot(t)
	for round := range rounds(20, 200) {
		acknowledged := killed(t, "create", root, round)
		all, err := b.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, l := range all {
			there[l.Name] = true
			if l.Waiting {
				continue
			}
			if p, err := b.Verify(t.Context(), l.Name, nil); err != nil || !p.OK {
				t.Fatalf("%s is listed: %v", l.Name, err)
			}
		}
		if newest := acknowledged[len(acknowledged)-1]; !there[newest] {
			t.Fatalf("%s was acknowledged and is not there: %v", newest, all)
		}
	}
	if err := b.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	made, err := b.Create(t.Context(), nil)
	if err != nil || made.Waiting {
		t.Fatalf("%+v, %v", made, err)
	}
	for _, pattern := range []string{"place/.partial-*", "state/spool/.partial-*", "state/spool/.proof-*"} {
		if left, _ := filepath.Glob(filepath.Join(root, pattern)); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
	}
}

// kill -9 while restoring: a place that exists is whole.
func TestKilledWhileRestoring(t *testing.T) {
	root, b := crashRoot(t)
	if _, err := b.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for round := range rounds(10, 100) {
		for _, into := range killed(t, "restore", root, round) {
			if _, err := os.Stat(into); err != nil {
				t.Errorf("%s was acknowledged: %v", into, err)
			}
		}
		places, _ := filepath.Glob(filepath.Join(root, "restored-*"))
		for _, into := range places {
			store, err := os.ReadFile(filepath.Join(into, "store.db"))
			ring, err2 := os.ReadFile(filepath.Join(into, "keyring.json"))
			if err != nil || err2 != nil || len(store) != int(unit.MiB) || string(ring) != "{}" {
				t.Fatalf("%s is half there: %v", into, errors.Join(err, err2))
			}
			_ = os.RemoveAll(into)
		}
	}
}
