package body

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// squeeze compresses with the coding.
func squeeze(t testing.TB, coding string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw":
		w, err = flate.NewWriter(&out, 6)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	default:
		t.Fatalf("no coding %q", coding)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCodings(t *testing.T) {
	doc := document(4 << 10)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		small := squeeze(t, coding, doc)
		for _, name := range []string{coding, strings.ToUpper(coding), " " + coding} {
			tree, refusal := Read(JSON, nil, name, bytes.NewReader(small), Limits{})
			if refusal != nil || !bytes.Equal(tree.Raw, doc) || tree.Value() == nil {
				t.Errorf("%s: %v", name, refusal)
			}
		}
		for at := range len(small) { // cut short anywhere
			if _, refusal := Read(Opaque, nil, coding, bytes.NewReader(small[:at]), Limits{}); refusal == nil || refusal.Reason != codingMalformed {
				t.Fatalf("%s cut at %d of %d: %v", coding, at, len(small), refusal)
			}
		}
		for what, tail := range map[string][]byte{"a second one": small, "a byte": {'x'}, "zeros": make([]byte, 40_000)} {
			long := append(slices.Clone(small), tail...)
			if _, refusal := Read(Opaque, nil, coding, bytes.NewReader(long), Limits{}); refusal == nil || refusal.Reason != codingTrailing && coding != "br" {
				t.Errorf("%s with %s behind it: %v", coding, what, refusal)
			}
		}
		bomb := squeeze(t, coding, make([]byte, 100<<20>>3))
		if _, refusal := Read(Opaque, nil, coding, bytes.NewReader(bomb), Limits{}); refusal == nil || refusal.Status != 413 { // G12
			t.Errorf("%s bomb of %d bytes: %v", coding, len(bomb), refusal)
		}
		if _, refusal := Read(Opaque, nil, coding, bytes.NewReader(squeeze(t, coding, make([]byte, 512<<10))), Limits{}); refusal == nil || refusal.Reason != codingRatio {
			t.Errorf("%s ratio: %v", coding, refusal)
		}
		if _, refusal := Read(Opaque, nil, coding, strings.NewReader("plain text"), Limits{}); refusal == nil || refusal.Reason != codingMalformed {
			t.Errorf("%s: plain text: %v", coding, refusal)
		}
	}
	nested := squeeze(t, "gzip", squeeze(t, "gzip", doc)) // one layer is taken off, the rest is opaque
	if tree, refusal := Read(Opaque, nil, "gzip", bytes.NewReader(nested), Limits{}); refusal != nil || !bytes.Equal(tree.Raw, squeeze(t, "gzip", doc)) {
		t.Errorf("nested: %v", refusal)
	}
	if _, refusal := Read(JSON, nil, "gzip", bytes.NewReader(nested), Limits{}); refusal == nil {
		t.Error("nested gzip read as JSON")
	}
}

