package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

func (r *rig) tick() error { return r.Tick(r.t.Context()) }

// down puts a switch between a rig and its place.
func (r *rig) down() *bool {
	down := false
	r.place = failing{r.place, &down}
	return &down
}

func TestBackupsAreMadeWhenTheyAreDue(t *testing.T) {
	r := newRig(t)
	made := 0
	for hour := range 73 {
		if err := r.tick(); err != nil {
			t.Fatal(err)
		}
		if n := slices.Index(r.kinds(), "made"); n >= 0 {
			made++
			if hour%24 != 0 {
				t.Errorf("one was made after %d hours", hour)
			}
		}
		if hour == 30 { // a restart changes nothing
			r.reopen()
		}
		r.clock = r.clock.Add(time.Hour)
	}
	if made != 4 {
		t.Errorf("%d were made in 72 hours", made)
	}
}

// A place that is out of reach for days: backups wait, within their bound; the alarm sounds after two intervals; all that
// wait arrive, and are proven, when it is there again (K12).
func TestAPlaceOutOfReach(t *testing.T) {
	r := newRig(t)
	down := r.down()
	if err := r.tick(); err != nil {
		t.Fatal(err)
	}
	r.kinds()
	*down = true
	var told []string
	at := map[string]int{}
	attempts := 0
	for minute := range 72 * 60 {
		r.clock = r.clock.Add(time.Minute)
		if err := r.tick(); err != nil {
			attempts++
		}
		for _, k := range r.kinds() {
			told = append(told, k)
			if _, ok := at[k]; !ok {
				at[k] = minute
			}
		}
	}
	if n := slices.Index(told, "overdue"); n < 0 || at["overdue"] < 48*60-2 || at["overdue"] > 48*60+2 {
		t.Errorf("the alarm sounds after %d minutes: %v", at["overdue"], told)
	}
	if n := count(told, "overdue"); n != 2 {
		t.Errorf("it sounds %d times in a day", n)
	}
	if n := count(told, "made"); n != 2 { // after 24 and 48 hours
		t.Errorf("%d backups were made meanwhile", n)
	}
	if attempts > 72+10 {
		t.Errorf("%d attempts in three days", attempts)
	}
	waiting, err := r.List(t.Context())
	if err == nil || len(waiting) != 2 || !waiting[0].Waiting {
		t.Errorf("%v, %v", waiting, err)
	}
	if n := count(told, "proved"); n != 0 {
		t.Errorf("%d proofs of what is not in its place", n)
	}
	*down = false
	r.clock = r.clock.Add(time.Hour)
	if err := r.tick(); err != nil {
		t.Fatal(err)
	}
	told = r.kinds()
	if count(told, "delivered") != 2 || count(told, "proved") != 3 {
		t.Errorf("when it is there again: %v", told)
	}
	all, err := r.List(t.Context())
	if err != nil || slices.ContainsFunc(all, func(l Listed) bool { return l.Waiting }) || len(all) < 4 {
		t.Errorf("%v, %v", all, err)
	}
	r.clock = r.clock.Add(time.Minute)
	if err := r.tick(); err != nil || slices.Contains(r.kinds(), "overdue") {
		t.Errorf("the alarm goes on: %v", err)
	}
}

func count(all []string, word string) (n int) {
	for _, w := range all {
		if w == word {
			n++
		}
	}
	return n
}

// The spool is bounded: the oldest that waits goes, and it is told (K12).
func TestTheSpoolIsBounded(t *testing.T) {
	const most = 8 * unit.MiB
	r := newRig(t, func(c *Config) { c.Spool.Size = most })
	*r.down() = true
	var told []string
	for range 5 {
		if made, err := r.Create(t.Context(), nil); !errors.Is(err, ErrWaiting) || !made.Waiting {
			t.Fatalf("%v, %+v", err, made)
		}
		told = append(told, r.kinds()...)
		r.clock = r.clock.Add(24 * time.Hour)
		total := int64(0)
		entries, _ := os.ReadDir(r.cfg.Spool.Directory)
		for _, e := range entries {
			info, _ := e.Info()
			total += info.Size()
		}
		if total > int64(most) {
			t.Errorf("%d bytes lie there", total)
		}
	}
	waiting, _ := r.List(t.Context())
	if len(waiting) != 2 || count(told, "dropped") != 3 || !waiting[1].Time.Equal(noon.Add(96*time.Hour)) {
		t.Errorf("%v, %v", waiting, told)
	}
	r.parts = append(r.parts, Bytes("big", randomBytes(9<<20)))
	if _, err := r.Create(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "spool.size") {
		t.Errorf("one larger than the spool: %v", err)
	}
}

