package backup

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrLocked is returned for a backup that must not be removed yet: its place has locked it.
var ErrLocked = errors.New("backup: it is locked")

// ErrNoBackup is returned when no backup has the name.
var ErrNoBackup = errors.New("backup: there is none of this name")

// Object is one file in a place.
type Object struct {
	Name string    `json:"name"`
	Size int64     `json:"size"`
	Time time.Time `json:"time"` // when it was put there
}

// Destination is a place where backups lie: a directory, an object store. What List gives was put there whole. An error
// that is neither ErrLocked nor ErrNoBackup says that the place cannot be used now.
type Destination interface {
	// Put puts size bytes there under a name, whole or not at all. What is there under the name is replaced.
	Put(ctx context.Context, name string, from io.ReadSeeker, size int64) error
	// Get opens a file. The caller closes it.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List gives all files in the order of their names.
	List(ctx context.Context) ([]Object, error)
	// Remove removes a file, or says ErrLocked. One that is not there is no error.
	Remove(ctx context.Context, name string) error
	// String says where it is, without any secret.
	String() string
}
