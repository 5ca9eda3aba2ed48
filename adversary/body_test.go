package adversary

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Rows G: what a body says.
func bodyRows() []attack {
	var rows []attack
	send := func(row, name, target, media, body string, w want, more ...field) {
		fields := more
		if media != "" {
			fields = append([]field{{"Content-Type", media}}, more...)
		}
		rows = append(rows, attack{row: row, name: name, method: "POST", target: target, fields: fields, body: body, want: w})
	}
	no := func(status int, code gate.Code, reason gate.Reason) want {
		return refused("contract", status, code, reason)
	}
	bad := func(reason gate.Reason) want { return no(400, gate.BadRequest, reason) }
	json := func(row, name, body string, w want) { send(row, name, "/items", "application/json", body, w) }
	takes := func(target, media, body string) want {
		return want{status: 200, sent: "POST " + target + " HTTP/1.1", adds: []string{"Content-Type: " + media, fmt.Sprint("Content-Length: ", len(body))}, body: body}
	}

	const form, boundary = "multipart/form-data", "multipart/form-data; boundary=b"
	part := func(head, body string) string { return "--b\r\n" + head + "\r\n\r\n" + body + "\r\n--b--\r\n" }
	disposition := `Content-Disposition: form-data; name="note"`
	send("G2", "good", "/upload", boundary, part(disposition, "hello"), takes("/upload", boundary, part(disposition, "hello")))
	send("G2", "boundary twice", "/upload", boundary+"; boundary=c", part(disposition, "a"), no(415, gate.UnsupportedMedia, "media.parameter"))
	send("G2", "boundary*", "/upload", form+"; boundary*=utf-8''b", part(disposition, "a"), no(415, gate.UnsupportedMedia, "media.parameter"))
	send("G2", "no boundary", "/upload", form, part(disposition, "a"), bad("multipart.boundary"))
	send("G2", "no end", "/upload", boundary, "--b\r\n"+disposition+"\r\n\r\na\r\n", bad("multipart.end"))
	send("G2", "lf only", "/upload", boundary, "--b\n"+disposition+"\n\na\n--b--\n", bad("multipart.boundary"))
	send("G2", "preamble", "/upload", boundary, "payload\r\n"+part(disposition, "a"), bad("multipart.preamble"))
	send("G2", "epilogue", "/upload", boundary, part(disposition, "a")+"payload", bad("multipart.end"))
	send("G2", "filename*", "/upload", boundary, part(`Content-Disposition: form-data; name="file"; filename="a.php"; filename*=utf-8''b.txt`, "a"), bad("multipart.disposition"))
	for name, media := range map[string]string{"ebcdic": "ibm037", "utf7": "utf-7", "utf16": "utf-16"} {
		send("G3", "part "+name, "/upload", boundary, part(disposition+"\r\nContent-Type: text/plain; charset="+media, "a"), no(415, gate.UnsupportedMedia, "media.charset"))
		send("G3", "form "+name, "/form", "application/x-www-form-urlencoded; charset="+media, "a=1", no(415, gate.UnsupportedMedia, "media.charset"))
		send("G3", "json "+name, "/items", "application/json; charset="+media, item, no(415, gate.UnsupportedMedia, "media.charset"))
	}
	send("G3", "two charsets", "/items", "application/json; charset=utf-8; charset=utf-7", item, no(415, gate.UnsupportedMedia, "media.parameter"))
	send("G3", "_charset_", "/form", "application/x-www-form-urlencoded", "_charset_=utf-7&a=1", bad("body.charset_field"))
	rows = append(rows, attack{row: "G3", name: "accept-charset", fields: []field{{"Accept-Charset", "ibm037"}}, want: passes("GET /public/x HTTP/1.1")})
	send("G4", "base64", "/upload", boundary, part(disposition+"\r\nContent-Transfer-Encoding: base64", "PHNjcmlwdD4="), bad("multipart.transfer_encoding"))
	send("G5", "name twice", "/upload", boundary, part(`Content-Disposition: form-data; name="note"; name="file"`, "a"), bad("multipart.disposition"))
	json("G6", "twice", `{"name":"user","name":"admin"}`, bad("body.duplicate_member"))
	json("G6", "escaped", `{"name":"user","n\u0061me":"admin"}`, bad("body.duplicate_member"))
	json("G7", "case", `{"name":"user","NAME":"admin"}`, no(400, gate.InvalidInput, "contract.unknown_property"))
	exact := `{"name":"a","count":9007199254740993}`
	json("G8", "exact", exact, takes("/items", "application/json", exact))
	json("G8", "huge exponent", `{"name":"a","count":1e400}`, bad("body.number"))
	json("G8", "leading zero", `{"name":"a","count":01}`, bad("body.json"))
	json("G8", "NaN", `{"name":"a","price":NaN}`, bad("body.json"))
	json("G9", "utf8", "{\"name\":\"\xff\"}", bad("body.utf8"))
	json("G9", "surrogate", `{"name":"\ud800"}`, bad("body.surrogate"))
	json("G9", "nul", `{"name":"a\u0000b"}`, bad("body.nul"))
	json("G9", "bom", "\xef\xbb\xbf"+item, bad("body.bom"))
	json("G9", "utf16", "\xff\xfe{\x00}\x00", bad("body.bom"))
	json("G10", "second value", item+`{"name":"b"}`, bad("body.trailing"))
	json("G10", "junk", item+"x", bad("body.trailing"))
	json("G11", "depth", `{"name":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+"}", bad("body.depth"))
	json("G11", "members", "{"+strings.Repeat(`"a":1,`, 1)+many(10001)+"}", bad("body.members"))
	send("G12", "good", "/items", "application/json", zip(item), want{status: 200, sent: "POST /items HTTP/1.1", adds: []string{"Content-Type: application/json", "Content-Length: 12"}, body: item}, field{"Content-Encoding", "gzip"})
	send("G12", "bomb", "/items", "application/json", zip(`{"name":"`+strings.Repeat("a", 900_000)+`"}`), no(413, gate.TooLarge, "coding.ratio"), field{"Content-Encoding", "gzip"})
	send("G12", "twice", "/items", "application/json", zip(zip(item)), no(415, gate.UnsupportedMedia, "coding.stacked"), field{"Content-Encoding", "gzip, gzip"})
	send("G12", "in itself", "/items", "application/json", zip(zip(item)), bad("body.utf8"), field{"Content-Encoding", "gzip"})
	send("G12", "behind it", "/items", "application/json", zip(item)+"x", bad("coding.trailing"), field{"Content-Encoding", "gzip"})
	send("G13", "raw deflate", "/items", "application/json", deflate(item), bad("coding.malformed"), field{"Content-Encoding", "deflate"})
	send("G13", "compress", "/items", "application/json", item, no(415, gate.UnsupportedMedia, "coding.unknown"), field{"Content-Encoding", "compress"})
	send("G13", "x", "/items", "application/json", item, no(415, gate.UnsupportedMedia, "coding.unknown"), field{"Content-Encoding", "x"})
	send("G14", "missing", "/items", "", item, no(415, gate.UnsupportedMedia, "contract.media_type"))
	send("G14", "text", "/items", "text/plain", item, no(415, gate.UnsupportedMedia, "contract.media_type"))
	send("G14", "form", "/items", "application/x-www-form-urlencoded", "name=a", no(415, gate.UnsupportedMedia, "contract.media_type"))
	query := func(row, name, target string, w want) {
		rows = append(rows, attack{row: row, name: name, target: target, want: w})
	}
	query("G15", "twice", "/search?n=1&n=2", no(400, gate.InvalidInput, "contract.parameter"))
	query("G15", "brackets", "/search?n[]=1", no(400, gate.InvalidInput, "contract.unknown_parameter"))
	query("G15", "case", "/search?N=1", no(400, gate.InvalidInput, "contract.unknown_parameter"))
	query("G15", "declared list", "/search?tag=a&tag=b", passes("GET /search?tag=a&tag=b HTTP/1.1"))
	send("G15", "query of a body", "/form?a=1", "application/x-www-form-urlencoded", "a=2", no(400, gate.InvalidInput, "contract.unknown_parameter"))
	send("G15", "form twice", "/form", "application/x-www-form-urlencoded", "a=1&a=2", no(400, gate.InvalidInput, "contract.body"))
	payload := strings.Repeat("a ", 64<<10) + `<script>alert(document.cookie)</script>`
	json("G21", "behind 128 kB", `{"name":"x","tags":["`+payload+`"]}`, refused("waf", 403, gate.Attack, "waf.rule"))
	// what is sent as a file is not passed uninspected either
	upload := func(name, disposition, media, data string, status int, code gate.Code, reason gate.Reason) {
		send("G21", name, "/upload", boundary, part(`Content-Disposition: form-data; name="file"; filename="`+disposition+`"`+"\r\nContent-Type: "+media, data), refused("upload", status, code, reason))
	}
	upload("page as picture", "a.png", "image/png", "<!DOCTYPE html><p>", 403, gate.Attack, "upload.active")
	upload("program as picture", "a.png", "image/png", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00", 403, gate.Attack, "upload.active")
	upload("php in a gif", "a.gif", "image/gif", "GIF89a\x01\x00\x01\x00\x00\x00\x00<?php system($_GET[0]);", 403, gate.Attack, "upload.active")
	upload("php by its name", "a.php.gif", "image/gif", "GIF89a", 403, gate.Attack, "upload.active")
	upload("gif by its first bytes", "a.gif", "image/gif", "GIF89a=1;alert(1)//", 415, gate.UnsupportedMedia, "upload.type")
	upload("zip as word", "a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "PK\x05\x06"+strings.Repeat("\x00", 18), 415, gate.UnsupportedMedia, "upload.type")
	upload("svg", "a.svg", "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, 403, gate.Attack, "upload.active")
	upload("server's own file", ".htaccess", "text/plain", "AddType application/x-httpd-php .gif", 400, gate.BadRequest, "upload.name")
	json("G21", "plain", `{"name":"<script>alert(document.cookie)</script>"}`, refused("waf", 403, gate.Attack, "waf.rule"))
	return rows
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":1,`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // into a buffer
	_ = w.Close()
	return b.String()
}

func deflate(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func TestBodies(t *testing.T) { bring(t, shared, bodyRows()) }

// G13, the other reading of deflate: whichever of the two a server would choose, it gets the plain bytes or nothing.
func TestDeflateArrivesPlainOrNotAtAll(t *testing.T) {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(item))
	_ = w.Close()
	before := shared.server.mark()
	r := shared.sendRaw(t, source(), attack{method: "POST", target: "/items", fields: []field{{"Content-Type", "application/json"}, {"Content-Encoding", "deflate"}}, body: b.String()}.bytes1(), true, false)
	total, requests, _ := shared.server.since(before)
	switch {
	case r.status == 200 && len(requests) == 1 && strings.HasSuffix(requests[0], "\r\n\r\n"+item) && !strings.Contains(requests[0], "Content-Encoding"):
	case r.status == 415 && total == 0:
	default:
		t.Errorf("status %d, at the server %q", r.status, requests)
	}
}
