package response

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// orders is ordinary JSON of about n bytes.
func orders(n int) string {
	var b strings.Builder
	b.WriteString(`{"orders":[`)
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"customer":"Ann O'Neil","email":"ann%d@example.com","total":%d.50,"created":"2026-11-22T20:04:%02dZ","status":"shipped","note":"please ring at the company door","url":"https://shop.example.com/orders/%d"}`, 1000+i, i, i%90, i%60, i)
	}
	return b.String() + `]}`
}

// page is an ordinary page of about n bytes.
func page(n int) string {
	const part = `<div class="item"><h2>Green tea</h2><p>A warning: not for children. The driver at com port 3 uses JavaScript; an exception proves the rule.</p><a href="/orders/17?sort=asc">more</a></div>` + "\n"
	return "<!DOCTYPE html>\n<html><head><title>Shop</title></head><body>\n" + strings.Repeat(part, n/len(part)+1) + "</body></html>\n"
}

func BenchmarkBegin(b *testing.B) {
	if err := shared.Ready(); err != nil {
		b.Fatal(err)
	}
	i := inspector(b, Config{}, 1)
	for _, c := range []struct{ name, body string }{
		{"json/1KiB", orders(1 << 10)}, {"json/10KiB", orders(10 << 10)}, {"json/100KiB", orders(100 << 10)}, {"json/512KiB", orders(511 << 10)},
		{"html/10KiB", page(10 << 10)}, {"html/100KiB", page(100 << 10)}, {"sql error", `{"error":"You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			body := []byte(c.body)
			for b.Loop() {
				n := begin(b, i, 200, "application/json")
				if v := n.Begin(b.Context(), body, true); !v.Allowed() {
					b.Fatal(v)
				}
			}
		})
	}
}

// BenchmarkEngine is what the same costs when the engine judges every answer, without its rules for requests.
func BenchmarkEngine(b *testing.B) {
	if err := shared.Ready(); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, body string }{{"json/1KiB", orders(1 << 10)}, {"json/10KiB", orders(10 << 10)}, {"json/100KiB", orders(100 << 10)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if denied, _ := referee(b, c.body, 200, 1); denied {
					b.Fatal("denied")
				}
			}
		})
	}
}

// BenchmarkNext is what an answer costs behind its held part.
func BenchmarkNext(b *testing.B) {
	i := inspector(b, Config{}, 1)
	piece := []byte(orders(32 << 10))
	n := begin(b, i, 200, "application/json")
	if v := n.Begin(b.Context(), piece, false); !v.Allowed() {
		b.Fatal(v)
	}
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if v := n.Next(b.Context(), piece, false); !v.Allowed() {
			b.Fatal(v)
		}
	}
}

var _ gate.Inspection = (*inspection)(nil)
