package openapi

import (
	"fmt"
	"strings"
	"testing"
)

// What a contract says of files, and where.
func TestFiles(t *testing.T) {
	c := load(t, `
openapi: 3.1.0
paths:
  /a:
    post:
      requestBody:
        content:
          application/json: {schema: {type: object, properties: {a: {type: string}}}}
          multipart/form-data:
            schema: {$ref: '#/components/schemas/Form'}
            encoding:
              photo: {contentType: 'image/png, image/*'}
              any: {contentType: 'application/octet-stream, image/png'}
              paper: {contentType: application/vnd.openxmlformats-officedocument.wordprocessingml.document}
          image/gif: {schema: {allOf: [{maxLength: 900}, {$ref: '#/components/schemas/Bytes'}], maxLength: 500}}
          image/jpeg: {schema: {anyOf: [{maxLength: 7}, {maxLength: 9}, {type: 'null'}]}}
          image/webp: {schema: {$ref: '#/components/schemas/Circle'}}
          video/mp4: {schema: {maxLength: 5000000000}}
          image/svg+xml: {}
          image/png: {schema: {$ref: '#/components/schemas/Bytes'}}
          application/octet-stream: {}
          application/x-own: {x-gatehouse-opaque: {accept_risk: why}}
components:
  schemas:
    Bytes: {type: string, format: binary, maxLength: 100}
    Circle: {allOf: [{$ref: '#/components/schemas/Circle'}], maxLength: 3}
    Form:
      type: object
      properties:
        name: {type: string}
        meta: {type: object, properties: {a: {type: string}}}
        photo: {$ref: '#/components/schemas/Bytes'}
        any: {type: string, format: binary}
        paper: {type: string}
        scan: {type: string, contentMediaType: image/png}
        letter: {type: string, contentMediaType: application/msword}
        table: {type: string, format: binary, contentMediaType: text/csv}
        bytes: {type: string, contentMediaType: application/octet-stream}
        coded: {type: string, contentEncoding: base64, contentMediaType: image/png}
        pages: {type: array, maxItems: 3, items: {type: string, format: binary, maxLength: 7}}
`)
	want := map[string]string{
		"application/json": "",
		"multipart/form-data": "any[]0 bytes[]0 letter[application/msword]0 pages[]7 paper[application/vnd.openxmlformats-officedocument.wordprocessingml.document]0 " +
			"photo[image/png image/*]100 scan[image/png]0 table[text/csv]0 ",
		"image/gif":                "[image/gif]100 ",
		"image/jpeg":               "[image/jpeg]9 ",
		"image/webp":               "[image/webp]3 ",
		"video/mp4":                "[video/mp4]5000000000 ",
		"image/svg+xml":            "[image/svg+xml]0 ",
		"image/png":                "[image/png]100 ",
		"application/octet-stream": "[]0 ",
		"application/x-own":        "",
	}
	for _, b := range c.Operations[0].Bodies {
		got := ""
		for _, f := range b.Files() {
			got += fmt.Sprintf("%s%v%d ", f.Part, f.Types, f.Largest)
			if f.Pointer != b.Pointer {
				t.Errorf("%s: at %q", b.MediaType, f.Pointer)
			}
		}
		if got != want[b.MediaType] {
			t.Errorf("%s: got %q", b.MediaType, got)
		}
	}
}

// A bound that is none is a mistake, in a file as in a text.
func TestWrongLargest(t *testing.T) {
	for _, most := range []string{"2e6", "2000000.0", "-1", "'9'", "99999999999999999999"} {
		for _, content := range []string{
			"image/png: {schema: {maxLength: " + most + "}}",
			"multipart/form-data: {schema: {type: object, properties: {a: {type: string, format: binary, maxLength: " + most + "}}}}",
		} {
			list := mistakes(t, head+"  /a: {post: {requestBody: {content: {"+content+"}}}}")
			if len(list) != 1 || !strings.Contains(list[0].What, "maxLength is not a whole number") {
				t.Errorf("%s in %s: %v", most, content, list)
			}
		}
	}
}
