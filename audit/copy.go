package audit

import (
	"bytes"
	"io"
)

// Copied is one file of a copy of the log: as much of it as stood there when the copy was begun.
type Copied struct {
	Name string // in the directory
	Size int64
	io.Reader
}

// Copy opens the files of a directory as they are at one time, for a backup: checkpoints first, so that no checkpoint in the
// copy is newer than its events. A log that is being written may be copied. The caller calls end when he has read them.
func Copy(directory string) (all []Copied, end func(), err error) {
	chains, err := openChains(directory)
	end = func() {
		for _, c := range chains {
			c.close()
		}
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	for _, c := range chains {
		if len(c.checkpoints) > 0 {
			all = append(all, Copied{c.stem + ".checkpoints", int64(len(c.checkpoints)), bytes.NewReader(c.checkpoints)})
		}
	}
	for _, c := range chains {
		for _, f := range c.files {
			all = append(all, Copied{f.name, f.size, io.NewSectionReader(f, 0, f.size)})
		}
	}
	return all, end, nil
}
