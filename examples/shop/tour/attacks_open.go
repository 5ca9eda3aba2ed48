package main

// open lists what no guard of today can know, because the shape of the request is right and only its meaning is wrong. The
// tour shows that they work through the gateway as well, and fails when one does not: then this list, holes.json and the
// README say less than is true.
func open() []attack {
	return []attack{
		{Hole: "ORD-01", Name: "read bob's order", Service: "orders", Write: one("mallory", "GET", "/shop/orders/1002", ""),
			Effect: func(o outcome) bool { return shows(o, "ring twice") }},
		{Hole: "ORD-02", Name: "cancel carol's order", Service: "orders", Write: one("mallory", "POST", "/shop/orders/1003/cancellation", ""),
			Effect: func(o outcome) bool { return orderIs(o, "1003", "cancelled") }},
		{Hole: "ORD-04", Name: "a table for one cent", Service: "orders",
			Write:  one("mallory", "POST", "/shop/orders", `{"items":[{"productId":3,"quantity":1,"unitPriceCents":1}]}`),
			Effect: func(o outcome) bool { return more(o, "orders", "orders", map[string]string{"total_cents": "1"}) }},
		{Hole: "PAY-01", Name: "pay a rug with one cent", Service: "paycard",
			Write:  one("mallory", "POST", "/paycard/payments", `{"orderId":1004,"amountCents":1,"cardToken":"tok_aaaabbbbccccdddd"}`),
			Effect: func(o outcome) bool { return orderIs(o, "1004", "paid") }},
		{Hole: "PAY-02", Name: "see bob's payment", Service: "paycard", Write: one("mallory", "GET", "/paycard/payments/701", ""),
			Effect: func(o outcome) bool { return shows(o, "12900") }},
		{Hole: "BNK-01", Name: "see alice's account number", Service: "paybank", Write: one("mallory", "GET", "/paybank/transfers/801", ""),
			Effect: func(o outcome) bool { return shows(o, "DE89370400440532013000") }},
		{Hole: "INV-02", Name: "see bob's bill", Service: "invoice", Write: one("mallory", "GET", "/billing/invoices/501/file?file=invoice-501.txt", ""),
			Effect: func(o outcome) bool { return shows(o, "customer bob") }},
		{Hole: "INV-03", Name: "a bill for an unpaid order", Service: "invoice", Write: one("mallory", "POST", "/billing/invoices", `{"orderId":1004}`),
			Effect: func(o outcome) bool { return more(o, "invoice", "invoices", map[string]string{"order_id": "1004"}) }},
		{Hole: "ORD-07", Name: "one coupon, twelve times at once", Service: "orders", Workers: 12,
			Write: times(12, "mallory", "POST", "/shop/coupons/redemptions", `{"code":"WELCOME-2026"}`),
			Effect: func(o outcome) bool {
				return o.after.count("orders", "credits", nil) >= o.before.count("orders", "credits", nil)+2
			}},
		{Hole: "LOG-04", Name: "the inner network, oddly spelled", Service: "logistics", Write: callback("parcel@localhost"), Effect: reachedInside},
		{Hole: "CAT-11", Name: "a forged line in the log, as prose", Service: "catalogue",
			Write: one("mallory", "POST", "/catalogue/products/1/reviews", `{"stars":4,"text":"Nice.\nGET /catalogue/products user=ada"}`),
			Effect: func(o outcome) bool {
				return more(o, "catalogue", "log", map[string]string{"line": "GET /catalogue/products user=ada"})
			}},
		{Hole: "ORD-09", Name: "password hash in the own profile", Service: "orders", Write: one("mallory", "GET", "/shop/profile", ""),
			Effect: func(o outcome) bool { return shows(o, "demo-hash-of-mallory") }},
	}
}
