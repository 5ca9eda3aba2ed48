package upload

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// Bounds of what is read of an archive. The lists of nested archives count, too.
const (
	mostEntries = 10_000
	longestPath = 4096
)

// Marks of an archive's list, and of the entries themselves.
const (
	listed = "PK\x01\x02"
	stored = "PK\x03\x04"
)

// unpack reads the list of an archive, which is what programs go by, and says what kind of archive it is: office files, Java and
// Android packages are archives of certain entries. What the entries hold is not looked into.
func (f *finding) unpack(data []byte) {
	if bytes.Count(data, []byte(listed)) > mostEntries || bytes.Count(data, []byte(stored)) > mostEntries {
		f.broken = "with more entries than are looked at"
		return
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		f.broken = "but its list of entries can't be read"
		return
	}
	for name := range localNames(data) {
		f.escapes = f.escapes || len(name) > longestPath || leaves(name)
	}
	var names []string
	for _, e := range r.File {
		f.escapes = f.escapes || leaves(e.Name) || e.Mode()&fs.ModeSymlink != 0 // a link leads anywhere
		names = append(names, strings.ToLower(strings.ReplaceAll(e.Name, `\`, "/")))
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	below := func(folder string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, folder) })
	}
	if slices.ContainsFunc(names, func(n string) bool { return path.Base(n) == "vbaproject.bin" }) {
		f.holds = append(f.holds, vba)
	}
	if below(".phar/") {
		f.holds = append(f.holds, php)
	}
	var kind string
	switch office := has("[content_types].xml"); {
	case has("androidmanifest.xml") || has("classes.dex"):
		kind = "application/vnd.android.package-archive"
	case has("meta-inf/manifest.mf") || below("web-inf/"):
		kind = "application/java-archive"
	case office && below("word/"):
		kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	case office && below("xl/"):
		kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case office && below("ppt/"):
		kind = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
	case office && below("visio/"):
		kind = "application/vnd.ms-visio.drawing.main+xml"
	case len(names) > 0 && names[0] == "mimetype", has("doc.kml"):
		return // open documents and books say it first of all
	default:
		kind = zipd
	}
	f.kind = mimetype.Lookup(kind)
}

// localNames finds the names that stand before the entries themselves: programs that unpack as the bytes come go by these, and
// know no list.
func localNames(data []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		const head = 30
		for {
			at := bytes.Index(data, []byte(stored))
			if at < 0 || len(data)-at < head {
				return
			}
			data = data[at:]
			end := min(len(data), head+longestPath+1, head+int(binary.LittleEndian.Uint16(data[26:])))
			if !yield(string(data[head:end])) {
				return
			}
			data = data[4:]
		}
	}
}

// leaves tells that an entry would be written outside of the folder that the archive is unpacked in.
func leaves(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	return strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' || slices.Contains(strings.Split(name, "/"), "..")
}

// appended tells that an archive lies at the end of the bytes: programs that read archives look for them from there, whatever
// stands before, and some pass over what stands behind.
func appended(data []byte) bool {
	const size = 22
	tail := data[max(0, len(data)-size-1<<16):]
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < size {
		return false
	}
	if at+size+int(binary.LittleEndian.Uint16(tail[at+20:])) == len(tail) {
		return true
	}
	list := len(data) - len(tail) + at - int(binary.LittleEndian.Uint32(tail[at+12:]))
	return list >= 0 && bytes.HasPrefix(data[list:], []byte(listed))
}
