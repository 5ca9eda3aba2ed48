package service

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

const logisticsSchema = `
CREATE TABLE shipments (id INTEGER PRIMARY KEY, order_id INTEGER, carrier TEXT, address TEXT, status TEXT, courier_phone TEXT);
CREATE TABLE callbacks (shipment_id INTEGER, url TEXT, first_answer TEXT);
INSERT INTO shipments VALUES (601, 1002, 'fastbox', 'Bob, 1 River Lane', 'on the road', '+49 30 5550101');`

// logistics ships and tracks.
func logistics() (*Service, string) {
	s := &Service{name: "logistics", base: "/logistics"}
	s.routes = []route{
		{"POST", "/shipments", createShipment},
		{"GET", "/shipments/{id}", track},
		{"POST", "/shipments/{id}/callbacks", addCallback},
	}
	return s, logisticsSchema
}

// Hole: the shop's support creates shipments, but nobody asks whether this is support.
func createShipment(c *call) (any, error) {
	var s struct {
		Order   int64  `json:"orderId"`
		Carrier string `json:"carrier"`
		Address string `json:"address"`
	}
	if err := c.read(&s); err != nil {
		return nil, err
	}
	id, err := c.svc.db.exec(`INSERT INTO shipments (order_id, carrier, address, status, courier_phone) VALUES (?, ?, ?, 'packed', '+49 30 5550102')`,
		s.Order, s.Carrier, s.Address)
	if err != nil {
		return nil, err
	}
	if err := c.tellOrders(s.Order, "shipped"); err != nil {
		return nil, err
	}
	return c.created(`SELECT id, order_id, carrier, status FROM shipments WHERE id = ?`, id)
}

// Hole: "our own office" is whoever says so in X-Forwarded-For, and sees the courier's phone number.
func track(c *call) (any, error) {
	columns := "id, order_id, carrier, status"
	if strings.HasPrefix(c.r.Header.Get("X-Forwarded-For"), "10.") {
		columns += ", address, courier_phone"
	}
	return c.svc.db.row(`SELECT `+columns+` FROM shipments WHERE id = ?`, c.path["id"])
}

// Hole: fetches any URL to see whether it answers (server-side request forgery), and shows what it read.
func addCallback(c *call) (any, error) {
	var ask struct {
		URL string `json:"url"`
	}
	if err := c.read(&ask); err != nil {
		return nil, err
	}
	answer, err := http.Get(ask.URL)
	if err != nil {
		return nil, fmt.Errorf("test the callback: %w", err)
	}
	defer answer.Body.Close()
	first, err := io.ReadAll(io.LimitReader(answer.Body, 300))
	if err != nil {
		return nil, err
	}
	if _, err := c.svc.db.exec(`INSERT INTO callbacks VALUES (?, ?, ?)`, c.path["id"], ask.URL, string(first)); err != nil {
		return nil, err
	}
	c.status = http.StatusCreated
	return row{"url": ask.URL, "status": answer.StatusCode, "firstAnswer": string(first)}, nil
}
