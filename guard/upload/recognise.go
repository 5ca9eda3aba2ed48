package upload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image/jpeg"
	"image/png"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
)

// finding is what the bytes of a file are.
type finding struct {
	kind    *mimetype.MIME // what they begin as; application/octet-stream when nobody knows
	holds   []string       // what they are as well: active types by their marks, another file inside of this one
	broken  string         // why they are no whole file of that kind, "" when they are
	unread  bool           // text that can't be read to its end as XML, which matters where XML is claimed
	escapes bool           // an archive with entries that lead out of their folder
}

func (f finding) name() string { return essence(f.kind) }

// essence is a media type without parameters.
func essence(kind *mimetype.MIME) string {
	name, _, _ := strings.Cut(kind.String(), ";")
	return name
}

const (
	svg  = "image/svg+xml"
	pdf  = "application/pdf"
	zipd = "application/zip"
	text = "text/plain"

	markdown = "text/markdown"

	exe    = "application/vnd.microsoft.portable-executable"
	script = "text/javascript"
	php    = "text/x-php"
)

// recognise says what a file is. The library knows some two hundred kinds by their first bytes; what a file holds beside that is
// looked for here, in all of its bytes.
func recognise(data []byte) finding {
	f := finding{kind: mimetype.Detect(data)}
	switch {
	case shortMagic(f.kind) && isText(data): // "BMW" and "MZ" begin lines of text, too
		f.kind = mimetype.Lookup(text)
	case f.kind.Is(exe) && !isProgram(data): // and bytes that are encrypted begin with everything
		f.kind = mimetype.Lookup("application/octet-stream")
	}
	f.holds = marks(data)
	read := data
	if wide(data) { // programs that know nothing of UTF-16 read it as it is
		read = plain(data)
		f.holds = append(f.holds, marks(read)...)
	}
	if isA(f.kind, text) {
		f.readXML(read)
	}
	switch {
	case f.kind.Is(pdf):
		f.holds = append(f.holds, pdfScripts(data)...)
	case isA(f.kind, zipd):
		f.unpack(data)
		return f
	case f.kind.Is("image/png"), f.kind.Is("image/apng"), f.kind.Is("image/jpeg"), f.kind.Is("image/gif"):
		f.broken = brokenPicture(f.kind, data)
	}
	if appended(data) {
		f.holds = append(f.holds, zipd)
	}
	if isA(f.kind, text) {
		if !wide(data) && bytes.IndexByte(data, 0) >= 0 { // the library looks at the beginning only
			f.broken = "with bytes behind it that are none"
		}
		if interpreted(data) && activeKind(f.kind) == "" {
			f.holds = append(f.holds, "text/x-shellscript")
		}
		return f
	}
	if !f.kind.Is(pdf) && bytes.Contains(data[:min(len(data), 1024)], []byte("%PDF-")) { // readers look that far
		f.holds = append(f.holds, pdf)
	}
	return f
}

// shortMagic are kinds that two or three letters stand for.
func shortMagic(kind *mimetype.MIME) bool {
	return slices.Contains([]string{
		exe, "application/x-shockwave-flash", "image/bmp", "application/x-bzip2", "audio/ape", "audio/musepack",
	}, essence(kind))
}

// isProgram tells that "MZ" is followed by what Windows looks for: where the program's own head lies, and its two letters there.
func isProgram(data []byte) bool {
	if len(data) < 64 {
		return false
	}
	at := int64(binary.LittleEndian.Uint32(data[60:]))
	return at+2 <= int64(len(data)) && slices.Contains([]string{"PE", "NE", "LE", "LX"}, string(data[at:at+2]))
}

// isText tells that bytes are what people can read.
func isText(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexFunc(data, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' }) < 0
}

// wide tells bytes that begin with the mark of UTF-16.
func wide(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff})
}

// plain is text in UTF-16 as UTF-8.
func plain(data []byte) []byte {
	little := data[0] == 0xff
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		if little {
			units = append(units, uint16(data[i])|uint16(data[i+1])<<8)
		} else {
			units = append(units, uint16(data[i])<<8|uint16(data[i+1]))
		}
	}
	return []byte(string(utf16.Decode(units)))
}

// interpreted tells a script by its first line, whoever reads it.
func interpreted(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte("#!"))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte("/"))
}

// brokenPicture tells that a picture's own reader doesn't get to the picture: a signature with something else behind it. What
// is merely unusual is let be.
func brokenPicture(kind *mimetype.MIME, data []byte) string {
	var whole bool
	switch {
	case kind.Is("image/gif"):
		whole = wholeGIF(data)
	case kind.Is("image/jpeg"):
		_, err := jpeg.DecodeConfig(bytes.NewReader(data))
		whole = err == nil || errors.As(err, new(jpeg.UnsupportedError))
	default:
		_, err := png.DecodeConfig(bytes.NewReader(data))
		whole = err == nil || errors.As(err, new(png.UnsupportedError))
	}
	if whole {
		return ""
	}
	return "but no picture behind it"
}

// wholeGIF walks over the blocks of a GIF: it has at least one picture, and nothing between the blocks.
func wholeGIF(data []byte) bool {
	table := func(flags byte) int { // of colours, in bytes
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (1 + flags&7)
	}
	if len(data) < 13 {
		return false
	}
	at, pictures := 13+table(data[10]), 0
	for at < len(data) {
		switch data[at] {
		case 0x3b: // the end
			return pictures > 0
		case 0x21: // an extension
			at += 2
		case 0x2c: // a picture
			if at+9 >= len(data) {
				return pictures > 0
			}
			at += 11 + table(data[at+9])
			pictures++
		default:
			return false
		}
		for at < len(data) && data[at] != 0 {
			at += 1 + int(data[at])
		}
		at++
	}
	return pictures > 0 // broken off, as files are
}
