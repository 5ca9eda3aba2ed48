package body

import (
	"bytes"
	"io"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
)

var bnd = map[string]string{"boundary": "xyz"}

// crlf writes the example with the line breaks of the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const onePart = "--xyz\nContent-Disposition: form-data; name=\"a\"\n\n1\n--xyz--\n"

func TestMultipart(t *testing.T) {
	in := crlf("--xyz\nContent-Disposition: form-data; name=\"a\"\n\nÄ\n\n2\n--xyz\ncontent-type: image/PNG\nContent-Length: 3\ncontent-disposition: Form-Data; filename=\"p;q.png\"; NAME=photo\n\n\xff\x00\n\n" +
		"--xyz\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\nContent-Type: application/octet-stream\n\n\n--xyz--")
	in = strings.Replace(in, "Content-Length: 3", "Content-Length: 4", 1)
	tree, refusal := Read(Multipart, bnd, "", strings.NewReader(in), Limits{})
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := []Part{
		{"a", "", "", []byte("Ä\r\n\r\n2"), []string{`Content-Disposition: form-data; name="a"`}},
		{"photo", "p;q.png", "image/png", []byte("\xff\x00\r\n"), []string{"content-type: image/PNG", "Content-Length: 4", `content-disposition: Form-Data; filename="p;q.png"; NAME=photo`}},
		{"none", "", "application/octet-stream", nil, []string{`Content-Disposition: form-data; name="none"; filename=""`, "Content-Type: application/octet-stream"}},
	}
	if len(tree.Parts) != len(want) {
		t.Fatalf("%+v", tree.Parts)
	}
	for i, w := range want {
		if p := tree.Parts[i]; p.Name != w.Name || p.FileName != w.FileName || p.Type != w.Type || !bytes.Equal(p.Data, w.Data) || !slices.Equal(p.Header, w.Header) {
			t.Errorf("part %d: %+v, want %+v", i+1, p, w)
		}
	}
	for _, ok := range []string{
		onePart, strings.TrimSuffix(onePart, "\n"),
		"--xyz\nContent-Disposition: form-data; name=\"a\"; filename=\"latin1.txt\"\nContent-Type: text/plain\n\n\xff\x00\n--xyz--\n",
		"--xyz\nContent-Disposition: form-data; name=\"a\"\nContent-Type: application/octet-stream\n\n\xff\x00\n--xyz--\n",
	} {
		if _, refusal := Read(Multipart, bnd, "", strings.NewReader(crlf(ok)), Limits{}); refusal != nil {
			t.Errorf("%q: %v", ok, refusal)
		}
	}
}

