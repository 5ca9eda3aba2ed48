package sqlite

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Encrypted against plain, write by write in turns, so that a busy machine slows both: the metric is the plain store's median
// time over the encrypted one's. The goals are at least 0.7 for one row, 0.4 for a hundred.
func BenchmarkEncryptedAgainstPlain(b *testing.B) {
	for _, rows := range []int{1, 100} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			both := []*DB{benched(b, true), benched(b, false)}
			times := make([][]time.Duration, 2)
			value := make([]byte, 200)
			all := make([]store.Write, rows)
			n := 0
			for b.Loop() {
				for i := range all {
					all[i] = store.Write{Key: fmt.Sprintf("bench/%d", n%20_000), Value: value, Version: store.Any}
					n++
				}
				for i, d := range both {
					began := time.Now()
					if err := d.WriteAll(context.Background(), all...); err != nil {
						b.Fatal(err)
					}
					times[i] = append(times[i], time.Since(began))
				}
			}
			for i := range times {
				slices.Sort(times[i])
			}
			plain, encrypted := times[0][len(times[0])/2], times[1][len(times[1])/2]
			b.ReportMetric(plain.Seconds()/encrypted.Seconds(), "of-plain")
			b.ReportMetric(float64(rows)/encrypted.Seconds(), "rows/s")
		})
	}
}

// Many callers, each of which waits for the disk: they share its fsync.
func BenchmarkGroupCommit(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := benched(b, false)
			b.SetParallelism((callers + 1) / 2)
			var n atomic.Int64
			value := make([]byte, 200)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := d.Write(context.Background(), store.Write{Key: fmt.Sprintf("bench/%d", n.Add(1)%20_000), Value: value, Version: store.Any}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, plain := range []bool{true, false} {
		b.Run(fmt.Sprint("plain=", plain), func(b *testing.B) {
			d := benched(b, plain)
			for i := range 2000 {
				put(b, d, fmt.Sprint("bench/", i), "value")
			}
			n := 0
			for b.Loop() {
				if _, err := d.Get(context.Background(), fmt.Sprint("bench/", n%2000)); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

func benched(b *testing.B, plain bool) *DB {
	o := options(b, somewhere(b))
	o.plain = plain
	return open(b, o)
}
