package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/gatehouse-sec/gatehouse/store"
	"github.com/gatehouse-sec/gatehouse/store/postgres/pgtest"
)

// The figures are of a server that waits for its disk (fsync=on), over TLS on loopback.

func BenchmarkWrite(b *testing.B) {
	db := opened(b, pgtest.Start(b, "fsync=on").Database(b))
	value, ctx := make([]byte, 200), context.Background()
	n := 0
	for b.Loop() {
		n++
		if _, err := db.Write(ctx, store.Write{Key: fmt.Sprintf("k/%d", n), Value: value}); err != nil {
			b.Fatal(err)
		}
	}
}

// Many writers at once: the server commits groups of them with one wait for the disk.
func BenchmarkWriteTogether(b *testing.B) {
	db := opened(b, pgtest.Start(b, "fsync=on").Database(b))
	value := make([]byte, 200)
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := db.Write(context.Background(), store.Write{Key: fmt.Sprintf("k/%p", p), Value: value, Version: store.Any}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkWriteAll100(b *testing.B) {
	db := opened(b, pgtest.Start(b, "fsync=on").Database(b))
	all := make([]store.Write, 100)
	n := 0
	for b.Loop() {
		n++
		for i := range all {
			all[i] = store.Write{Key: fmt.Sprintf("k/%d/%d", n, i), Value: make([]byte, 200)}
		}
		if err := db.WriteAll(context.Background(), all...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	db := opened(b, shared.Database(b))
	if _, err := db.Write(context.Background(), store.Write{Key: "k", Value: make([]byte, 200)}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := db.Get(context.Background(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}

// A follower who is up to date asks again, over 20,000 records.
func BenchmarkSinceNothing(b *testing.B) {
	db, ctx := opened(b, shared.Database(b)), context.Background()
	for i := range 20 {
		var all []store.Write
		for k := range 1000 {
			all = append(all, store.Write{Key: fmt.Sprintf("k/%d/%d", i, k), Value: make([]byte, 100)})
		}
		if err := db.WriteAll(ctx, all...); err != nil {
			b.Fatal(err)
		}
	}
	_, mark, err := db.Since(ctx, "k/", "")
	for b.Loop() && err == nil {
		_, mark, err = db.Since(ctx, "k/", mark)
	}
	if err != nil {
		b.Fatal(err)
	}
}