func TestMultipartRefused(t *testing.T) {
	with := func(header, data string) string { return crlf("--xyz\n"+header+"\n\n") + data + crlf("\n--xyz--\n") }
	name := "Content-Disposition: form-data; name=\"a\""
	for _, c := range []struct{ row, in, reason string }{
		{"G2", onePart, multipartBoundary}, // LF only
		{"G2", crlf("--xyz\n") + strings.TrimPrefix(onePart, "--xyz\n"), multipartBoundary},
		{"G2", with(name+"\nX", "1"), multipartHeader},
		{"G2", strings.TrimSuffix(crlf(onePart), "--\r\n"), multipartBoundary},
		{"G2", crlf("--xyz\n" + name + "\n\n1\n"), multipartEnd},
		{"G2", "evil" + crlf(onePart), multipartPreamble},
		{"G2", "\r\n" + crlf(onePart), multipartPreamble},
		{"G2", crlf(onePart) + "evil", multipartEnd},
		{"G2", crlf(onePart) + "\r\n", multipartEnd},
		{"G2", with(name, "1\n--xyz\n"), multipartBoundary},
		{"G2", with(name, "1 --xyz 2"), multipartBoundary},
		{"G2", with(name, "1\r\n--xyzz"), multipartBoundary},
		{"G2", with(name, "1\r\n--xyz \r\n"+name), multipartBoundary},
		{"G2", with(name+"; filename=\"a.php\"; filename*=utf-8''b.txt", "1"), multipartDisp},
		{"G2", with(name+"; name*=utf-8''b", "1"), multipartDisp},
		{"G2", with("", "1"), multipartHeader},
		{"G2", with("X-Other: 1\n"+name, "1"), multipartHeader},
		{"G2", with(name+"\n "+"folded", "1"), multipartHeader},
		{"G2", with(name+"\n"+name, "1"), multipartHeader},
		{"G2", with(name+"\x00", "1"), multipartHeader},
		{"G2", with(name+"\xff", "1"), multipartHeader},
		{"G2", with("Content-Disposition : form-data; name=a", "1"), multipartHeader},
		{"G2", crlf("--xyz\n" + name + "\n--xyz--\n"), multipartHeader},
		{"G2", crlf("--xyz--\n"), multipartEnd},
		{"G3", with(name+"\nContent-Type: text/plain; charset=ibm037", "1"), mediaCharset},
		{"G3", with(name+"\nContent-Type: text/plain; charset=utf-7", "1"), mediaCharset},
		{"G3", with(name+"\nContent-Type: text/plain; charset=utf-8; charset=utf-7", "1"), mediaParameter},
		{"G3", with(name+"\nContent-Type: text/plain; charset*=utf-7", "1"), mediaParameter},
		{"G3", with(strings.ReplaceAll(name, `"a"`, `"_charset_"`), "utf-7"), bodyCharsetField},
		{"G4", with(name+"\nContent-Transfer-Encoding: base64", "PHNjcmlwdD4="), multipartEncoding},
		{"G5", with(`Content-Disposition: form-data; name="d"; name="e"`, "1"), multipartDisp},
		{"G5", with(`Content-Disposition: form-data; name="d"; NAME="e"`, "1"), multipartDisp},
		{"G5", with(`Content-Disposition: form-data; name="d"; filename=a; filename=b`, "1"), multipartDisp},
		{"", with(`Content-Disposition: form-data; name=""`, "1"), multipartDisp},
		{"", with(`Content-Disposition: form-data`, "1"), multipartDisp},
		{"", with(`Content-Disposition: form-data;`, "1"), multipartDisp},
		{"", with(`Content-Disposition: attachment; name="a"`, "1"), multipartDisp},
		{"", with(`Content-Disposition: form-data; name="a\"; filename=\"b"`, "1"), multipartDisp},
		{"", with(`Content-Disposition: form-data; name="a" x`, "1"), multipartDisp},
		{"", with(`Content-Disposition: form-data; name = "a"`, "1"), multipartDisp},
		{"", with("Content-Type: text/plain", "1"), multipartDisp},
		{"", with(name+`; filename="../../a"`, "1"), multipartFileName},
		{"", with(name+`; filename=".."`, "1"), multipartFileName},
		{"", with(name+`; filename=""`, "1"), multipartFileName},
		{"", with(name+"\nContent-Type: multipart/mixed; boundary=abc", "1"), multipartNested},
		{"", with(name+"\nContent-Type: message/rfc822", "1"), multipartNested},
		{"", with(name+"\nContent-Type: text/plain; boundary=abc", "1"), multipartNested},
		{"", with(name+"\nContent-Type: text/csv", "\xff"), bodyUTF8},
		{"", with(name+"\nContent-Type: what", "1"), mediaMalformed},
		{"", with(name+"\nContent-Length: 2", "1"), multipartHeader},
		{"", with(name+"; filename=\""+strings.Repeat("x", 5000)+`"`, "1"), multipartHeader},
		{"", with(name, "\xff"), bodyUTF8},
		{"", with(name, "a\x00b"), bodyNUL},
		{"G11", strings.Repeat(crlf("--xyz\n"+name+"\n\n1\n"), 101) + crlf("--xyz--\n"), multipartTooMany},
	} {
		tree, refusal := Read(Multipart, bnd, "", strings.NewReader(c.in), Limits{})
		if refusal == nil {
			t.Errorf("%s %.120q: accepted as %.3q, want %s", c.row, c.in, tree.Parts, c.reason)
		} else if refusal.Reason != c.reason {
			t.Errorf("%s %.120q: %v, want %s", c.row, c.in, refusal, c.reason)
		}
	}
	for _, params := range []map[string]string{nil, {"boundary": ""}, {"boundary": "x y"}, {"boundary": strings.Repeat("x", 71)}, {"boundary": "xyz", "boundary*": "abc"}, {"boundary": "xyz", "boundary*0": "abc"}, {"boundary": "x\"y"}} {
		if _, refusal := Read(Multipart, params, "", strings.NewReader(crlf(onePart)), Limits{}); refusal == nil || refusal.Reason != multipartBoundary {
			t.Errorf("%q: %v", params, refusal)
		}
	}
}

// FuzzMultipart: what we accept, mime/multipart reads as the same parts.
func FuzzMultipart(f *testing.F) {
	f.Add([]byte(crlf(onePart)), "xyz")
	f.Add([]byte(crlf("--b\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\nContent-Type: text/plain; charset=utf-8\n\ntext\n--b\nContent-Disposition: form-data; name=g\n\n\n--b--")), "b")
	f.Add([]byte(onePart), "xyz")
	f.Fuzz(func(t *testing.T, in []byte, boundary string) {
		tree, refusal := Read(Multipart, map[string]string{"boundary": boundary}, "", bytes.NewReader(in), Limits{})
		if refusal != nil {
			return
		}
		theirs := multipart.NewReader(bytes.NewReader(in), boundary)
		for i, ours := range tree.Parts {
			part, err := theirs.NextRawPart()
			if err != nil {
				t.Fatalf("%q: part %d: %v", in, i+1, err)
			}
			data, err := io.ReadAll(part)
			if err != nil || !bytes.Equal(data, ours.Data) || part.FormName() != ours.Name || part.FileName() != ours.FileName {
				t.Fatalf("%q: part %d: we read %+v, mime/multipart %q %q %q %v", in, i+1, ours, part.FormName(), part.FileName(), data, err)
			}
		}
		if part, err := theirs.NextRawPart(); err != io.EOF {
			t.Fatalf("%q: mime/multipart has one more part, %+v %v", in, part, err)
		}
	})
}
