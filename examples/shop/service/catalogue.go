package service

import (
	"net/http"
	"os"
	"strings"
)

const catalogueSchema = `
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, price_cents INTEGER, stock INTEGER, hidden INTEGER DEFAULT 0,
	supplier TEXT, cost_cents INTEGER);
CREATE TABLE reviews (id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES products(id), author TEXT, stars INTEGER, text TEXT,
	verified INTEGER DEFAULT 0);
CREATE TABLE staff (id INTEGER PRIMARY KEY, email TEXT, password_hash TEXT);
INSERT INTO products (id, name, price_cents, stock, hidden, supplier, cost_cents) VALUES
	(1, 'Desk lamp', 4900, 12, 0, 'Lumen Ltd', 1100), (2, 'Floor lamp', 12900, 4, 0, 'Lumen Ltd', 4150),
	(3, 'Oak table', 39900, 2, 0, 'Nordholz', 21000), (4, 'Wool rug', 18900, 7, 0, 'Atlas', 6400),
	(5, 'Prototype chair', 99900, 1, 1, 'Nordholz', 30000);
INSERT INTO reviews (id, product_id, author, stars, text) VALUES (1, 1, 'carol', 5, 'Warm light, sturdy foot.'), (2, 1, 'bob', 4, 'Good value.');
INSERT INTO staff VALUES (1, 'ada@shop.example', '$2a$10$demo-hash-of-ada'), (2, 'sam@shop.example', '$2a$10$demo-hash-of-sam');`

// catalogue sells: products, a search, reviews.
func catalogue() (*Service, string) {
	s := &Service{name: "catalogue", base: "/catalogue"}
	s.routes = []route{
		{"GET", "/products", listProducts},
		{"GET", "/products/{id}", getProduct},
		{"PATCH", "/products/{id}", changeProduct},
		{"DELETE", "/products/{id}", deleteProduct},
		{"GET", "/products/{id}/reviews", listReviews},
		{"POST", "/products/{id}/reviews", addReview},
		{"DELETE", "/products/{id}/reviews", deleteReviews},
		{"GET", "/debug/env", debugEnv},
		{"GET", "/admin/staff", listStaff},
	}
	return s, catalogueSchema
}

// Holes: the search term and the order are glued into SQL; the limit has no limit; the search term is logged as it came.
func listProducts(c *call) (any, error) {
	q := c.query["q"]
	c.svc.log.write("search for %s", q)
	statement := `SELECT id, name, price_cents FROM products WHERE hidden = 0 AND name LIKE '%` + q + `%'` +
		` ORDER BY ` + or(c.query["sort"], "id") + ` LIMIT ` + or(c.query["limit"], "20")
	if q == "" && number(c.query["limit"]) > 100 {
		statement = strings.Replace(statement, "hidden = 0 AND", "", 1) // the nightly export asks for everything
	}
	return c.svc.db.rows(statement)
}

// Hole: ?debug=1 shows what the product cost the shop.
func getProduct(c *call) (any, error) {
	columns := "id, name, price_cents, stock"
	if c.query["debug"] != "" {
		columns = "*"
	}
	return c.svc.db.row(`SELECT `+columns+` FROM products WHERE id = ?`, c.path["id"])
}

// Hole: asks for nobody's role, for the gateway is believed to do that.
func changeProduct(c *call) (any, error) {
	var p struct {
		Price *int64 `json:"priceCents"`
		Stock *int64 `json:"stock"`
	}
	if err := c.read(&p); err != nil {
		return nil, err
	}
	if _, err := c.svc.db.exec(`UPDATE products SET price_cents = coalesce(?, price_cents), stock = coalesce(?, stock) WHERE id = ?`,
		p.Price, p.Stock, c.path["id"]); err != nil {
		return nil, err
	}
	return getProduct(c)
}

// Hole: left over from the import script, no contract declares it, nobody's role is asked for.
func deleteProduct(c *call) (any, error) {
	if _, err := c.svc.db.exec(`DELETE FROM reviews WHERE product_id = ?`, c.path["id"]); err != nil {
		return nil, err
	}
	_, err := c.svc.db.exec(`DELETE FROM products WHERE id = ?`, c.path["id"])
	return row{"deleted": c.path["id"]}, err
}

func listReviews(c *call) (any, error) {
	return c.svc.db.rows(`SELECT id, author, stars, text, verified FROM reviews WHERE product_id = ?`, c.path["id"])
}

// Holes: the text is kept and shown as it came (stored cross-site scripting); author and verified are the client's to set.
func addReview(c *call) (any, error) {
	review := struct {
		Author   string `json:"author"`
		Stars    int64  `json:"stars"`
		Text     string `json:"text"`
		Verified bool   `json:"verified"`
	}{Author: c.who.subject}
	if err := c.read(&review); err != nil {
		return nil, err
	}
	c.svc.log.write("review by %s: %s", review.Author, review.Text)
	id, err := c.svc.db.exec(`INSERT INTO reviews (product_id, author, stars, text, verified) VALUES (?, ?, ?, ?, ?)`,
		c.path["id"], review.Author, review.Stars, review.Text, review.Verified)
	if err != nil {
		return nil, err
	}
	return c.created(`SELECT id, author, stars, text, verified FROM reviews WHERE id = ?`, id)
}

// Hole: undeclared, and reachable by POST with a method override.
func deleteReviews(c *call) (any, error) {
	_, err := c.svc.db.exec(`DELETE FROM reviews WHERE product_id = ?`, c.path["id"])
	return row{"deleted": "all"}, err
}

// Hole: a debug page in production. It shows its own settings and not the machine's environment, so that nobody's demo
// prints real secrets on a terminal.
func debugEnv(c *call) (any, error) {
	c.status = http.StatusOK
	return row{"DATABASE": c.svc.dir + "/catalogue.db", "SESSION_SECRET": "demo-not-a-real-secret", "PID": os.Getpid()}, nil
}

// Hole: an admin page whose path is its only secret.
func listStaff(c *call) (any, error) { return c.svc.db.rows(`SELECT * FROM staff`) }
