package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// state is every row of every table of every service, and the lines of their logs (table "log", column "line").
type state map[string]map[string][]map[string]any

// count counts the rows of a table in which every column given has its value.
func (s state) count(service, table string, where map[string]string) int {
	n := 0
	for _, row := range s[service][table] {
		same := true
		for column, value := range where {
			same = same && fmt.Sprint(row[column]) == value
		}
		if same {
			n++
		}
	}
	return n
}

// column gives one value of the first row in which key has its value.
func (s state) column(service, table, key, value, column string) string {
	for _, row := range s[service][table] {
		if fmt.Sprint(row[key]) == value {
			return fmt.Sprint(row[column])
		}
	}
	return ""
}

// shop is the running services, seen from the side where their databases are.
type shop map[string]string // name to host:port, with "control"

// readShop reads the addresses.json that the shop writes into its data folder.
func readShop(file string) (shop, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w; start the shop first: go run ./examples/shop/cmd/shop --data DIR", err)
	}
	var s shop
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func (s shop) state() (state, error) {
	r, err := http.Get("http://" + s["control"] + "/state")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var all state
	if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read the shop's state: %w", err)
	}
	return all, nil
}

// reset brings back the shop's first day.
func (s shop) reset() error {
	r, err := http.Post("http://"+s["control"]+"/reset", "text/plain", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(r.Body)
		return fmt.Errorf("reset the shop: %s", strings.TrimSpace(string(text)))
	}
	return nil
}
