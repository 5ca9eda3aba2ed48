package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/store"
)

// Entry is what is remembered of a backup.
type Entry struct {
	Name      string    `json:"name"` // of its file
	Time      time.Time `json:"time"`
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"` // of the encrypted file
	Node      string    `json:"node"`
	Revision  int64     `json:"revision"`
	Delivered time.Time `json:"delivered,omitzero"` // when it had reached its place; zero: it waits
	Proof     *Proof    `json:"proof,omitempty"`    // the last one
}

// Book remembers backups. Without it (on an empty machine) everything works but for what only memory can tell: that a
// file in its place was exchanged for another of the same name.
type Book interface {
	Save(ctx context.Context, e Entry) error
	All(ctx context.Context) ([]Entry, error)
	Forget(ctx context.Context, name string) error
}

// bookPrefix is where the records lie.
const bookPrefix = "backup/file/"

// Records is a Book in the durable store, which all nodes share.
type Records struct{ Store store.Durable }

// Save writes a record.
func (r Records) Save(ctx context.Context, e Entry) error {
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := r.Store.Write(ctx, store.Write{Key: bookPrefix + e.Name, Value: value, Version: store.Any}); err != nil {
		return fmt.Errorf("remember backup: %w", err)
	}
	return nil
}

// All reads all records, the oldest backup first.
func (r Records) All(ctx context.Context) ([]Entry, error) {
	var all []Entry
	for after := ""; ; {
		page, err := r.Store.List(ctx, bookPrefix, after, 256)
		if err != nil {
			return nil, fmt.Errorf("read what is known of backups: %w", err)
		}
		for _, record := range page {
			var e Entry
			if json.Unmarshal(record.Value, &e) == nil && e.Name == strings.TrimPrefix(record.Key, bookPrefix) {
				all = append(all, e)
			}
			after = record.Key
		}
		if len(page) < 256 {
			return all, nil
		}
	}
}

// Forget removes a record.
func (r Records) Forget(ctx context.Context, name string) error {
	_, err := r.Store.Write(ctx, store.Write{Key: bookPrefix + name, Version: store.Any})
	return err
}

// noBook remembers nothing.
type noBook struct{}

func (noBook) Save(context.Context, Entry) error    { return nil }
func (noBook) All(context.Context) ([]Entry, error) { return nil, nil }
func (noBook) Forget(context.Context, string) error { return nil }
