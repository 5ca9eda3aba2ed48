package main

import "strings"

// good is a request that must always succeed.
type good struct {
	Name, Service, User, Method, Path, Body string
	Status                                  int
	Want                                    string // a word of the answer
}

// goods is a day in the shop, on its first day: numbers of new rows follow from the rows that are there.
func goods() []good {
	return []good{
		{"list the products", "catalogue", "", "GET", "/catalogue/products?sort=price_cents&limit=10", "", 200, "Oak table"},
		{"search for a lamp", "catalogue", "", "GET", "/catalogue/products?q=lamp", "", 200, "Floor lamp"},
		{"look at a product", "catalogue", "", "GET", "/catalogue/products/1", "", 200, "Desk lamp"},
		{"write a review", "catalogue", "alice", "POST", "/catalogue/products/1/reviews", `{"stars":5,"text":"Warm light, and it doesn't wobble."}`, 201, "alice"},
		{"read the reviews", "catalogue", "", "GET", "/catalogue/products/1/reviews", "", 200, "wobble"},
		{"place an order", "orders", "alice", "POST", "/shop/orders",
			`{"items":[{"productId":1,"quantity":2,"unitPriceCents":4900}],"note":"please ring twice"}`, 201, `"id":1005`},
		{"list the own orders", "orders", "alice", "GET", "/shop/orders", "", 200, "9800"},
		{"look at an order", "orders", "alice", "GET", "/shop/orders/1005", "", 200, "unit_price_cents"},
		{"pay by card", "paycard", "alice", "POST", "/paycard/payments", `{"orderId":1005,"amountCents":9800,"cardToken":"tok_a1b2c3d4e5f6a7b8"}`, 201, "captured"},
		{"look at the payment", "paycard", "alice", "GET", "/paycard/payments/702", "", 200, "9800"},
		{"ship it (support)", "logistics", "sam", "POST", "/logistics/shipments", `{"orderId":1005,"carrier":"fastbox","address":"Alice, 2 Hill Road"}`, 201, "packed"},
		{"track the parcel", "logistics", "alice", "GET", "/logistics/shipments/602", "", 200, "fastbox"},
		{"make the bill", "invoice", "alice", "POST", "/billing/invoices", `{"orderId":1005}`, 201, "invoice-502.txt"},
		{"look at the bill", "invoice", "alice", "GET", "/billing/invoices/502", "", 200, "9800"},
		{"download the bill", "invoice", "alice", "GET", "/billing/invoices/502/file?file=invoice-502.txt", "", 200, "INVOICE 502"},
		{"place a second order", "orders", "alice", "POST", "/shop/orders", `{"items":[{"productId":4,"quantity":1,"unitPriceCents":18900}]}`, 201, `"id":1006`},
		{"pay by bank", "paybank", "alice", "POST", "/paybank/transfers",
			`{"orderId":1006,"amountCents":18900,"iban":"DE89370400440532013000","reference":null}`, 201, "settled"},
		{"look at the transfer", "paybank", "alice", "GET", "/paybank/transfers/802", "", 200, "18900"},
		{"redeem a coupon", "orders", "alice", "POST", "/shop/coupons/redemptions", `{"code":"WELCOME-2026"}`, 200, "500"},
		{"change the own profile", "orders", "alice", "PATCH", "/shop/profile", `{"displayName":"Alice A.","preferences":{"theme":"dark"}}`, 200, "Alice A."},
		{"read the own profile", "orders", "alice", "GET", "/shop/profile", "", 200, "alice@mail.example"},
		{"change a price (admin)", "catalogue", "ada", "PATCH", "/catalogue/products/1", `{"priceCents":4500}`, 200, "4500"},
		{"cancel an order", "orders", "alice", "POST", "/shop/orders/1006/cancellation", "", 200, "cancelled"},
	}
}

func (g good) write(m message) ([]byte, error) { return m.bytes(g.User, g.Method, g.Path, g.Body) }

func containsAll(text string, all ...string) bool {
	for _, w := range all {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
