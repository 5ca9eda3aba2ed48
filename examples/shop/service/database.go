package service

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the database engine, in pure Go
)

// row is one row of a table as the database gives it: every column, also those that a client should never see.
type row = map[string]any

// database is the SQLite file of one service.
type database struct {
	sql    *sql.DB
	schema string // statements that make the tables and put the first rows into them
}

func openDatabase(dir, name, schema string) (*database, error) {
	path := filepath.Join(dir, name+".db")
	file := url.URL{Scheme: "file", Opaque: url.PathEscape(path)} // a folder's name may hold what means something in a URI
	handle, err := sql.Open("sqlite", file.String()+"?_pragma=journal_mode(MEMORY)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)")
	if err != nil {
		return nil, fmt.Errorf("%s: open %s: %w", name, path, err)
	}
	handle.SetMaxOpenConns(1)
	d := &database{sql: handle, schema: schema}
	tables, err := d.rows(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("%s: read %s: %w", name, path, err)
	}
	if len(tables) > 0 {
		return d, nil
	}
	if err := d.reset(); err != nil {
		handle.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// reset brings back the first day of the shop.
func (d *database) reset() error {
	tables, err := d.rows(`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rootpage DESC`)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if _, err := d.sql.Exec(fmt.Sprintf(`DROP TABLE IF EXISTS %q`, t["name"])); err != nil {
			return fmt.Errorf("drop %s: %w", t["name"], err)
		}
	}
	if _, err := d.sql.Exec(d.schema); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	return nil
}

// rows runs a query and gives every row of the answer.
func (d *database) rows(query string, args ...any) ([]row, error) {
	found, err := d.sql.Query(query, args...)
	if err != nil {
		return nil, &queryError{query, err}
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		return nil, &queryError{query, err}
	}
	list := []row{}
	for found.Next() {
		values := make([]any, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, &queryError{query, err}
		}
		r := row{}
		for i, name := range names {
			if b, ok := values[i].([]byte); ok {
				values[i] = string(b)
			}
			r[name] = values[i]
		}
		list = append(list, r)
	}
	if err := found.Err(); err != nil {
		return nil, &queryError{query, err}
	}
	return list, nil
}

// row gives the first row, or errNotFound.
func (d *database) row(query string, args ...any) (row, error) {
	list, err := d.rows(query, args...)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errNotFound
	}
	return list[0], nil
}

// exec changes rows and gives the id of the last one added.
func (d *database) exec(query string, args ...any) (int64, error) {
	done, err := d.sql.Exec(query, args...)
	if err != nil {
		return 0, &queryError{query, err}
	}
	return done.LastInsertId()
}

// dump gives all tables with all their rows.
func (d *database) dump() (map[string][]row, error) {
	tables, err := d.rows(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return nil, err
	}
	all := map[string][]row{}
	for _, t := range tables {
		name := fmt.Sprint(t["name"])
		if all[name], err = d.rows(fmt.Sprintf(`SELECT * FROM %q`, name)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// queryError carries the statement to wherever the error is shown, which here is the client: a hole (disclosure).
type queryError struct {
	query string
	err   error
}

func (e *queryError) Error() string { return e.err.Error() + "; statement: " + e.query }

func (e *queryError) Unwrap() error { return e.err }

// journal is the log file of a service: one line per request, with whatever the client wrote in it.
type journal struct{ file *os.File }

func openJournal(dir, name string) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: open log: %w", name, err)
	}
	return &journal{f}, nil
}

// write adds a line. It does not escape line ends: a hole (log forging).
func (j *journal) write(format string, args ...any) { fmt.Fprintf(j.file, format+"\n", args...) }
