package upload

import (
	"bytes"
	"slices"

	"github.com/gabriel-vasile/mimetype"
)

// activeTypes are what a server, a browser or a desktop runs, in the words of the library that recognises files, and three that
// it doesn't know.
func activeTypes() []string {
	return []string{
		"application/java-archive", "application/vnd.android.package-archive", "application/vnd.debian.binary-package",
		exe, "application/vnd.ms-htmlhelp", vba, "application/wasm",
		"application/x-bytecode.python", "application/x-chrome-extension", "application/x-elf", "application/x-java-applet",
		"application/x-mach-binary", "application/x-ms-installer", "application/x-ms-shortcut", "application/x-rpm",
		"application/x-shockwave-flash", xhtml, "text/html", script, asp, jsp, "text/x-lua",
		"text/x-perl", php, "text/x-python", "text/x-ruby", "text/x-shellscript", "text/x-tcl",
	}
}

const (
	asp   = "text/x-asp"
	jsp   = "text/x-jsp"
	xhtml = "application/xhtml+xml"
	vba   = "application/vnd.ms-office.vbaproject" // macros of office files
)

func isActive(t string) bool { return slices.Contains(activeTypes(), t) }

// activeKind is the active type that a kind is or descends from, "" for none.
func activeKind(kind *mimetype.MIME) string {
	for ; kind != nil; kind = kind.Parent() {
		if t := essence(kind); isActive(t) {
			return t
		}
	}
	return ""
}

// marks finds the marks of scripts anywhere in a file, so that a picture with a script behind it is told as what it holds. What
// has only two or three letters must be followed by what reads like code: compressed bytes hold every short word sooner or
// later.
func marks(data []byte) (found []string) {
	add := func(t string) {
		if !slices.Contains(found, t) {
			found = append(found, t)
		}
	}
	if bytes.Contains(data, []byte("__HALT_COMPILER")) { // an archive of PHP, which opening is enough to run
		add(php)
	}
	for at := 0; ; at++ {
		next := bytes.IndexByte(data[at:], '<')
		if next < 0 {
			return found
		}
		at += next
		switch rest := data[at+1:]; {
		case begins(rest, "?php"):
			add(php)
		case begins(rest, "?=") && reads(rest[2:], 8):
			add(php)
		case begins(rest, "script") && (len(rest) == 6 || bytes.IndexByte([]byte("> \t\r\n\f/"), rest[6]) >= 0):
			add(script)
		case begins(rest, "jsp:"):
			add(jsp)
		case begins(rest, "%") && reads(rest[1:], 16):
			add(jsp)
		}
	}
}

func begins(data []byte, lower string) bool {
	return len(data) >= len(lower) && bytes.EqualFold(data[:len(lower)], []byte(lower))
}

// reads tells that bytes go on like code: printable for n bytes, or to their end, with a sign soon that calls or names something.
func reads(data []byte, n int) bool {
	line := data[:min(len(data), 64)]
	if end := bytes.IndexFunc(line, func(r rune) bool { return r >= 0x7f || r < ' ' && r != '\t' && r != '\r' && r != '\n' }); end >= 0 {
		line = line[:end]
	}
	return len(line) >= min(len(data), n) && bytes.ContainsAny(line, "$`(=@!")
}

// pdfScripts finds what a reader of PDF would run, by the names for it. What lies in compressed objects, or is written with
// escapes, is not found.
func pdfScripts(data []byte) []string {
	for _, name := range []string{"/JavaScript", "/JS", "/Launch"} {
		for rest := data; ; {
			_, after, ok := bytes.Cut(rest, []byte(name))
			if !ok {
				break
			}
			if len(after) > 0 && bytes.IndexByte([]byte(" \t\r\n\f(<[/>"), after[0]) >= 0 && isText(after[:min(len(after), 8)]) {
				return []string{script}
			}
			rest = after
		}
	}
	return nil
}
