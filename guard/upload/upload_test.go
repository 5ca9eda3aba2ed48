package upload

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/gabriel-vasile/mimetype"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

const (
	docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	html = "text/html"
)

func now() time.Time { return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) }

// picture is a small picture in one of the formats that Go writes.
func picture(t testing.TB, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	rgba := image.NewRGBA(image.Rect(0, 0, 8, 8))
	var err error
	switch format {
	case "png":
		err = png.Encode(&b, rgba)
	case "jpeg":
		err = jpeg.Encode(&b, rgba, nil)
	case "gif":
		err = gif.Encode(&b, rgba, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// link is an archive with a link to somewhere.
func link(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "a"}
	h.SetMode(fs.ModeSymlink | 0o777)
	e, err := w.CreateHeader(h)
	if err == nil {
		_, err = e.Write([]byte("/etc/passwd"))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func utf16le(s string) []byte {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

func newGuard(t testing.TB, cfg Config) *Guard {
	t.Helper()
	g, err := New(cfg, &gate.API{}, now)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What a file is, is said by its content.
func TestFiles(t *testing.T) {
	pic, jpg, anim := picture(t, "png"), picture(t, "jpeg"), picture(t, "gif")
	word := zipped(t, "[Content_Types].xml", "_rels/.rels", "word/document.xml")
	mp4 := []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom")
	heic := []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
	ole := join([]byte{0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1}, make([]byte, 600))
	elf := join([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9), []byte{2, 0, 62, 0})
	types := func(list ...string) *openapi.File { return &openapi.File{Types: list} }
	for name, c := range map[string]struct {
		f    file
		want gate.Reason
	}{
		"png":                             {file{named: "me.png", declared: "image/png", data: pic, said: types("image/png")}, ""},
		"png, nothing said":               {file{data: pic}, ""},
		"png as bytes":                    {file{named: "me.png", declared: "application/octet-stream", data: pic}, ""},
		"png in a range":                  {file{declared: "image/png", data: pic, said: types("image/*")}, ""},
		"png for jpeg":                    {file{declared: "image/jpeg", data: pic}, Type},
		"png named jpeg":                  {file{named: "me.jpg", data: pic}, Type},
		"png where pdf is declared":       {file{data: pic, said: types(pdf)}, Type},
		"jpeg":                            {file{named: "ME.JPG", declared: "image/jpeg", data: jpg}, ""},
		"gif":                             {file{named: "a.gif", declared: "image/gif", data: anim}, ""},
		"gif, broken off":                 {file{declared: "image/gif", data: anim[:len(anim)-4]}, ""},
		"heic as heif":                    {file{named: "a.heic", declared: "image/heif", data: heic}, ""},
		"heic as film":                    {file{declared: "video/quicktime", data: heic}, Type},
		"film as sound of its container":  {file{declared: "audio/mp4", data: mp4, said: types("audio/*")}, ""},
		"film":                            {file{named: "a.mp4", declared: "video/mp4", data: mp4}, ""},
		"film as picture":                 {file{declared: "image/avif", data: mp4}, Type},
		"empty, for a picture":            {file{named: "a.png", declared: "image/png"}, Type},
		"empty":                           {file{named: "a.txt", declared: "text/plain"}, ""},
		"pdf":                             {file{named: "a.pdf", declared: pdf, data: []byte("%PDF-1.7\n")}, ""},
		"pdf behind the start":            {file{declared: "image/gif", data: join(anim[:13], anim[13:], []byte("%PDF-1.7"))}, Type},
		"pdf with a script":               {file{declared: pdf, data: []byte("%PDF-1.7\n<< /S /JavaScript /JS (x) >>")}, Runs},
		"pdf that starts something":       {file{declared: pdf, data: []byte("%PDF-1.7\n<< /S/Launch/F (cmd.exe) >>")}, Runs},
		"pdf with a word alike":           {file{declared: pdf, data: []byte("%PDF-1.7\n<< /JavaScripts 1 /JSX 2 /Launcher 3 >>")}, ""},
		"docx":                            {file{named: "a.docx", declared: docx, data: word, said: types(docx)}, ""},
		"docx as zip":                     {file{declared: zipd, data: word}, ""},
		"zip for docx":                    {file{named: "a.docx", declared: docx, data: zipped(t, "a.txt")}, Type},
		"docx by its first entry alone":   {file{declared: docx, data: join(word[:60], zipped(t, "a.txt"))}, Type},
		"docx with macros":                {file{declared: docx, data: zipped(t, "[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")}, Runs},
		"docx for xlsx":                   {file{named: "a.xlsx", data: word}, Type},
		"jar as zip":                      {file{declared: zipd, data: zipped(t, "META-INF/MANIFEST.MF", "A.class")}, Runs},
		"war as zip":                      {file{declared: zipd, data: zipped(t, "a.txt", "WEB-INF/web.xml")}, Runs},
		"phar as zip":                     {file{declared: zipd, data: zipped(t, ".phar/stub.php")}, Runs},
		"zip slip":                        {file{declared: zipd, data: zipped(t, "a/../../b")}, Escape},
		"zip slip of Windows":             {file{declared: zipd, data: zipped(t, `..\b`)}, Escape},
		"zip to a drive":                  {file{declared: zipd, data: zipped(t, "C:/b")}, Escape},
		"zip slip before the entry":       {file{declared: zipd, data: bytes.Replace(zipped(t, "a/b/c/d"), []byte("a/b/c/d"), []byte("a/../.."), 1)}, Escape},
		"zip slip beside the list":        {file{declared: zipd, data: join(zipped(t, "../b")[:34], zipped(t, "a"))}, Escape},
		"zip with a link":                 {file{declared: zipd, data: link(t)}, Escape},
		"zip with a path without end":     {file{declared: zipd, data: zipped(t, strings.Repeat("a/", 4096))}, Escape},
		"zip with too many entries":       {file{declared: zipd, data: join(zipped(t, "a")[:31], bytes.Repeat([]byte("PK\x03\x04"), 10_000), zipped(t, "a"))}, Type},
		"zip of a zip":                    {file{declared: zipd, data: zipped(t, "a.zip", "b/c.zip")}, ""},
		"zip with dots in names":          {file{declared: zipd, data: zipped(t, "a..b/...c")}, ""},
		"zip without its list":            {file{declared: zipd, data: word[:len(word)-30]}, Type},
		"zip behind a picture":            {file{declared: "image/jpeg", data: join(jpg, word)}, Type},
		"doc":                             {file{named: "a.doc", declared: "application/msword", data: ole}, ""},
		"html for a picture":              {file{named: "a.png", declared: "image/png", data: []byte("<html><body>x")}, Runs},
		"html as text":                    {file{declared: text, data: []byte(" \n<!DOCTYPE html>")}, Runs},
		"html in UTF-16":                  {file{declared: text, data: utf16le("a <script>alert(1)</script>")}, Runs},
		"text in UTF-16":                  {file{named: "a.csv", declared: "text/csv", data: utf16le("a;b\n1;2\n")}, ""},
		"php behind a mark of UTF-16":     {file{declared: text, data: []byte("\xff\xfe<?php system($_GET[0]);")}, Runs},
		"and of the other":                {file{declared: text, data: []byte("\xfe\xff<?php system($_GET[0]);")}, Runs},
		"jar behind text":                 {file{named: "a.csv", declared: "text/csv", data: join([]byte(strings.Repeat("a,b\n", 1024)), zipped(t, "META-INF/MANIFEST.MF"))}, Type},
		"jar in text":                     {file{declared: "text/csv", data: join([]byte(strings.Repeat("a,b\n", 1024)), zipped(t, "META-INF/MANIFEST.MF"), []byte("\n1,2\n"))}, Type},
		"jar in UTF-16":                   {file{declared: "text/csv", data: join(utf16le(strings.Repeat("a,b\n", 1024)), zipped(t, "META-INF/MANIFEST.MF"))}, Type},
		"archive within a picture":        {file{declared: "image/jpeg", data: join(jpg, word, []byte("\n"))}, Type},
		"bytes behind text":               {file{declared: "text/csv", data: []byte(strings.Repeat("a,b\n", 1024) + "\x00")}, Type},
		"script in text":                  {file{declared: "text/csv", data: []byte("a,b\n1,<ScRiPt >x\n")}, Runs},
		"tags in text":                    {file{declared: "text/markdown", data: []byte("a <b> and <scripture> < ?php <5% (of it)")}, ""},
		"text that begins like a program": {file{named: "cars.csv", declared: "text/csv", data: []byte("MZ,CWS\n1,2\n")}, ""},
		"text that begins like a picture": {file{named: "cars.csv", declared: "text/csv", data: []byte("BMW,VW\n1,2\n")}, ""},
		"csv as a sheet, by Windows":      {file{named: "a.csv", declared: "application/vnd.ms-excel", data: []byte("a,b\n1,2\n")}, ""},
		"csv for a sheet":                 {file{named: "a.csv", declared: "application/vnd.ms-excel", data: []byte("a,b\n1,2\n"), said: types("application/vnd.ms-excel")}, Type},
		"csv named as a sheet":            {file{named: "a.xls", declared: "application/vnd.ms-excel", data: []byte("a,b\n1,2\n")}, Type},
		"svg as a sheet":                  {file{declared: "application/vnd.ms-excel", data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)}, Type},
		"picture as a sheet":              {file{declared: "application/vnd.ms-excel", data: pic}, Type},
		"host":                            {file{named: "example.com", data: []byte("%PDF-1.7")}, ""},
		"zone of a host":                  {file{named: "example.com", data: []byte("@ IN NS a\n")}, ""},
		"command":                         {file{named: "example.com", data: []byte("\xb4\x4c\xcd\x21")}, Runs},
		"csv as plain":                    {file{named: "a.csv", declared: text, data: []byte("a,b\n1,2\n")}, ""},
		"json as csv":                     {file{declared: "text/csv", data: []byte(`{"a":1}`)}, ""},
		"picture as csv":                  {file{declared: "text/csv", data: pic}, Type},
		"xml":                             {file{named: "a.xml", declared: "application/xml", data: []byte(`<?xml version="1.0"?><a/>`)}, ""},
		"xml with a style sheet":          {file{declared: "text/xml", data: []byte(`<?xml version="1.0"?><?xml-stylesheet href="a"?><a/>`)}, Runs},
		"xml with a prefixed script":      {file{declared: "text/xml", data: []byte(`<?xml version="1.0"?><a xmlns:x="http://www.w3.org/1999/xhtml"><x:script/></a>`)}, Runs},
		"xhtml":                           {file{declared: "text/xml", data: []byte(`<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>`)}, Runs},
		"svg, not named":                  {file{declared: svg, data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)}, Type},
		"svg in a range":                  {file{declared: svg, data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), said: types("image/*")}, Type},
		"svg":                             {file{declared: svg, data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), said: types(svg)}, ""},
		"svg as png":                      {file{declared: "image/png", data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)}, Type},
		"text for svg":                    {file{named: "a.svg", data: []byte("a")}, Type},
		"php":                             {file{declared: text, data: []byte("<?php phpinfo();")}, Runs},
		"php in png":                      {file{declared: "image/png", data: join(pic, []byte("<?PHP x"))}, Runs},
		"php in jpeg, echo":               {file{declared: "image/jpeg", data: join(jpg, []byte("<?=`$_GET[0]`"))}, Runs},
		"php archive in gif":              {file{declared: "image/gif", data: join(anim, []byte("__HALT_COMPILER(); ?>"))}, Runs},
		"gif that is only called so":      {file{declared: "image/gif", data: []byte("GIF89a=1;alert(1)//")}, Type},
		"gif89a and php":                  {file{declared: "image/gif", data: []byte("GIF89a;<?php x")}, Runs},
		"png that is only called so":      {file{declared: "image/png", data: []byte("\x89PNG\r\n\x1a\nhello")}, Type},
		"jpeg that is only called so":     {file{declared: "image/jpeg", data: []byte("\xff\xd8\xff\xe0hello")}, Type},
		"jsp":                             {file{declared: text, data: []byte(`a <% Runtime.getRuntime().exec("x"); %>`)}, Runs},
		"jspx":                            {file{declared: text, data: []byte(`<jsp:root>`)}, Runs},
		"shell":                           {file{declared: text, data: []byte("#!/bin/sh\nid")}, Runs},
		"a shell of its own":              {file{declared: text, data: []byte("#! /opt/x\nid")}, Runs},
		"program":                         {file{declared: "image/png", data: elf}, Runs},
		"program as bytes":                {file{declared: "application/octet-stream", data: join([]byte("MZ\x90\x00"), make([]byte, 56), []byte("\x40\x00\x00\x00PE\x00\x00"))}, Runs},
		"bytes that begin like a program": {file{declared: "application/octet-stream", data: join([]byte("MZ"), noise(100))}, ""},
		"bytes":                           {file{declared: "application/octet-stream", data: []byte{0, 1, 2}}, ""},
		"bytes as a picture":              {file{declared: "image/png", data: []byte{0, 1, 2}}, Type},
		"bytes of an unknown type":        {file{declared: "application/x-own", data: []byte{0, 1, 2}, said: types("application/x-own")}, ""},
		"pdf as an unknown picture":       {file{declared: "image/x-own", data: []byte("%PDF-1.7")}, Type},
		"bytes as an unknown text":        {file{declared: "text/x-own", data: []byte{0, 1, 2}}, Type},
		"name of a script":                {file{named: "a.php", declared: "image/png", data: pic}, Runs},
	} {
		g := newGuard(t, Config{})
		v := g.judge(c.f)
		if v.Reason != c.want {
			t.Errorf("%s: got %q (%s), want %q", name, v.Reason, v.Detail, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]gate.Reason{
		"photo.png": "", "Grüße 2026 (1).png": "", "example.com.png": "", "a.tar.gz": "", "100%.png": "", "my %22best%22.png": "", "a…b.png": "", "nul-point.png": "",
		"写真.png": "", "می\u200cخواهم.pdf": "", "क्\u200dष.pdf": "", "👩\u200d💻.png": "", "❤️\u200d🔥.png": "", "חוזה\u200f (2).pdf": "", "a.png\u200e": "",
		"50%10 off.pdf": "", "50%1f.pdf": "", "a%0a.png": Name, "a%00.png": Name, "a%5cb.png": Name, "example.com": Runs, "a.png.com": Runs,
		"a.p\u200ehp": Runs, "a.php\u200f": Runs, "a.exe\u200e": Runs, "\u200e.htaccess": Name, "a.\u200ephp": Runs, "a.p\u200dhp": Name, "a\u200db.png": Name, "ا\u200c.pdf": Name,
		"\u200dا.pdf": Name, "ا\u200c\u200cا.pdf": Name, "ا\u200e\u200fا.pdf": Name, "a\ufeff.png": Name, "a\u202bb.png": Name, "a\u2067b.png": Name,
		"a\u00adb.png": Name, "a\u2060b.png": Name, "a\U000e0041.png": Name,
		"cafe\u0301.png": "", "10:20:30.png": "",
		"a.php": Runs, "a.PHP": Runs, "a.php.png": Runs, "a.php;.png": Runs, "a.php::$DATA": Runs, "a.php%00.png": Name, "a.pHp5": Runs, "a.phtml.": Name,
		"a.jsp": Runs, "a.aspx": Runs, "a.png.exe": Runs, "a.ｐｈｐ": Runs, "a.docm": Runs, "index.html": Runs, "a.sh": Runs, "a.hta": Runs,
		".htaccess": Name, ".user.ini": Name, "Web.Config": Name, "..%2fa.png": Name, "%252e%252e%255c.png": Name, "a\u202egnp.exe": Name, "a\u200b.png": Name,
		"a.png ": Name, " a.png": Name, "a.png.": Name, "NUL": Name, "com1.png": Name, "a／b.png": Name, strings.Repeat("a", 252) + ".png": Name, "a\x01.png": Name,
	} {
		g := newGuard(t, Config{})
		if v := g.judge(file{named: name, data: []byte{0, 1, 2}, said: &openapi.File{}}); v.Reason != want && !(want == "" && v.Reason == Type) {
			t.Errorf("%q: got %q (%s), want %q", name, v.Reason, v.Detail, want)
		}
	}
}

func TestSVG(t *testing.T) {
	g := newGuard(t, Config{})
	refused := func(data string) bool {
		return !g.judge(file{data: []byte(data), declared: svg, named: "a.svg", said: &openapi.File{Types: []string{svg}}}).Allowed()
	}
	for inner, runs := range map[string]bool{
		`<rect width="1" style="fill:red"/>`: false, `<a href="https://example.com/x"><text>on</text></a>`: false, `<image href="data:image/png;base64,AA=="/>`: false,
		`<animate attributeName="cx" values="1;2"/>`: false, `<style>@import "x"</style>`: false, `<!-- <b> -->`: false, `<use href="#a"/>`: false,
		`<script/>`: true, `<SCRIPT/>`: true, `<x:script xmlns:x="http://www.w3.org/2000/svg"/>`: true, `<g onclick="x"/>`: true, `<g OnClick="x"/>`: true,
		`<a href="javascript:x"/>`: true, `<a href=" java&#10;script:x"/>`: true, `<a href="&#x6a;avascript:x"/>`: true, `<a href="data:text/html,x"/>`: true,
		`<image href="data:image/svg+xml,x"/>`: true, `<foreignObject/>`: true, `<set attributeName="onload" to="x"/>`: true, `<animate attributeName="xlink:href" to="x"/>`: true,
		`<b xmlns="http://www.w3.org/1999/xhtml"/>`: true, `<g>`: true, `&a;`: true,
	} {
		if got := refused(`<svg xmlns="http://www.w3.org/2000/svg">` + inner + `</svg>`); got != runs {
			t.Errorf("%s: %v", inner, got)
		}
	}
	adobe := `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
	<!ENTITY ns_svg "http://www.w3.org/2000/svg"> <!ELEMENT g ANY>
	<!ENTITY ns_xlink 'http://www.w3.org/1999/xlink'>
]><svg xmlns="&ns_svg;" xmlns:xlink="&ns_xlink;">`
	if refused(adobe + `<a xlink:href="#a"/></svg>`) {
		t.Error("a logo with names for its spaces is refused")
	}
	if !refused(adobe + `<a onclick="x"/></svg>`) {
		t.Error("a picture whose space is an entity passes with an event")
	}
	head := map[string]bool{
		`<?xml version="1.0" encoding="UTF-8"?>`: false, `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">`: false,
		`<!DOCTYPE svg [<!ENTITY a "x">]>`: false, `<?xml-stylesheet href="a"?>`: true, `<?xml version="1.0" encoding="ISO-8859-1"?><!-- é -->`: false,
		"\ufeff": false, `<!DOCTYPE svg [<!ENTITY a "&b;">]>`: true, `<!DOCTYPE svg [<!ENTITY a SYSTEM "x">]>`: true, `<!DOCTYPE svg [<!ENTITY % a "x">]>`: true,
		`<!DOCTYPE svg [<!ATTLIST svg onload CDATA "x">]>`: true, `<!DOCTYPE svg [%a;]>`: true, `<!-- ` + strings.Repeat("x", 5000) + ` -->`: false,
		`<!DOCTYPE svg [<!ENTITY a "` + strings.Repeat("x", 9000) + `">]><!-- ` + strings.Repeat("&", 100) + ` -->`: true, `<?xml version="1.0" encoding="UTF-7"?>`: true,
	}
	for prolog, runs := range head {
		if got := refused(prolog + `<svg xmlns="http://www.w3.org/2000/svg"/>`); got != runs {
			t.Errorf("%s: %v", prolog, got)
		}
	}
}

// What a browser reads as XML is looked into, whatever it claims to be and however it is written.
func TestXML(t *testing.T) {
	const page, drawing = `xmlns:x="http://www.w3.org/1999/xhtml"`, `xmlns:s="http://www.w3.org/2000/svg"`
	padding := "<!-- " + strings.Repeat("x", 5000) + " -->"
	for data, want := range map[string]gate.Reason{
		`<?xml version="1.0" encoding="ISO-8859-1"?><c ` + page + `><x:script>x</x:script></c>`: Runs,
		`<!DOCTYPE c [<!ENTITY u "v">]><c ` + page + `>&u;<x:script>x</x:script></c>`:           Runs,
		`<c ` + page + `>&u;<x:script>x</x:script></c>`:                                         Type,
		`<!DOCTYPE c [<!ATTLIST b xmlns CDATA #FIXED "http://www.w3.org/1999/xhtml">]><c/>`:     Type,
		`<x:script ` + page + `>x</x:script>`:                                                   Runs,
		"\ufeff\n" + `<x:script ` + page + `>x</x:script>`:                                      Runs,
		`<x:p ` + page + `>x</x:p>`:                                                             Runs,
		`<c xmlns:x="http://www.w3.org/1999/xht&#109;l"><x:p>x</x:p></c>`:                       Runs,
		`<c ` + page + `><x:p onclick="x"/></c>`:                                                Runs,
		`<c ` + drawing + `><s:g onclick="x"/></c>`:                                             Runs,
		`<c ` + drawing + `><s:foreignObject/></c>`:                                             Runs,
		`<c ` + drawing + `><s:g/></c>`:                                                         "",
		`<c onclick="x" link="javascript:x"><object/></c>`:                                      "",
		`<m:a xmlns:m="http://www.w3.org/1998/Math/MathML" href="javascript:x"/>`:               Runs,
		`<s:svg ` + drawing + ` onload="x"/>`:                                                   Runs,
		`<svg xmlns="http://www.w3.org/2000/s&#118;g" onload="x"/>`:                             Runs,
		padding + `<svg xmlns="http://www.w3.org/2000/svg" onload="x"/>`:                        Runs,
		padding + `<svg xmlns="http://www.w3.org/2000/svg"><g onload="x"/><g>`:                  Runs,
		string(utf16le(`<?xml version="1.0" encoding="UTF-16"?><x:script ` + page + `/>`)):      Runs,
		string(utf16le(`<?xml version="1.0" encoding="UTF-16"?><c/>`)):                          "",
		`<?xml version="1.0" encoding="windows-1252"?><c>` + "\xe9</c>":                         "",
		`<?xml version="1.0"?><c>` + "\xe9</c>":                                                 Type,
		`<c>` + "\xe9</c>":                                                                      Type,
		`<c>`:                                                                                   Type,
		`a`:                                                                                     Type,
		strings.Repeat(`<!DOCTYPE c>`, 2) + `<c/>`:                                              Type,
		`<!DOCTYPE c [` + strings.Repeat(`<!ENTITY a "x">`, 5000) + `]><c/>`:                    Type,
		strings.Repeat("<c>", 1000) + strings.Repeat("</c>", 1000):                              Type,
	} {
		g := newGuard(t, Config{})
		for _, f := range []file{{declared: "text/xml"}, {declared: "application/rss+xml"}, {named: "a.xml"}, {said: &openapi.File{Types: []string{"application/xml"}}}} {
			f.data = []byte(data)
			if v := g.judge(f); v.Reason != want {
				t.Errorf("%.90q, %+v: got %q (%s), want %q", data, f.said, v.Reason, v.Detail, want)
			}
		}
		if v := g.judge(file{declared: text, data: []byte(data)}); want == Runs && v.Reason != Runs {
			t.Errorf("%.90q as text: got %q (%s)", data, v.Reason, v.Detail)
		}
	}
}

// What the document admits.
func TestConfigured(t *testing.T) {
	page := file{named: "a.html", declared: html, data: []byte("<html>")}
	pic := file{declared: "image/png", data: picture(t, "png")}
	risk := gate.Risk{AcceptRisk: "why"}
	for name, c := range map[string]struct {
		cfg  Config
		f    file
		want gate.Reason
	}{
		"page":                       {Config{}, page, Runs},
		"page, tolerated":            {Config{Active: Active{Types: []string{html}, Risk: risk}}, page, ""},
		"page, another tolerated":    {Config{Active: Active{Types: []string{script}, Risk: risk}}, page, Runs},
		"page, tolerated until":      {Config{Active: Active{Types: []string{html}, Risk: gate.Risk{AcceptRisk: "why", Until: now().Add(-time.Hour)}}}, page, Runs},
		"page where pdf is declared": {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: page.data, said: &openapi.File{Types: []string{pdf}}}, Type},
		"page as text":               {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: page.data, declared: text}, Type},
		"markdown from HTML":         {Config{}, file{named: "a.md", declared: markdown, data: []byte("<p align=center>")}, Runs},
		"markdown, tolerated":        {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{named: "a.md", declared: markdown, data: []byte("<p align=center>")}, ""},
		"markdown":                   {Config{}, file{named: "a.md", declared: markdown, data: []byte("# a\n<p align=center>")}, ""},
		"page for a table":           {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: page.data, said: &openapi.File{Types: []string{"text/csv"}}}, Type},
		"page for a text of its own": {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: page.data, said: &openapi.File{Types: []string{"text/x-own"}}}, Type},
		"page for a page":            {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: page.data, said: &openapi.File{Types: []string{html}}}, ""},
		"page of another language":   {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: page.data, said: &openapi.File{Types: []string{"text/x-python"}}}, Type},
		"page with a script":         {Config{Active: Active{Types: []string{html}, Risk: risk}}, file{data: []byte("<html><script>x")}, Runs},
		"page with a script, both":   {Config{Active: Active{Types: []string{html, script}, Risk: risk}}, file{data: []byte("<html><script>x")}, ""},
		"listed":                     {Config{Types: []string{"image/*"}}, pic, ""},
		"not listed":                 {Config{Types: []string{pdf}}, pic, Type},
		"the contract says more":     {Config{Types: []string{pdf}}, file{data: pic.data, said: &openapi.File{Types: []string{"image/png"}}}, ""},
		"small enough":               {Config{Size: unit.Size(len(pic.data))}, pic, ""},
		"too large":                  {Config{Size: unit.Size(len(pic.data)) - 1}, pic, Size},
		"maxLength":                  {Config{}, file{data: pic.data, said: &openapi.File{Largest: 9}}, Size},
	} {
		if v := newGuard(t, c.cfg).judge(c.f); v.Reason != c.want {
			t.Errorf("%s: got %q (%s), want %q", name, v.Reason, v.Detail, c.want)
		}
	}
}

