package postgres

import (
	"context"
	"io/fs"
)

// OpenSchema opens with other migrations than the program's own.
func OpenSchema(ctx context.Context, o Options, files fs.FS, newest int64) (*DB, error) {
	return open(ctx, o, migrations{files: files, newest: newest})
}

// Migrations are the program's own, and the number of the newest.
func Migrations() (fs.FS, int64) { m := embedded(); return m.files, m.newest }

// ParseMark takes a mark apart.
func ParseMark(mark string) (system, timeline, number int64, err error) {
	p, err := parsePosition(mark)
	return p.system, p.timeline, p.number, err
}

// Show gives a setting of a session, as the server has it.
func (db *DB) Show(ctx context.Context, name string) (value string, err error) {
	err = db.pool.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value)
	return value, err
}
