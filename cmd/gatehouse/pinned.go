package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// pinnedFile remembers in the state directory which keys the gateway was started with. Commands that read the document
// themselves ask for the same: else whoever can write to where documents lie, and has no key, would choose the next root key
// or the recipients of a backup as soon as an operator runs one.
const pinnedFile = "signed-by.json"

// pin remembers the keys; none forgets them, since whoever starts the gateway decides.
func (p places) pin(keys []string) error {
	file := filepath.Join(p.state, pinnedFile)
	if len(keys) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return replaceFile(file, append(data, '\n'))
}

// pinned gives the keys that the gateway was started with last; none when it takes documents without a note.
func (p places) pinned() (keys []string, err error) {
	file := filepath.Join(p.state, pinnedFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &keys)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, which remembers who signs the document: %w; start the gateway again with its --signed-by", file, err)
	}
	return keys, nil
}