func TestWrongUse(t *testing.T) {
	risk := gate.Risk{AcceptRisk: "why"}
	for place, cfg := range map[string]Config{
		"size": {Size: -1}, "files": {Files: -1}, "types": {Types: []string{}}, "active": {Active: Active{Types: []string{html}}},
		"active.types": {Active: Active{Types: []string{"image/png"}, Risk: risk}},
	} {
		wrongAt(t, cfg, place)
	}
	for _, bad := range []string{"png", "image/PNG", "*/*", "image/*+xml", "image/png; q=1", "/png", html, ""} {
		wrongAt(t, Config{Types: []string{bad}}, "types")
	}
	wrongAt(t, Config{Active: Active{Risk: risk}}, "active")
}

func wrongAt(t *testing.T, cfg Config, place string) {
	t.Helper()
	_, err := New(cfg, &gate.API{}, now)
	var list mistake.List
	if !errors.As(err, &list) || len(list) != 1 || list[0].Path != place || list[0].What == "" {
		t.Errorf("%+v: got %v, want one mistake at %s", cfg, err, place)
	}
}

// Each active type can be named; each that the library knows has the name that the library gives it.
func TestActiveTypesAreKnown(t *testing.T) {
	for _, name := range activeTypes() {
		if known := mimetype.Lookup(name); known == nil && name != asp && name != jsp && name != vba || known != nil && essence(known) != name {
			t.Errorf("%s is no type of the library", name)
		}
	}
	for _, table := range []map[string][]string{anywhere, atTheEnd} {
		for name := range table {
			if !isActive(name) {
				t.Errorf("%s is not active", name)
			}
		}
	}
	seen := map[string]bool{}
	for _, table := range []map[string][]string{anywhere, atTheEnd, usual} {
		for name, list := range table {
			if mimetype.Lookup(name) == nil && !isActive(name) && name != markdown {
				t.Errorf("%s is no type of the library", name)
			}
			for _, e := range list {
				if seen[e] {
					t.Errorf("%s stands twice", e)
				}
				seen[e] = true
			}
		}
	}
}

