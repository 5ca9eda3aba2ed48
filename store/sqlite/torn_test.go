package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Readers in another connection see each value whole while it is being written again and again: nothing that they may read
// is touched by a later write. With the log encrypted in blocks of 4 KiB one
// run in a few fails.
func TestReadersSeeNoTornPage(t *testing.T) {
	o := options(t, somewhere(t))
	writer, reader := open(t, o), open(t, o)
	ctx := context.Background()
	value := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 3000+n%3000) }
	put(t, writer, "k", string(value(0)))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := reader.Get(ctx, "k")
				if err != nil || !bytes.Equal(r.Value, value(int(r.Version-1))) {
					t.Errorf("version %d is not what was written: %v", r.Version, err)
					return
				}
			}
		})
	}
	for n, end := 1, time.Now().Add(2*time.Second); n < 1500 && time.Now().Before(end); n++ {
		if _, err := writer.Write(ctx, store.Write{Key: "k", Value: value(n), Version: int64(n)}); err != nil {
			t.Error(err)
			break
		}
		if n%100 == 0 {
			put(t, writer, fmt.Sprint("other/", n), "x")
		}
	}
	close(stop)
	wg.Wait()
}
