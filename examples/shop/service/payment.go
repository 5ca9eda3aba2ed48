package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

const paycardSchema = `
CREATE TABLE payments (id INTEGER PRIMARY KEY, order_id INTEGER, customer TEXT, amount_cents INTEGER, card_token TEXT, status TEXT);
INSERT INTO payments VALUES (701, 1002, 'bob', 12900, 'tok_4242424242424242', 'captured');`

const paybankSchema = `
CREATE TABLE transfers (id INTEGER PRIMARY KEY, order_id INTEGER, customer TEXT, amount_cents INTEGER, iban TEXT, status TEXT);
INSERT INTO transfers VALUES (801, 1001, 'alice', 4900, 'DE89370400440532013000', 'settled');`

// paycard is the provider that takes cards.
func paycard() (*Service, string) {
	s := &Service{name: "paycard", base: "/paycard"}
	s.routes = []route{{"POST", "/payments", payByCard}, {"GET", "/payments/{id}", getPayment}}
	return s, paycardSchema
}

// paybank is the provider that takes bank transfers.
func paybank() (*Service, string) {
	s := &Service{name: "paybank", base: "/paybank"}
	s.routes = []route{{"POST", "/transfers", payByBank}, {"GET", "/transfers/{id}", getTransfer}}
	return s, paybankSchema
}

type payment struct {
	Order  int64  `json:"orderId"`
	Amount int64  `json:"amountCents"`
	Card   string `json:"cardToken"`
	IBAN   string `json:"iban"`
}

// Holes: the amount is the client's, and whoever paid anything has paid all; so may anyone, for anyone's order, at any time.
func payByCard(c *call) (any, error) {
	var p payment
	if err := c.read(&p); err != nil {
		return nil, err
	}
	id, err := c.svc.db.exec(`INSERT INTO payments (order_id, customer, amount_cents, card_token, status) VALUES (?, ?, ?, ?, 'captured')`,
		p.Order, c.who.subject, p.Amount, p.Card)
	if err != nil {
		return nil, err
	}
	if err := c.tellOrders(p.Order, "paid"); err != nil {
		return nil, err
	}
	return c.created(`SELECT id, order_id, amount_cents, status FROM payments WHERE id = ?`, id)
}

// Hole: anyone's payment by its number.
func getPayment(c *call) (any, error) {
	return c.svc.db.row(`SELECT id, order_id, amount_cents, status FROM payments WHERE id = ?`, c.path["id"])
}

func payByBank(c *call) (any, error) {
	var p payment
	if err := c.read(&p); err != nil {
		return nil, err
	}
	id, err := c.svc.db.exec(`INSERT INTO transfers (order_id, customer, amount_cents, iban, status) VALUES (?, ?, ?, ?, 'settled')`,
		p.Order, c.who.subject, p.Amount, p.IBAN)
	if err != nil {
		return nil, err
	}
	if err := c.tellOrders(p.Order, "paid"); err != nil {
		return nil, err
	}
	return c.created(`SELECT id, order_id, amount_cents, status FROM transfers WHERE id = ?`, id)
}

// Hole: anyone's transfer by its number, the account number in full.
func getTransfer(c *call) (any, error) {
	return c.svc.db.row(`SELECT id, order_id, amount_cents, iban, status FROM transfers WHERE id = ?`, c.path["id"])
}

// tellOrders reports to the orders service.
func (c *call) tellOrders(order int64, status string) error {
	body, err := json.Marshal(row{"status": status})
	if err != nil {
		return err
	}
	answer, err := http.Post(fmt.Sprintf("%s/internal/orders/%d/status", c.svc.peer("orders"), order), "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