func TestCodingsRefused(t *testing.T) {
	for _, c := range []struct {
		row, coding string
		body        []byte
		reason      string
		status      int
	}{
		{"G12", "gzip, gzip", []byte("{}"), codingStacked, 415},
		{"G12", "gzip,", []byte("{}"), codingStacked, 415},
		{"G13", "compress", []byte("{}"), codingUnknown, 415},
		{"G13", "gzip;q=1", []byte("{}"), codingUnknown, 415},
		{"G13", "chunked", []byte("{}"), codingUnknown, 415},
		{"G13", "deflate", squeeze(t, "raw", []byte("{}")), codingMalformed, 400},
		{"", "zstd", append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}, squeeze(t, "zstd", []byte("{}"))...), codingMalformed, 400},
	} {
		if _, refusal := Read(JSON, nil, c.coding, bytes.NewReader(c.body), Limits{}); refusal == nil || refusal.Reason != c.reason || refusal.Status != c.status {
			t.Errorf("%s %s: %v", c.row, c.coding, refusal)
		}
	}
	if tree, refusal := Read(JSON, nil, "identity", strings.NewReader("{}"), Limits{}); refusal != nil || tree.Value() == nil {
		t.Errorf("identity: %v", refusal)
	}
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		row    string
		kind   Kind
		params map[string]string
		in     string
		reason string
		status int
	}{
		{"", Empty, nil, "", "", 0},
		{"G14", Empty, nil, "{}", bodyUnexpected, 415},
		{"G14", Empty, nil, "x", bodyUnexpected, 415},
		{"", Kind(99), nil, "x", bodyUnexpected, 415},
		{"G3", Form, map[string]string{"charset": "ibm037"}, "a=1", mediaCharset, 415},
		{"", Form, map[string]string{"charset": "UTF-8"}, "a=1&b=%C3%A9+x", "", 0},
		{"G3", Form, nil, "a=1&_charset_=utf-7", bodyCharsetField, 400},
		{"A25", Form, nil, "a=1;b=2", bodyForm, 400},
		{"A25", Form, nil, "a=%zz", bodyForm, 400},
		{"", Form, nil, "a=1\r\n", bodyForm, 400},
		{"", Form, nil, "a=%ff", bodyUTF8, 400},
		{"", Form, nil, "a=%00", bodyControl, 400},
		{"A26", Form, nil, strings.Repeat("a&", 256) + "role=admin", bodyParams, 400},
		{"", Text, nil, "héllo", "", 0},
		{"", Text, nil, "h\xe9llo", bodyUTF8, 400},
		{"", Text, nil, "h\x00llo", bodyNUL, 400},
		{"", Opaque, nil, "\xff\x00", "", 0},
		{"", XML, nil, `<?xml version="1.0" encoding='UTF-8'?><!-- x --><a><![CDATA[ <b> ]]></a>`, "", 0},
		{"", XML, nil, `<?xml version="1.0" encoding="us-ascii" standalone="yes"?><a/>`, "", 0},
		{"", XML, nil, "\ufeff<?xml version=\"1.0\"?><a/>", "", 0},
		{"", XML, nil, `<?xml-stylesheet encoding="x"?><a/>`, "", 0},
		{"", XML, nil, "<?xml", xmlEncoding, 400},
		{"", XML, nil, "<?xml\nversion='1.0' encoding='utf-7'?><a/>", xmlEncoding, 400},
		{"", XML, nil, `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, xmlDoctype, 400},
		{"", XML, nil, `<!doctype a><a/>`, xmlDoctype, 400},
		{"", XML, nil, `<a/><!ENTITY x "y">`, xmlDoctype, 400},
		{"", XML, nil, `<?xml version="1.0" encoding="UTF-7"?><a/>`, xmlEncoding, 400},
		{"", XML, nil, `<?xml version="1.0" encoding = 'utf-16'?><a/>`, xmlEncoding, 400},
		{"", XML, nil, `<?xml version="1.0" encoding="utf-8" encoding="utf-7"?><a/>`, xmlEncoding, 400},
		{"", XML, nil, `<?xml version="1.0" encoding=utf-8?><a/>`, xmlEncoding, 400},
		{"", XML, nil, `<?xml version="1.0"` + strings.Repeat(" ", 300) + `encoding="utf-7"?><a/>`, xmlEncoding, 400},
		{"", XML, nil, "<\x00a\x00/\x00>\x00", bodyNUL, 400},
		{"", XML, nil, "\xfe\xff\x00<\x00a", bodyUTF8, 400},
	} {
		tree, refusal := Read(c.kind, c.params, "", strings.NewReader(c.in), Limits{})
		switch {
		case c.reason == "" && (refusal != nil || string(tree.Raw) != c.in || tree.Kind != c.kind):
			t.Errorf("%s %d %q: %v", c.row, c.kind, c.in, refusal)
		case c.reason != "" && (refusal == nil || refusal.Reason != c.reason || refusal.Status != c.status):
			t.Errorf("%s %d %.80q: %v, want %s %d", c.row, c.kind, c.in, refusal, c.reason, c.status)
		}
	}
	tree, _ := Read(Form, nil, "", strings.NewReader("a=1&b=%C3%A9+x"), Limits{})
	if !slices.Equal(tree.Form, []canon.Pair{{Name: "a", Value: "1"}, {Name: "b", Value: "é x"}}) {
		t.Errorf("%q", tree.Form)
	}
	if tree, refusal := Read(Empty, nil, "", nil, Limits{}); refusal != nil || len(tree.Raw) != 0 {
		t.Errorf("no reader: %v", refusal)
	}
}

func TestSizes(t *testing.T) { // G21, C25
	for _, size := range []int{0, 1, 2047, 2048, 2049, 70_000, 1 << 20} {
		in := strings.Repeat("x", size)
		for _, r := range []io.Reader{strings.NewReader(in), iotest.HalfReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			if tree, refusal := Read(Text, nil, "", r, Limits{}); refusal != nil || string(tree.Raw) != in {
				t.Errorf("%d bytes: %v", size, refusal)
			}
		}
	}
	if _, refusal := Read(Text, nil, "", strings.NewReader(strings.Repeat(" ", 1<<20)+"<script>"), Limits{}); refusal == nil || refusal.Reason != bodyTooLarge || refusal.Status != 413 {
		t.Errorf("padding: %v", refusal)
	}
	if _, refusal := Read(Text, nil, "", strings.NewReader("12345"), Limits{Bytes: 4}); refusal == nil || refusal.Reason != bodyTooLarge {
		t.Errorf("5 of 4: %v", refusal)
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		reason string
		status int
	}{
		{errors.New("broken pipe"), bodyRead, 400}, {io.ErrUnexpectedEOF, bodyRead, 400}, {os.ErrDeadlineExceeded, bodyTimeout, 408},
		{&http.MaxBytesError{Limit: 9}, bodyTooLarge, 413},
	} {
		for _, kind := range []Kind{JSON, Opaque, Empty} {
			_, refusal := Read(kind, nil, "", iotest.ErrReader(c.err), Limits{})
			if kind == Empty && c.reason == bodyTooLarge {
				continue
			}
			if refusal == nil || refusal.Reason != c.reason || refusal.Status != c.status {
				t.Errorf("%v for kind %d: %v", c.err, kind, refusal)
			}
		}
	}
}

func TestMediaType(t *testing.T) {
	for _, c := range []struct {
		in, want string
		params   map[string]string
		reason   string
	}{
		{"application/json", "application/json", nil, ""},
		{"Application/JSON; Charset=UTF-8", "application/json", map[string]string{"charset": "utf-8"}, ""},
		{"application/json ;charset=\"us-ascii\";", "application/json", map[string]string{"charset": "us-ascii"}, ""},
		{"multipart/form-data; boundary=\"a b\"", "multipart/form-data", map[string]string{"boundary": "a b"}, ""},
		{"application/json;;", "application/json", nil, ""},
		{"application/json; charset=ibm037", "", nil, mediaCharset}, // G3
		{"application/json; charset=utf-16", "", nil, mediaCharset},
		{"text/plain; charset=utf-8; charset=utf-7", "", nil, mediaParameter},
		{"multipart/form-data; boundary=a; BOUNDARY=b", "", nil, mediaParameter},
		{"multipart/form-data; boundary=a; boundary*=b", "", nil, mediaParameter},
		{"multipart/form-data; boundary*0=a; boundary*1=b", "", nil, mediaParameter},
		{"multipart/form-data; boundary", "", nil, mediaParameter},
		{"multipart/form-data; boundary=", "", nil, mediaParameter},
		{"multipart/form-data; boundary=a b", "", nil, mediaParameter},
		{"multipart/form-data; boundary=\"a\\\"b\"", "", nil, mediaParameter},
		{"multipart/form-data; boundary=\"a", "", nil, mediaParameter},
		{"multipart/form-data; boundary = a", "", nil, mediaParameter},
		{"application/json, text/plain", "", nil, mediaMalformed},
		{"application", "", nil, mediaMalformed},
		{"/json", "", nil, mediaMalformed},
		{"", "", nil, mediaMalformed},
		{"a/b/c", "", nil, mediaMalformed},
		{" a/b", "", nil, mediaMalformed},
		{"a/b ", "", nil, mediaMalformed},
	} {
		got, params, refusal := MediaType(http.Header{"Content-Type": {c.in}})
		if c.reason != "" {
			if refusal == nil || refusal.Reason != c.reason || refusal.Status != 415 {
				t.Errorf("%q: %v, want %s", c.in, refusal, c.reason)
			}
		} else if refusal != nil || got != c.want || !reflect.DeepEqual(params, c.params) {
			t.Errorf("%q: %q %q %v", c.in, got, params, refusal)
		}
	}
	if got, _, refusal := MediaType(nil); got != "" || refusal != nil {
		t.Errorf("no field: %q %v", got, refusal)
	}
	if _, _, refusal := MediaType(http.Header{"Content-Type": {"a/b", "a/b"}}); refusal == nil { // B7
		t.Error("two fields: accepted")
	}
}

func TestKindOf(t *testing.T) {
	for mediaType, want := range map[string]Kind{
		"": Empty, "application/json": JSON, "application/problem+json": JSON, "application/x-www-form-urlencoded": Form, "multipart/form-data": Multipart,
		"text/plain": Text, "text/csv": Text, "text/xml": XML, "application/xml": XML, "application/soap+xml": XML, "image/svg+xml": XML,
		"image/png": Opaque, "application/octet-stream": Opaque,
	} {
		if got, ok := KindOf(mediaType); got != want || !ok {
			t.Errorf("%q: %d %v, want %d", mediaType, got, ok, want)
		}
	}
	for _, mediaType := range []string{"*/*", "image/*", "application/grpc", "application/x-ndjson", "multipart/mixed", "application", "application/"} {
		if got, ok := KindOf(mediaType); ok {
			t.Errorf("%q: read as %d", mediaType, got)
		}
	}
}

func TestLeaves(t *testing.T) {
	collect := func(kind Kind, params map[string]string, in string) (got []string) {
		tree, refusal := Read(kind, params, "", strings.NewReader(in), Limits{})
		if refusal != nil {
			t.Fatal(refusal)
		}
		tree.Leaves(func(path, value string) { got = append(got, path+"="+value) })
		return got
	}
	for _, c := range []struct {
		kind Kind
		in   string
		want []string
	}{
		{JSON, `{"b":[{"x":1.50},true],"a":{"n":null,"e":{},"l":[]},"":"s"}`, []string{"json.=s", "json.a.e=", "json.a.l=", "json.a.n=", "json.b.0.x=1.50", "json.b.1=true"}},
		{JSON, `"top"`, []string{"json=top"}},
		{Form, "a=1&a=2", []string{"form.a=1", "form.a=2"}},
		{Multipart, crlf("--xyz\nContent-Disposition: form-data; name=f; filename=n\n\n1\n--xyz--"), []string{"part.f=1", "part.f.filename=n"}},
		{Text, "t", []string{"text=t"}},
		{XML, "<a/>", []string{"xml=<a/>"}},
		{Opaque, "o", nil},
	} {
		if got := collect(c.kind, bnd, c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

// FuzzForm: what we accept, net/url reads as the same pairs.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a=%C3%A9+x", "a;b", "_charset_=x", "=&", "a=%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		tree, refusal := Read(Form, nil, "", strings.NewReader(in), Limits{})
		if refusal != nil {
			return
		}
		theirs, err := url.ParseQuery(in)
		ours := url.Values{}
		for _, p := range tree.Form {
			ours.Add(p.Name, p.Value)
		}
		if err != nil || !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q: we read %q, net/url %q %v", in, ours, theirs, err)
		}
	})
}

// FuzzCoding: nothing that is compressed makes more than the limits allow, and nothing panics.
func FuzzCoding(f *testing.F) {
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		f.Add(coding, squeeze(f, coding, document(300)))
	}
	f.Fuzz(func(t *testing.T, coding string, in []byte) {
		tree, refusal := Read(Opaque, nil, coding, bytes.NewReader(in), Limits{Bytes: 1 << 16})
		if refusal == nil && (len(tree.Raw) > 1<<16 || len(tree.Raw) > 100*max(len(in), 1)) {
			t.Fatalf("%s: %d bytes from %d", coding, len(tree.Raw), len(in))
		}
	})
}

// FuzzXML: what we accept has neither a document type nor bytes that are not UTF-8.
func FuzzXML(f *testing.F) {
	for _, s := range []string{`<a/>`, `<!DOCTYPE a>`, `<?xml version="1.0" encoding="utf-8"?><a/>`, "<![CDATA[<!DOCTYPE]]>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		_, refusal := Read(XML, nil, "", strings.NewReader(in), Limits{})
		if refusal == nil && (strings.Contains(strings.ToUpper(in), "<!DOCTYPE") || strings.Contains(strings.ToUpper(in), "<!ENTITY")) {
			t.Fatalf("%q: accepted", in)
		}
	})
}

// FuzzMediaType: the canonical spelling is its own.
func FuzzMediaType(f *testing.F) {
	for _, s := range []string{"a/b", "A/B; c=d", `a/b;c="d e"`, "a/b;c=d;c=e", "a/b;boundary*=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		mediaType, params, refusal := MediaType(http.Header{"Content-Type": {in}})
		if refusal != nil {
			return
		}
		var spelled strings.Builder
		spelled.WriteString(mediaType)
		for name, value := range params {
			spelled.WriteString(";" + name + `="` + value + `"`)
		}
		again, sameParams, refusal := MediaType(http.Header{"Content-Type": {spelled.String()}})
		if refusal != nil || again != mediaType || !reflect.DeepEqual(sameParams, params) {
			t.Fatalf("%q: %q is read as %q %q %v", in, spelled.String(), again, sameParams, refusal)
		}
	})
}

// TestRefusalsKeepSecrets: K2, details name places, not what a body holds.
func TestRefusalsKeepSecrets(t *testing.T) {
	const canary = "hunter2canary"
	for _, c := range []struct {
		kind Kind
		in   string
	}{
		{JSON, `{"` + canary + `":1,"` + canary + `":2}`}, {JSON, canary}, {JSON, `"` + canary}, {Form, canary + "=%zz"}, {Text, canary + "\xff"},
		{Multipart, canary}, {Multipart, crlf("--xyz\n" + canary + "\n\n--xyz--")}, {XML, "<!DOCTYPE " + canary}, {Empty, canary},
	} {
		if _, refusal := Read(c.kind, bnd, "", strings.NewReader(c.in), Limits{}); refusal == nil || strings.Contains(refusal.Error(), canary) {
			t.Errorf("%v", refusal)
		}
	}
}

// TestReasons: every constant that looks like a reason id is listed, once.
func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil {
						declared = append(declared, s)
					}
				}
			}
		}
		return true
	})
	slices.Sort(declared)
	if got := Reasons(); len(declared) == 0 || !slices.Equal(got, declared) {
		t.Errorf("listed %q\ndeclared %q", got, declared)
	}
}