const contract = `
openapi: 3.1.0
info: {title: shop, version: "1"}
paths:
  /form:
    post:
      operationId: form
      requestBody:
        content:
          application/json: {schema: {type: object, properties: {a: {type: string}}}}
          multipart/form-data:
            schema:
              type: object
              properties:
                note: {type: string}
                photo: {type: string, format: binary, maxLength: 100}
                pages: {type: array, items: {type: string, format: binary, maxLength: 9}}
                scan: {type: string, contentMediaType: image/png}
              additionalProperties: true
            encoding: {photo: {contentType: "image/png, application/octet-stream"}, pages: {contentType: application/pdf}}
  /body:
    put:
      operationId: body
      requestBody: {content: {image/png: {}, application/octet-stream: {schema: {type: string, format: binary, maxLength: 5}}, text/plain: {schema: {type: string}}}}
  /sealed:
    put: {operationId: sealed, requestBody: {content: {application/x-own: {x-gatehouse-opaque: {accept_risk: why}}, image/*: {x-gatehouse-opaque: {accept_risk: why}}}}}
  /stream:
    put: {operationId: stream, x-gatehouse-stream: upload, requestBody: {content: {application/octet-stream: {}}}}
  /none:
    post: {operationId: none}
  /json:
    post: {operationId: json, requestBody: {content: {application/json: {schema: {type: object, properties: {a: {type: string}}}}}}}
`

