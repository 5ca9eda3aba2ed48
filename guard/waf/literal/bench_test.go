package literal

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// BenchmarkScan reads values of several lengths with the sieve of the whole rule set.
func BenchmarkScan(b *testing.B) {
	s, _ := crsSieve(b)
	lines := strings.Split(strings.TrimSpace(prose), "\n")
	long := strings.Join(lines, " ")
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"12 bytes", "John Smith 4"},
		{"30 bytes", "Wool socks, blue, size L and M"},
		{"uuid", "7c9e6679-7425-40de-944b-e07fc1f90ae7"},
		{"prose 100", lines[0][:97] + "..."},
		{"prose 1 KiB", long[:1024]},
		{"prose 1 KiB, no quotes", strings.NewReplacer(`"`, "", "'", "").Replace(long)[:1024]},
		{"Russian 1 KiB", strings.Repeat("Заказ отправлен вчера и будет доставлен завтра. ", 12)[:1024]},
		{"attack 1 KiB", strings.Repeat("' or 1=1; select * from users where cat /etc/passwd ", 20)[:1024]},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := s.NewWork()
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			busy(b, 1, func() { s.Scan(c.text, w) })
		})
	}
	values := benign()
	total := 0
	for _, v := range values {
		total += len(v.text)
	}
	b.Run(fmt.Sprintf("%d ordinary values of %d bytes", len(values), total/len(values)), func(b *testing.B) {
		w := s.NewWork()
		b.SetBytes(int64(total))
		busy(b, len(values), func() {
			for _, v := range values {
				s.Scan(v.text, w)
			}
		})
	})
}

// BenchmarkBuild derives the conditions of the whole rule set and builds the sieve.
func BenchmarkBuild(b *testing.B) {
	rules := crs(b)
	var all []Condition
	b.Run("derive", func(b *testing.B) {
		for b.Loop() {
			all = all[:0]
			for _, r := range rules {
				c, _ := r.condition()
				all = append(all, c)
			}
		}
	})
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			var build Builder
			for _, c := range all {
				build.Add(c)
			}
			build.Build()
		}
	})
}

// busy runs the loop and reports the processor's time per value, which other programs on the machine disturb least.
func busy(b *testing.B, values int, scan func()) {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		scan()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(b.N*values), "cpu-ns/value")
}
