package service

import (
	"encoding/json"
	"time"
)

const ordersSchema = `
CREATE TABLE customers (subject TEXT PRIMARY KEY, display_name TEXT, email TEXT, role TEXT, preferences TEXT, password_hash TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, status TEXT, total_cents INTEGER, note TEXT);
CREATE TABLE items (order_id INTEGER REFERENCES orders(id), product_id INTEGER, quantity INTEGER, unit_price_cents INTEGER);
CREATE TABLE coupons (code TEXT PRIMARY KEY, cents INTEGER, used INTEGER DEFAULT 0);
CREATE TABLE credits (customer TEXT, code TEXT, cents INTEGER);
INSERT INTO customers VALUES
	('alice', 'Alice', 'alice@mail.example', 'customer', '{}', '$2a$10$demo-hash-of-alice'),
	('bob', 'Bob', 'bob@mail.example', 'customer', '{}', '$2a$10$demo-hash-of-bob'),
	('carol', 'Carol', 'carol@mail.example', 'customer', '{}', '$2a$10$demo-hash-of-carol'),
	('mallory', 'Mallory', 'mallory@mail.example', 'customer', '{}', '$2a$10$demo-hash-of-mallory');
INSERT INTO orders VALUES (1001, 'alice', 'paid', 4900, ''), (1002, 'bob', 'paid', 12900, 'ring twice'),
	(1003, 'carol', 'placed', 39900, ''), (1004, 'mallory', 'placed', 18900, '');
INSERT INTO items VALUES (1001, 1, 1, 4900), (1002, 2, 1, 12900), (1003, 3, 1, 39900), (1004, 4, 1, 18900);
INSERT INTO coupons (code, cents) VALUES ('WELCOME-2026', 500), ('GIFT-0347', 5000);`

// orders keeps customers, orders and coupons.
func orders() (*Service, string) {
	s := &Service{name: "orders", base: "/shop"}
	s.routes = []route{
		{"POST", "/orders", placeOrder},
		{"GET", "/orders", listOrders},
		{"GET", "/orders/{id}", getOrder},
		{"POST", "/orders/{id}/cancellation", cancelOrder},
		{"POST", "/coupons/redemptions", redeemCoupon},
		{"GET", "/profile", getProfile},
		{"PATCH", "/profile", changeProfile},
		{"GET", "/admin/orders", allOrders},
		{"POST", "/internal/orders/{id}/status", setStatus},
	}
	return s, ordersSchema
}

// order is what a client sends and what the table holds: one struct for both, which is the hole (status and total are
// the client's to set; so is the price of each item, which the contract even declares).
type order struct {
	Status string `json:"status"`
	Total  *int64 `json:"totalCents"`
	Note   string `json:"note"`
	Items  []struct {
		Product  int64 `json:"productId"`
		Quantity int64 `json:"quantity"`
		Price    int64 `json:"unitPriceCents"`
	} `json:"items"`
}

// Holes: takes price, status and total from the client; a negative quantity lowers the sum.
func placeOrder(c *call) (any, error) {
	o := order{Status: "placed"}
	if err := c.read(&o); err != nil {
		return nil, err
	}
	var sum int64
	for _, i := range o.Items {
		sum += i.Quantity * i.Price
	}
	if o.Total == nil {
		o.Total = &sum
	}
	id, err := c.svc.db.exec(`INSERT INTO orders (customer, status, total_cents, note) VALUES (?, ?, ?, ?)`, c.who.subject, o.Status, *o.Total, o.Note)
	if err != nil {
		return nil, err
	}
	for _, i := range o.Items {
		if _, err := c.svc.db.exec(`INSERT INTO items VALUES (?, ?, ?, ?)`, id, i.Product, i.Quantity, i.Price); err != nil {
			return nil, err
		}
	}
	return c.created(`SELECT id, customer, status, total_cents, note FROM orders WHERE id = ?`, id)
}

func listOrders(c *call) (any, error) {
	return c.svc.db.rows(`SELECT id, customer, status, total_cents, note FROM orders WHERE customer = ?`, c.who.subject)
}

// Hole: anyone's order by its number (broken object level authorisation).
func getOrder(c *call) (any, error) {
	o, err := c.svc.db.row(`SELECT id, customer, status, total_cents, note FROM orders WHERE id = ?`, c.path["id"])
	if err != nil {
		return nil, err
	}
	o["items"], err = c.svc.db.rows(`SELECT product_id, quantity, unit_price_cents FROM items WHERE order_id = ?`, c.path["id"])
	return o, err
}

// Hole: cancels anyone's order, also one that is shipped.
func cancelOrder(c *call) (any, error) {
	if _, err := c.svc.db.exec(`UPDATE orders SET status = 'cancelled' WHERE id = ?`, c.path["id"]); err != nil {
		return nil, err
	}
	return c.svc.db.row(`SELECT id, customer, status, total_cents, note FROM orders WHERE id = ?`, c.path["id"])
}

// Holes: counts no guesses; looks first and marks later, so that two who ask together both win.
func redeemCoupon(c *call) (any, error) {
	var ask struct {
		Code string `json:"code"`
	}
	if err := c.read(&ask); err != nil {
		return nil, err
	}
	coupon, err := c.svc.db.row(`SELECT code, cents FROM coupons WHERE code = ? AND used = 0`, ask.Code)
	if err != nil {
		return nil, err
	}
	time.Sleep(25 * time.Millisecond) // the loyalty partner is asked here
	if _, err := c.svc.db.exec(`INSERT INTO credits VALUES (?, ?, ?)`, c.who.subject, ask.Code, coupon["cents"]); err != nil {
		return nil, err
	}
	_, err = c.svc.db.exec(`UPDATE coupons SET used = used + 1 WHERE code = ?`, ask.Code)
	return coupon, err
}

// Hole: answers the whole row, the password hash with it.
func getProfile(c *call) (any, error) {
	return c.svc.db.row(`SELECT * FROM customers WHERE subject = ?`, c.who.subject)
}

// Hole: role is a member of the struct that the client's body is decoded into (mass assignment).
func changeProfile(c *call) (any, error) {
	var p struct {
		DisplayName *string         `json:"displayName"`
		Email       *string         `json:"email"`
		Role        *string         `json:"role"`
		Preferences json.RawMessage `json:"preferences"`
	}
	if err := c.read(&p); err != nil {
		return nil, err
	}
	var preferences *string
	if p.Preferences != nil {
		text := string(p.Preferences)
		preferences = &text
	}
	_, err := c.svc.db.exec(`UPDATE customers SET display_name = coalesce(?, display_name), email = coalesce(?, email),
		role = coalesce(?, role), preferences = coalesce(?, preferences) WHERE subject = ?`, p.DisplayName, p.Email, p.Role, preferences, c.who.subject)
	if err != nil {
		return nil, err
	}
	return c.svc.db.row(`SELECT subject, display_name, email, role FROM customers WHERE subject = ?`, c.who.subject)
}

// Hole: an undeclared admin page; any caller who has a name may read it.
func allOrders(c *call) (any, error) {
	if c.who.subject == "" {
		return nil, errForbidden
	}
	return c.svc.db.rows(`SELECT * FROM orders`)
}

// setStatus is how the other services report. Hole: it is reachable like any other path and believes everybody.
func setStatus(c *call) (any, error) {
	var ask struct {
		Status string `json:"status"`
	}
	if err := c.read(&ask); err != nil {
		return nil, err
	}
	_, err := c.svc.db.exec(`UPDATE orders SET status = ? WHERE id = ?`, ask.Status, c.path["id"])
	return row{"status": ask.Status}, err
}
