package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// maxLine bounds one event on its line.
const maxLine = 1 << 20

// ErrNoEvent is returned when no event has the id.
var ErrNoEvent = errors.New("audit: no event with this id")

// Find gives the event with the id, looking in the newest file first.
func Find(directory, id string) (gate.Event, error) {
	files, err := Files(directory)
	if err != nil {
		return gate.Event{}, err
	}
	slices.Reverse(files)
	needle := []byte(`"id":"` + id + `"`)
	var found gate.Event
	for _, name := range files {
		err := ended(name, func(line []byte) error {
			if !bytes.Contains(line, needle) {
				return nil
			}
			var e gate.Event
			if json.Unmarshal(line, &e) == nil && e.ID == id {
				found = e
				return errStop
			}
			return nil
		})
		if errors.Is(err, errStop) {
			return found, nil
		}
		if err != nil {
			return gate.Event{}, err
		}
	}
	return gate.Event{}, ErrNoEvent
}

// Read calls with for every event of a directory, oldest first, until it returns an error.
func Read(directory string, with func(gate.Event) error) error {
	files, err := Files(directory)
	if err != nil {
		return err
	}
	for _, name := range files {
		n := 0
		err := ended(name, func(line []byte) error {
			n++
			var e gate.Event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("%s:%d: not an event: %w", name, n, err)
			}
			return with(e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var errStop = errors.New("stop")

// ended calls with for every line of a file that is being written: one without its end yet is not there yet.
func ended(name string, with func(line []byte) error) error {
	return split(name, func(data []byte, atEOF bool) (int, []byte, error) {
		if atEOF && bytes.IndexByte(data, '\n') < 0 {
			return len(data), nil, nil
		}
		return bufio.ScanLines(data, atEOF)
	}, with)
}

func split(name string, by bufio.SplitFunc, with func(line []byte) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	scanner.Split(by)
	for scanner.Scan() {
		if err := with(scanner.Bytes()); err != nil {
			return err
		}
	}
	return scanner.Err()
}