// api is the one of the contract; without one, it has a single operation.
func api(t testing.TB, text string) *gate.API {
	t.Helper()
	if text == "" {
		return &gate.API{Operations: []*gate.Operation{{Key: "*"}}}
	}
	c, err := openapi.Load("shop.yaml", func(string) ([]byte, error) { return []byte(text), nil })
	if err != nil {
		t.Fatal(err)
	}
	a := &gate.API{Contract: c}
	for _, o := range c.Operations {
		a.Operations = append(a.Operations, &gate.Operation{Key: o.ID, Contract: o, Stream: gate.Stream{Kind: o.Stream}})
	}
	return a
}

func part(disposition, media, data string) string {
	if media != "" {
		media = "\r\nContent-Type: " + media
	}
	return "--b\r\nContent-Disposition: form-data; " + disposition + media + "\r\n\r\n" + data + "\r\n"
}

// Which bodies and parts are files, and what the contract says of them.
func TestCheck(t *testing.T) {
	pic := string(picture(t, "png"))
	const multi = "multipart/form-data; boundary=b"
	photo := part(`name="photo"; filename="a.png"`, "image/png", pic)
	for name, c := range map[string]struct {
		contract, op, media, data string
		want                      gate.Reason
		unread                    bool
	}{
		"json":                        {contract, "form", "application/json", `{"a":"<script>"}`, "", true},
		"field":                       {contract, "form", multi, part(`name="note"`, "", "<script>") + "--b--", "", false},
		"photo":                       {contract, "form", multi, photo + "--b--", "", false},
		"photo as bytes":              {contract, "form", multi, part(`name="photo"; filename="a"`, "application/octet-stream", "\x00") + "--b--", "", false},
		"photo, too large":            {contract, "form", multi, part(`name="photo"; filename="a"`, "application/octet-stream", strings.Repeat("\x00", 101)) + "--b--", Size, false},
		"photo without a name":        {contract, "form", multi, part(`name="photo"`, "", "<html>") + "--b--", Runs, false},
		"no photo":                    {contract, "form", multi, part(`name="photo"; filename=""`, "application/octet-stream", "") + "--b--", "", false},
		"pages":                       {contract, "form", multi, strings.Repeat(part(`name="pages"; filename="a.pdf"`, pdf, "%PDF-1.7"), 3) + "--b--", "", false},
		"a page, too large":           {contract, "form", multi, part(`name="pages"; filename="a.pdf"`, pdf, "%PDF-1.7  ") + "--b--", Size, false},
		"a page that is none":         {contract, "form", multi, part(`name="pages"; filename="a.pdf"`, pdf, "hello") + "--b--", Type, false},
		"too many":                    {contract, "form", multi, strings.Repeat(part(`name="pages"; filename="a.pdf"`, pdf, "%PDF-1.7"), 4) + "--b--", Count, false},
		"scan by its schema":          {contract, "form", multi, part(`name="scan"; filename="a.gif"`, "image/png", string(picture(t, "gif"))) + "--b--", Type, false},
		"undeclared file":             {contract, "form", multi, part(`name="x"; filename="a.php"`, "", "a") + "--b--", Runs, false},
		"undeclared bytes":            {contract, "form", multi, part(`name="x"`, "image/png", "<html>") + "--b--", Runs, false},
		"undeclared, of own type":     {contract, "form", multi, part(`name="x"`, "application/x-own", "<html>") + "--b--", Runs, false},
		"body":                        {contract, "body", "image/png", pic, "", false},
		"body that is none":           {contract, "body", "image/png", "hello", Type, false},
		"bytes":                       {contract, "body", "application/octet-stream", "\x00", "", false},
		"bytes, too many":             {contract, "body", "application/octet-stream", "\x00     ", Size, false},
		"text":                        {contract, "body", "text/plain", "<html>", "", true},
		"undeclared media type":       {contract, "body", "image/gif", "<html>", Runs, false},
		"undeclared text":             {contract, "body", "text/html", "<html>", "", true},
		"no body":                     {contract, "body", "", "", "", true},
		"undeclared form":             {contract, "none", multi, part(`name="x"; filename="a.php"`, "", "a") + "--b--", Runs, false},
		"undeclared picture":          {contract, "none", "image/png", "<html>", Runs, false},
		"form, json is declared":      {contract, "json", multi, part(`name="x"; filename="a.php"`, "", "a") + "--b--", Runs, false},
		"picture, json is declared":   {contract, "json", "image/png", "<html>", Runs, false},
		"json, as declared":           {contract, "json", "application/json", `{"a":"<script>"}`, "", true},
		"undeclared json":             {contract, "none", "application/json", "{}", "", true},
		"malformed media type":        {contract, "body", "image", "x", "media.malformed", true},
		"sealed":                      {contract, "sealed", "image/png", "<html>", "", true},
		"stream":                      {contract, "stream", "application/octet-stream", "<html>", "", true},
		"without a contract, form":    {"", "*", multi, part(`name="x"; filename="a.png"`, "", "<html>") + "--b--", Runs, false},
		"without a contract, picture": {"", "*", "image/png", "<html>", Runs, false},
		"without a contract, svg":     {"", "*", svg, "<svg onload='x'/>", Type, false},
		"without a contract, bytes":   {"", "*", "application/octet-stream", "<html>", Runs, false},
		"without a contract, json":    {"", "*", "application/json", "{}", "", true},
	} {
		a := api(t, c.contract)
		g, err := New(Config{Files: 3}, a, now)
		if err != nil {
			t.Fatal(err)
		}
		x := &gate.Exchange{Request: &canon.Request{Length: int64(len(c.data)), Fields: http.Header{}}, API: a}
		if c.media != "" {
			x.Request.Fields.Set("Content-Type", c.media)
		}
		for _, op := range a.Operations {
			if op.Key == c.op {
				x.Operation = op
			}
		}
		read := false
		x.SetBody(func(context.Context) (*body.Tree, gate.Verdict) {
			read = true
			media, params, _ := body.MediaType(x.Request.Fields)
			kind, _ := body.KindOf(media)
			tree, refusal := body.Read(kind, params, "", strings.NewReader(c.data), body.Limits{})
			if refusal != nil {
				t.Fatal(name, refusal)
			}
			return tree, gate.Allow()
		})
		v := g.Check(t.Context(), x)
		if v.Reason != c.want || v.Allowed() != (c.want == "") {
			t.Errorf("%s: got %q (%s), want %q", name, v.Reason, v.Detail, c.want)
		}
		if read == c.unread {
			t.Errorf("%s: read: %v", name, read)
		}
		if read && !g.NeedsBody(x.Operation) {
			t.Errorf("%s: a body is read that was to be streamed", name)
		}
	}
}