// A place that is read but does not take writes: Create says that the backup waits, and nothing is lost.
func TestWaitingIsAnError(t *testing.T) {
	r := newRig(t)
	down := r.down()
	*down = true
	made, err := r.Create(t.Context(), nil)
	if !errors.Is(err, ErrWaiting) || made.Name == "" {
		t.Fatalf("%v", err)
	}
	*down = false
	r.reopen() // another process, later
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Verify(t.Context(), made.Name, nil); err != nil || !p.OK {
		t.Errorf("%v", err)
	}
}

func TestWhatIsKept(t *testing.T) {
	day := func(n int, hour int) Listed {
		when := noon.AddDate(0, 0, -n).Add(time.Duration(hour) * time.Hour)
		return Listed{Name: fmt.Sprintf("%d.%d", n, hour), Time: when}
	}
	var all []Listed
	for n := 60; n >= 0; n-- {
		all = append(all, day(n, 0), day(n, 6))
	}
	for name, c := range map[string]struct {
		keep   Keep
		proven string
		want   int
		has    []string
		not    []string
	}{
		"last":             {Keep{Last: 5}, "", 5, []string{"0.6", "0.0", "2.6"}, []string{"2.0"}},
		"daily":            {Keep{Last: 1, Daily: 7}, "", 7, []string{"0.6", "6.6"}, []string{"0.0", "7.6"}},
		"weekly":           {Keep{Last: 1, Weekly: 4}, "", 4, []string{"0.6", "7.6", "14.6", "21.6"}, []string{"1.6"}}, // noon is a Sunday
		"together":         {Keep{Last: 3, Daily: 7, Weekly: 4}, "", 8 + 3, []string{"0.0", "21.6"}, nil},
		"nothing at all":   {Keep{Daily: -1}, "", 1, []string{"0.6"}, nil},
		"a proven old one": {Keep{Last: 2}, "50.0", 3, []string{"50.0"}, nil},
		"a proven new one": {Keep{Last: 2}, "0.0", 2, []string{"0.0"}, nil},
	} {
		list := slices.Clone(all)
		for i := range list {
			if list[i].Name == c.proven {
				list[i].Proof = &Proof{OK: true}
			}
		}
		got := kept(list, c.keep)
		n := 0
		for _, k := range got {
			if k {
				n++
			}
		}
		if n != c.want {
			t.Errorf("%s: %d stay", name, n)
		}
		for _, k := range c.has {
			if !got[k] {
				t.Errorf("%s: %s goes", name, k)
			}
		}
		for _, k := range c.not {
			if got[k] {
				t.Errorf("%s: %s stays", name, k)
			}
		}
	}
}

func TestPrune(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Keep = Keep{Last: 2} })
	var names []string
	for range 5 {
		names = append(names, r.create().Name)
		r.clock = r.clock.Add(time.Hour)
	}
	other := r.file("notes.txt") // somebody else's
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := lockedPlace{r.place, names[1]}
	r.place = locked
	done, err := r.Prune(t.Context())
	if err != nil || !slices.Equal(done.Removed, []string{names[0], names[2]}) || !slices.Equal(done.Locked, names[1:2]) || done.Kept != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if entries, _ := r.book.All(t.Context()); len(entries) != 3 {
		t.Errorf("%d are remembered", len(entries))
	}
}

// lockedPlace does not let one file go.
type lockedPlace struct {
	Destination
	name string
}

func (l lockedPlace) Remove(ctx context.Context, name string) error {
	if name == l.name {
		return fmt.Errorf("%s: %w", name, ErrLocked)
	}
	return l.Destination.Remove(ctx, name)
}

