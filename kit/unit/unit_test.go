package unit_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]unit.Size{
		"0": 0, "1": 1, "512B": 512, "16KiB": 16 << 10, "1MiB": 1 << 20, "3GiB": 3 << 30, " 1 KiB ": 1 << 10, "1536": 1536, "007": 7,
		"4294967296GiB": 1 << 62, "4611686018427387903": 1<<62 - 1,
	} {
		var s unit.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
	}
}

// Wrong uses: none is taken for a shorter or a longer size.
func TestNoSizes(t *testing.T) {
	for _, text := range []string{
		"", " ", "KiB", "B", "-1", "-1KiB", "+1", "1.5KiB", "1kB", "1KB", "1K", "1k", "1M", "1MB", "1kib", "1 KiB x", "1KiBB", "1BKiB", "0x10",
		"1_000", "1e3", "1,000", "١KiB", "4294967297GiB", "4611686018427387904", "99999999999999999999", "1KiB\x00", "nil", "unlimited",
	} {
		s := unit.Size(42)
		err := s.UnmarshalText([]byte(text))
		if err == nil || s != 42 {
			t.Errorf("%q was taken for %d", text, s)
			continue
		}
		if !strings.Contains(err.Error(), "16KiB") {
			t.Errorf("%q: the error shows no example: %v", text, err)
		}
	}
}

func TestSizesAreWrittenShort(t *testing.T) {
	for s, want := range map[unit.Size]string{0: "0B", 1: "1B", 1023: "1023B", 1024: "1KiB", 1536: "1536B", 3 << 20: "3MiB", 1 << 30: "1GiB", 5 << 40: "5120GiB"} {
		if got := s.String(); got != want {
			t.Errorf("%d: %q, want %q", int64(s), got, want)
		}
		if text, err := s.MarshalText(); err != nil || string(text) != want {
			t.Errorf("%d: %q, %v", int64(s), text, err)
		}
	}
}

// FuzzSize: what is taken is not negative and is read back from what is written.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"16KiB", "1", "0B", "-1", "1 GiB", "4294967296GiB", "KiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again unit.Size
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s || s < 0 {
			t.Errorf("%q is %d, written %s, read back %d: %v", text, int64(s), s, int64(again), err)
		}
	})
}
