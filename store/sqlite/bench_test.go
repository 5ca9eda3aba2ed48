package sqlite

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Encrypted and plain in one run: go test -bench . ./store/sqlite. The goals are at least 0.7 of plain for one row, 0.4 for
// a hundred.
func BenchmarkWrite(b *testing.B) {
	for _, rows := range []int{1, 100} {
		for _, plain := range []bool{true, false} {
			b.Run(fmt.Sprintf("rows=%d/plain=%v", rows, plain), func(b *testing.B) {
				d := benched(b, plain)
				value := make([]byte, 200)
				all := make([]store.Write, rows)
				n := 0
				for b.Loop() {
					for i := range all {
						all[i] = store.Write{Key: fmt.Sprintf("bench/%d", n%20_000), Value: value, Version: store.Any}
						n++
					}
					if err := d.WriteAll(context.Background(), all...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
			})
		}
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
