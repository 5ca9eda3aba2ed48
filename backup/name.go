package backup

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Every backup is one file: gatehouse-<time>-<part of the second, random>-<bytes>.age. The number of bytes in its name tells a file that was
// cut off from one that was changed, also for somebody who has nothing but the file.
const (
	namePrefix = "gatehouse-"
	nameSuffix = ".age"
)

func fileName(id string, size int64) string {
	return fmt.Sprintf("%s%s-%d%s", namePrefix, id, size, nameSuffix)
}

// readName reads what a file's name says; ok is false for files that are no backups.
func readName(name string) (id string, when time.Time, size int64, ok bool) {
	rest, pre := strings.CutPrefix(name, namePrefix)
	rest, suf := strings.CutSuffix(rest, nameSuffix)
	at := strings.LastIndexByte(rest, '-')
	if !pre || !suf || at < 0 {
		return "", time.Time{}, 0, false
	}
	id = rest[:at]
	size, err := strconv.ParseInt(rest[at+1:], 10, 64)
	if err != nil || size < 0 || !validID(id) || fileName(id, size) != name {
		return "", time.Time{}, 0, false
	}
	when, _ = time.Parse(stamp, id[:len(stamp)])
	return id, when, size, true
}
