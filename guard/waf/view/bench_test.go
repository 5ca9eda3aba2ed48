package view

import (
	"fmt"
	"strings"
	"testing"
)

// order is an order of many lines: about 10 KiB of JSON with 642 leaves.
func order() string {
	var b strings.Builder
	b.WriteString(`{"id":"8f14e45f","customer":{"name":"Ann","city":"Bern"},"lines":[`)
	for i := range 128 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"A-%04d","name":"green tea, %d g","qty":%d,"price":%d.50,"gift":false}`, i, 50+i, i%7, 3+i)
	}
	b.WriteString("]}")
	return b.String()
}

func BenchmarkFill(b *testing.B) {
	for name, s := range map[string]sample{
		"get":         {method: "GET", target: "/products/1?q=green%20tea"},
		"json10KiB":   post("application/json", order()),
		"form":        post("application/x-www-form-urlencoded", "a=1&b=2&c=3&d=4"),
		"upload100Ki": multi("Content-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\n\r\n" + strings.Repeat("x", 100<<10)),
	} {
		b.Run(name, func(b *testing.B) {
			x, tree, ok := s.exchange()
			if !ok {
				b.Fatal("refused")
			}
			var v View
			b.ReportAllocs()
			for b.Loop() {
				v.Fill(x, tree)
			}
		})
	}
}

func BenchmarkFeed(b *testing.B) {
	x, tree, _ := post("application/json", order()).exchange()
	var v View
	v.Fill(x, tree)
	b.ReportAllocs()
	for b.Loop() {
		tx := engine().NewTransactionWithID(x.ID).(transaction)
		if v.FeedHead(tx) != nil || v.FeedBody(tx) != nil {
			b.Fatal("not fed")
		}
		tx.Close()
	}
}
