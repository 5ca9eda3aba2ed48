package sqlite

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
	"lukechampine.com/adiantum"

	"github.com/gatehouse-sec/gatehouse/store"
)

// memory is a file that lies in memory.
type memory struct {
	vfs.File
	data []byte
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if grow := off + int64(len(p)) - int64(len(m.data)); grow > 0 {
		m.data = append(m.data, make([]byte, grow)...)
	}
	return copy(m.data[off:], p), nil
}

// Whatever is written, wherever it begins and ends, is read again, and no piece but those that it touches changes on the disk.
func FuzzLogPieces(f *testing.F) {
	f.Add(uint16(0), uint16(32), uint16(0), uint16(4096))
	f.Add(uint16(32), uint16(24), uint16(56), uint16(4096))
	f.Add(uint16(4152), uint16(4120), uint16(0), uint16(9000))
	f.Add(uint16(10), uint16(5000), uint16(4000), uint16(3))
	f.Fuzz(func(t *testing.T, at1, n1, at2, n2 uint16) {
		disk := &memory{}
		log := &logFile{File: disk, code: adiantum.New(make([]byte, keySize))}
		want := make([]byte, logHead+20*logFrame)
		if _, err := log.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		for i, w := range [][2]uint16{{at1, n1}, {at2, n2}} {
			before := bytes.Clone(disk.data)
			off, p := int64(w[0]), bytes.Repeat([]byte{byte(i + 1)}, int(w[1])%(5*logFrame))
			if n, err := log.WriteAt(p, off); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
			copy(want[off:], p)
			from, _ := pieceAt(off)
			_, to := pieceAt(off + int64(max(len(p)-1, 0)))
			if !bytes.Equal(before[:from], disk.data[:from]) || !bytes.Equal(before[to:], disk.data[to:]) {
				t.Fatalf("writing %d bytes at %d touched more than %d to %d", len(p), off, from, to)
			}
			if len(p) > 16 && bytes.Contains(disk.data, p) {
				t.Fatal("not encrypted")
			}
		}
		got := make([]byte, len(want))
		if n, err := log.ReadAt(got, 0); n != len(got) || err != nil || !bytes.Equal(got, want) {
			t.Fatal(n, err)
		}
		part := make([]byte, n2)
		if n, err := log.ReadAt(part, int64(at1)); n != len(part) || err != nil || !bytes.Equal(part, want[at1:int(at1)+len(part)]) {
			t.Fatal(n, err)
		}
	})
}

func FuzzPosition(f *testing.F) {
	for _, seed := range []string{"", "abc.7", "abc.-1", "abc.99", "x.7", "abc.", ".7", "abc.7.7", "abc.+7", "abc.9223372036854775808"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, mark string) {
		n := position(mark, "abc", 10)
		if n < 0 || n > 10 || n > 0 && len(mark) < 5 {
			t.Fatalf("%q is at %d", mark, n)
		}
	})
}

// What has expired leaves the file, an hour late, and no number is given out twice for it.
func TestPurge(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	o := options(t, somewhere(t))
	o.Now = func() time.Time { return now }
	d := open(t, o)
	ctx := context.Background()
	rows := func() (n int) {
		if err := d.read(ctx, func(c *conn) error {
			return c.run("SELECT count(*) FROM record", nil, func(s *sqlite3.Stmt) { n = s.ColumnInt(0) })
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	put(t, d, "first", "x")
	if _, err := d.Write(ctx, store.Write{Key: "short", Value: []byte("x"), Expires: now.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	_, mark, err := d.Since(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(30 * time.Minute)
	if err := d.Ping(ctx); err != nil || rows() != 2 {
		t.Fatalf("%d rows half an hour later, %v", rows(), err)
	}
	now = now.Add(time.Hour)
	if err := d.Ping(ctx); err != nil || rows() != 1 {
		t.Fatalf("%d rows, %v", rows(), err)
	}
	put(t, d, "second", "x") // gets the number after the one that was removed
	changed, _, err := d.Since(ctx, "", mark)
	if err != nil || len(changed) != 1 || changed[0].Key != "second" {
		t.Fatalf("%v, %v", changed, err)
	}
}
