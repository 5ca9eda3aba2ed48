package backup

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/gatehouse-sec/gatehouse/audit"
)

// Files gives the parts that are files: each is read as far as it stands there when its turn comes. The map is from a
// part's name to its file; one that is not there is an error.
func Files(files map[string]string) []Part {
	var parts []Part
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := files[name]
		size := int64(0)
		if info, err := os.Stat(path); err == nil {
			size = info.Size()
		}
		parts = append(parts, Part{Name: name, Size: size, Write: copyFile(path)})
	}
	return parts
}

func copyFile(path string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, to io.Writer) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(to, withContext{ctx, file})
		return err
	}
}

// Bytes is a part that is at hand.
func Bytes(name string, data []byte) Part {
	return Part{Name: name, Size: int64(len(data)), Write: func(_ context.Context, to io.Writer) error {
		_, err := to.Write(data)
		return err
	}}
}

// Events gives the event files and their checkpoints as they are now, as parts below events/. The caller calls end when the
// backup is made; Content.End is the place for that.
func Events(directory string) (parts []Part, end func(), err error) {
	files, end, err := audit.Copy(directory)
	if err != nil {
		return nil, nil, fmt.Errorf("copy event log: %w", err)
	}
	for _, f := range files {
		parts = append(parts, Part{Name: "events/" + f.Name, Size: f.Size, Write: func(ctx context.Context, to io.Writer) error {
			_, err := io.Copy(to, withContext{ctx, f})
			return err
		}})
	}
	return parts, end, nil
}
