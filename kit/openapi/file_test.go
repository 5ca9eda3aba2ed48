package openapi

import (
	"fmt"
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
          image/svg+xml: {}
          image/png: {schema: {$ref: '#/components/schemas/Bytes'}}
          application/octet-stream: {}
          application/x-own: {x-gatehouse-opaque: {accept_risk: why}}
components:
  schemas:
    Bytes: {type: string, format: binary, maxLength: 100}
    Form:
      type: object
      properties:
        name: {type: string}
        meta: {type: object, properties: {a: {type: string}}}
        photo: {$ref: '#/components/schemas/Bytes'}
        any: {type: string, format: binary}
        paper: {type: string}
        scan: {type: string, contentMediaType: image/png}
        coded: {type: string, contentEncoding: base64, contentMediaType: image/png}
        pages: {type: array, maxItems: 3, items: {type: string, format: binary, maxLength: 7}}
`)
	want := map[string]string{
		"application/json": "",
		"multipart/form-data": "any[]0 pages[]7 paper[application/vnd.openxmlformats-officedocument.wordprocessingml.document]0 " +
			"photo[image/png image/*]100 scan[image/png]0 ",
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