func TestFindings(t *testing.T) {
	ids := func(cfg Config) (open, risk string) {
		g, err := New(cfg, api(t, `
openapi: 3.1.0
info: {title: shop, version: "1"}
paths:
  /form:
    post:
      operationId: form
      requestBody:
        content:
          multipart/form-data:
            schema: {type: object, properties: {a: {type: string, format: binary}, b: {type: string, format: binary}, c: {type: string, format: binary}, d: {type: string, format: binary}}}
            encoding: {b: {contentType: text/html}, c: {contentType: application/x-own}, d: {contentType: image/*}}
`), now)
		if err != nil {
			t.Fatal(err)
		}
		o, r := g.Findings(now())
		for _, f := range o {
			open += " " + f.ID
			if f.Operation != "form" && f.ID != "upload.active_over" || f.What == "" || f.Fix == "" {
				t.Errorf("incomplete: %+v", f)
			}
		}
		for _, f := range r {
			risk += " " + f.ID
		}
		return open, risk
	}
	for name, c := range map[string]struct {
		cfg        Config
		open, risk string
	}{
		"plain":  {Config{}, " upload.any_type upload.refused_type upload.unknown_type", ""},
		"types":  {Config{Types: []string{"image/*"}}, " upload.refused_type upload.unknown_type", ""},
		"active": {Config{Active: Active{Types: []string{html}, Risk: gate.Risk{AcceptRisk: "why"}}}, " upload.any_type upload.unknown_type", " upload.active"},
		"over":   {Config{Active: Active{Types: []string{html}, Risk: gate.Risk{AcceptRisk: "why", Until: now().Add(-1)}}}, " upload.any_type upload.refused_type upload.unknown_type upload.active_over", ""},
	} {
		if open, risk := ids(c.cfg); open != c.open || risk != c.risk {
			t.Errorf("%s: open%s, risk%s", name, open, risk)
		}
	}
}

