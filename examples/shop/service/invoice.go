package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

const invoiceSchema = `
CREATE TABLE invoices (id INTEGER PRIMARY KEY, order_id INTEGER, customer TEXT, total_cents INTEGER, file TEXT);
INSERT INTO invoices VALUES (501, 1002, 'bob', 12900, 'invoice-501.txt');`

// invoice writes bills.
func invoice() (*Service, string) {
	s := &Service{name: "invoice", base: "/billing"}
	s.routes = []route{
		{"POST", "/invoices", createInvoice},
		{"GET", "/invoices/{id}", getInvoice},
		{"GET", "/invoices/{id}/file", downloadInvoice},
	}
	return s, invoiceSchema
}

func invoiceText(id, order int64, customer string, cents int64) string {
	return fmt.Sprintf("INVOICE %d\norder    %d\ncustomer %s\ntotal    %d.%02d EUR\n", id, order, customer, cents/100, cents%100)
}

// Hole: writes a bill for any order, paid or not, whoever asks (a step skipped).
func createInvoice(c *call) (any, error) {
	var ask struct {
		Order int64 `json:"orderId"`
	}
	if err := c.read(&ask); err != nil {
		return nil, err
	}
	answer, err := http.Get(fmt.Sprintf("%s/orders/%d", c.svc.peer("orders"), ask.Order))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var o struct {
		ID       int64  `json:"id"`
		Customer string `json:"customer"`
		Total    int64  `json:"total_cents"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&o); err != nil {
		return nil, err
	}
	if o.ID == 0 {
		return nil, errNotFound
	}
	id, err := c.svc.db.exec(`INSERT INTO invoices (order_id, customer, total_cents) VALUES (?, ?, ?)`, o.ID, o.Customer, o.Total)
	if err != nil {
		return nil, err
	}
	file := fmt.Sprintf("invoice-%d.txt", id)
	if err := os.WriteFile(filepath.Join(c.svc.dir, "invoices", file), []byte(invoiceText(id, o.ID, o.Customer, o.Total)), 0o600); err != nil {
		return nil, err
	}
	if _, err := c.svc.db.exec(`UPDATE invoices SET file = ? WHERE id = ?`, file, id); err != nil {
		return nil, err
	}
	return c.created(`SELECT id, order_id, customer, total_cents, file FROM invoices WHERE id = ?`, id)
}

// Hole: anyone's invoice by its number.
func getInvoice(c *call) (any, error) {
	return c.svc.db.row(`SELECT id, order_id, customer, total_cents, file FROM invoices WHERE id = ?`, c.path["id"])
}

// Hole: opens whatever file the client names (path traversal), whichever invoice the path says.
func downloadInvoice(c *call) (any, error) {
	text, err := os.ReadFile(filepath.Join(c.svc.dir, "invoices", c.query["file"]))
	if err != nil {
		return nil, err
	}
	return plain(text), nil
}
