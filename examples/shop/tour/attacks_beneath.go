package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// beneath lists what is stopped before any guard runs: bytes, paths and fields that can be read in two ways, and what the
// contracts do not declare.
func beneath() []attack {
	review := `{"stars":5,"text":"two lengths"}`
	reviewed := func(o outcome) bool { return more(o, "catalogue", "reviews", nil) }
	staff := func(o outcome) bool { return shows(o, "password_hash") }
	return []attack{
		{Hole: "ALL-16", Name: "request with two lengths", Service: "catalogue", Guard: "wire", Expect: []int{400}, Effect: reviewed,
			Write: one("mallory", "POST", "/catalogue/products/1/reviews", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(review), review),
				"Content-Length: 6", "Transfer-Encoding: chunked")},
		{Hole: "ALL-16", Name: "lines that end in a bare LF", Service: "orders", Guard: "wire", Expect: []int{400}, Write: bareLF,
			Effect: func(o outcome) bool { return shows(o, "mallory@mail.example") }},
		{Hole: "ALL-01", Name: "staff list by encoded slashes", Service: "catalogue", Guard: "canon", Expect: []int{400}, Effect: staff,
			Write: one("", "GET", "/catalogue/products/1%2f..%2f..%2fadmin%2fstaff", "")},
		{Hole: "ALL-02", Name: "staff list by ..;/", Service: "catalogue", Guard: "canon", Expect: []int{400}, Effect: staff,
			Write: one("", "GET", "/catalogue/products/..;/admin/staff", "")},
		{Hole: "ALL-03", Name: "POST turned into DELETE", Service: "catalogue", Guard: "canon", Expect: []int{201, 400},
			Write: one("mallory", "POST", "/catalogue/products/1/reviews", `{"stars":1,"text":"gone"}`, "X-HTTP-Method-Override: DELETE"),
			Effect: func(o outcome) bool {
				return o.after.count("catalogue", "reviews", map[string]string{"author": "carol"}) == 0
			}},
		{Hole: "ALL-04", Name: "be carol by Gatehouse_Subject", Service: "orders", Guard: "canon", Expect: []int{400}, Effect: carol,
			Write: one("mallory", "GET", "/shop/profile", "", "Gatehouse_Subject: carol")},
		{Hole: "ALL-07", Name: "be carol by Gatehouse-Subject", Service: "orders", Guard: "canon", Expect: []int{200, 400}, Effect: carol,
			Write: one("mallory", "GET", "/shop/profile", "", "Gatehouse-Subject: carol")},
		{Hole: "LOG-02", Name: "courier's phone by X-Forwarded-For", Service: "logistics", Guard: "canon", Expect: []int{200, 400},
			Write:  one("mallory", "GET", "/logistics/shipments/601", "", "X-Forwarded-For: 10.0.0.5"),
			Effect: func(o outcome) bool { return shows(o, "courier_phone") }},
		{Hole: "ALL-08", Name: "two display names in one body", Service: "orders", Guard: "body", Expect: []int{400},
			Write: one("mallory", "PATCH", "/shop/profile", `{"displayName":"Mallory","displayName":"Shop Support"}`),
			Effect: func(o outcome) bool {
				return o.after.count("orders", "customers", map[string]string{"display_name": "Shop Support"}) > 0
			}},
		{Hole: "CAT-03", Name: "debug page", Service: "catalogue", Guard: "match", Expect: []int{404},
			Write:  one("", "GET", "/catalogue/debug/env", ""),
			Effect: func(o outcome) bool { return shows(o, "SESSION_SECRET") }},
		{Hole: "CAT-04", Name: "staff list by its own path", Service: "catalogue", Guard: "match", Expect: []int{404}, Effect: staff,
			Write: one("", "GET", "/catalogue/admin/staff", "")},
		{Hole: "CAT-06", Name: "delete a product", Service: "catalogue", Guard: "match", Expect: []int{405},
			Write:  one("mallory", "DELETE", "/catalogue/products/4", ""),
			Effect: func(o outcome) bool { return o.after.count("catalogue", "products", map[string]string{"id": "4"}) == 0 }},
		{Hole: "ORD-10", Name: "all orders by an admin page", Service: "orders", Guard: "match", Expect: []int{404},
			Write:  one("mallory", "GET", "/shop/admin/orders", ""),
			Effect: func(o outcome) bool { return shows(o, "ring twice") }},
		{Hole: "ORD-11", Name: "mark own order as paid", Service: "orders", Guard: "match", Expect: []int{404},
			Write:  one("mallory", "POST", "/shop/internal/orders/1004/status", `{"status":"paid"}`),
			Effect: func(o outcome) bool { return orderIs(o, "1004", "paid") }},
		{Hole: "ALL-13", Name: "preflight from a foreign page", Service: "orders", Guard: "cors", Expect: []int{403}, Effect: foreign,
			Write: one("", "OPTIONS", "/shop/profile", "", "Origin: https://evil.example", "Access-Control-Request-Method: PATCH")},
	}
}

// bareLF writes an ordinary request with the line ends of a text file.
func bareLF(m message) ([][]byte, error) {
	raw, err := m.bytes("mallory", "GET", "/shop/profile", "")
	return [][]byte{bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))}, err
}

// shows tells whether any answer that was served contains the word.
func shows(o outcome, word string) bool {
	for _, a := range o.answers {
		if a.ok() && strings.Contains(a.Body, word) {
			return true
		}
	}
	return false
}

// more tells whether a table has more rows of a kind than before.
func more(o outcome, service, table string, where map[string]string) bool {
	return o.after.count(service, table, where) > o.before.count(service, table, where)
}

func carol(o outcome) bool { return shows(o, "carol@mail.example") }

func orderIs(o outcome, id, status string) bool {
	return o.after.column("orders", "orders", "id", id, "status") == status
}

// foreign tells whether a browser would let the foreign page in.
func foreign(o outcome) bool {
	h := o.last().Header
	return h != nil && h.Get("Access-Control-Allow-Origin") == "https://evil.example" && o.last().Status < http.StatusBadRequest
}