// Events hold no content, and no word that a client made up.
func TestVerdictsRepeatNothing(t *testing.T) {
	for _, f := range []file{
		{place: "the body", declared: "application/x-hunter2", named: "hunter2.png", data: []byte("<html>hunter2")},
		{place: "the body", declared: "image/png", named: "hunter2.png", data: []byte("hunter2")},
		{place: "the body", named: "hunter2\u200b.png"},
		{place: "the body", declared: zipd, data: zipped(t, "../hunter2")},
	} {
		if v := newGuard(t, Config{}).judge(f); v.Allowed() || strings.Contains(fmt.Sprint(v), "hunter2") {
			t.Errorf("%+v", v)
		}
	}
}

// noise are bytes as compression leaves them.
func noise(n int) []byte {
	r, data := rand.New(rand.NewPCG(1, 2)), make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// Bytes that mean nothing are no script: a photograph must not be refused by chance.
func TestNoiseIsNotActive(t *testing.T) {
	if found := append(marks(noise(8<<20)), pdfScripts(noise(8<<20))...); found != nil {
		t.Errorf("found %v in noise", found)
	}
}

func BenchmarkJudge(b *testing.B) {
	g := newGuard(b, Config{})
	f := file{place: "the body", named: "a.png", declared: "image/png", data: append(picture(b, "png"), noise(1<<20)...)}
	b.SetBytes(int64(len(f.data)))
	for b.Loop() {
		if v := g.judge(f); !v.Allowed() {
			b.Fatal(v.Detail)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, format := range []string{"png", "jpeg", "gif"} {
		f.Add(picture(f, format), "a."+format)
	}
	f.Add(zipped(f, "[Content_Types].xml", "word/document.xml"), "a.docx")
	f.Add([]byte(`<svg xmlns="http://www.w3.org/2000/svg"><a href="x"/></svg>`), "a.svg")
	f.Add([]byte(`<!DOCTYPE svg [<!ENTITY a "x">]><s:svg xmlns:s="http://www.w3.org/2000/svg">&a;</s:svg>`), "a.xml")
	f.Add(utf16le(`<?xml version="1.0"?><x:p xmlns:x="http://www.w3.org/1999/xhtml"/>`), "a\u200e.txt")
	f.Add([]byte("%PDF-1.7 /JS ("), "a.pdf")
	f.Add([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00,"), "a.php;.gif")
	ole, _ := base64.StdEncoding.DecodeString("0M8R4KGxGuE=")
	f.Add(ole, "a.doc")
	g := newGuard(f, Config{})
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		found := recognise(data)
		if again := recognise(data); again.name() != found.name() || fmt.Sprint(again.holds, again.broken, again.escapes) != fmt.Sprint(found.holds, found.broken, found.escapes) {
			t.Errorf("%v, then %v", found, again)
		}
		v := g.judge(file{place: "the body", named: name, data: data})
		active := activeKind(found.kind) != "" || len(found.holds) > 0
		if v.Allowed() && active {
			t.Errorf("%s, %v passes", found.name(), found.holds)
		}
		// a script stays one in any company, and behind any name
		if v := g.judge(file{place: "the body", data: append(bytes.Clone(data), "<?php system(1);"...)}); v.Allowed() {
			t.Error("a script passes")
		}
		if v := g.judge(file{place: "the body", named: name + ".php", data: []byte("a")}); v.Allowed() {
			t.Errorf("%q passes", name+".php")
		}
	})
}