// A backup is read no faster than its section says, and reports how far it is.
func TestThePaceIsKept(t *testing.T) {
	clock, slept := noon, time.Duration(0)
	p := &pace{rate: 1 << 20, now: func() time.Time { return clock }, sleep: func(_ context.Context, d time.Duration) error {
		clock, slept = clock.Add(d), slept+d
		return nil
	}}
	for range 64 {
		if err := p.take(t.Context(), 256<<10); err != nil {
			t.Fatal(err)
		}
	}
	if slept < 15*time.Second || slept > 16*time.Second {
		t.Errorf("16 MiB at 1 MiB a second take %s", slept)
	}
	clock = clock.Add(time.Hour) // a pause is not saved up
	slept = 0
	for range 8 {
		_ = p.take(t.Context(), 256<<10)
	}
	if slept < time.Second {
		t.Errorf("after a pause 2 MiB take %s", slept)
	}
}

func TestProgressIsTold(t *testing.T) {
	r := newRig(t)
	steps := map[string]bool{}
	last := int64(0)
	if _, err := r.Create(t.Context(), func(done, total int64, what string) {
		steps[what] = true
		if done < 0 || total > 0 && done > total {
			t.Errorf("%d of %d of %s", done, total, what)
		}
		if what == "read" {
			if done < last {
				t.Errorf("%d after %d", done, last)
			}
			last = done
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"store.db", "delivered", "read", "check events"} {
		if !steps[what] {
			t.Errorf("%s is not told: %v", what, steps)
		}
	}
}

func TestABackupIsCalledOff(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	r.parts = append([]Part{{Name: "x", Write: func(_ context.Context, to io.Writer) error {
		stop()
		_, err := to.Write(make([]byte, 4<<20))
		return err
	}}}, r.parts...)
	if _, err := r.Create(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if all, err := r.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// Names of backups that were made in one second sort as they were made, and the book tells when the next is due.
func TestNamesSortAsTheyWereMade(t *testing.T) {
	r := newRig(t)
	if due, err := r.Due(t.Context()); err != nil || !due.Equal(r.clock) {
		t.Errorf("before the first: due %v, %v", due, err)
	}
	second, last := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ""
	for i := range 1000 {
		id, err := newID(second.Add(time.Duration(i)*time.Millisecond), r.tools.Random)
		if err != nil || !validID(id) || id <= last {
			t.Fatalf("%s after %s: %v", id, last, err)
		}
		last = id
	}
	made, err := r.Create(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if due, err := r.Due(t.Context()); err != nil || !due.Equal(made.Time.Add(24*time.Hour)) {
		t.Errorf("due %v after %v, %v", due, made.Time, err)
	}
}

// Whatever a byte costs, no more of a processor is taken than is given, in slices that no request feels; others that take the
// processor stretch a backup three times, not for ever.
func TestTheShareIsKept(t *testing.T) {
	const rate = 64 << 20
	for name, c := range map[string]struct {
		cost  time.Duration // of 64 KiB
		share float64
		least time.Duration
		most  time.Duration // for 64 MiB
	}{
		"cheap: the rate bounds it":       {100 * time.Microsecond, 0.36, 990 * time.Millisecond, 1100 * time.Millisecond},
		"dear: the share does":            {600 * time.Microsecond, 0.36, 1600 * time.Millisecond, 1800 * time.Millisecond},
		"others are there: it still ends": {2 * time.Millisecond, 0.2, 2900 * time.Millisecond, 5 * time.Second},
	} {
		clock, slept, slices := noon, time.Duration(0), 0
		p := &pace{rate: rate, share: c.share, now: func() time.Time { return clock }, sleep: func(_ context.Context, d time.Duration) error {
			clock, slept, slices = clock.Add(d), slept+d, slices+1
			return nil
		}}
		for range 1024 {
			if err := p.take(t.Context(), 64<<10); err != nil {
				t.Fatal(err)
			}
			clock = clock.Add(c.cost)
		}
		if took := clock.Sub(noon); took < c.least || took > c.most {
			t.Errorf("%s: 64 MiB take %s, %s of it asleep in %d pieces", name, took, slept, slices)
		}
		if slices < 150 {
			t.Errorf("%s: it rested %d times", name, slices)
		}
	}
}
