package openapi

import (
	"fmt"
	"strings"
)

// generate writes a contract with the given number of operations, in the manner of a shop: five operations for every
// resource, shared components, references, parameters of every common kind and bodies of a dozen properties.
func generate(operations int) []byte {
	var b strings.Builder
	b.WriteString(`openapi: 3.1.0
info:
  title: Generated
  version: 1.0.0
servers:
  - url: https://api.example.test/v1
security:
  - oauth: [read]
paths:
`)
	resources := (operations + 4) / 5
	left := operations
	for i := range resources {
		r := fmt.Sprintf("things%d", i)
		fmt.Fprintf(&b, "  /%s:\n", r)
		writeOperation(&b, &left, "get", "list-"+r, collectionParameters, "")
		writeOperation(&b, &left, "post", "create-"+r, "", fmt.Sprintf(bodyOf, i))
		if left == 0 {
			break
		}
		fmt.Fprintf(&b, "  /%s/{id}:\n    parameters:\n      - $ref: '#/components/parameters/id'\n", r)
		writeOperation(&b, &left, "get", "read-"+r, "", "")
		writeOperation(&b, &left, "put", "write-"+r, "", fmt.Sprintf(bodyOf, i))
		writeOperation(&b, &left, "delete", "remove-"+r, "", "")
	}
	b.WriteString(sharedComponents)
	for i := range resources {
		fmt.Fprintf(&b, resourceSchema, i)
	}
	return []byte(b.String())
}

func writeOperation(b *strings.Builder, left *int, method, id, parameters, body string) {
	if *left == 0 {
		return
	}
	*left--
	fmt.Fprintf(b, "    %s:\n      operationId: %s\n      summary: One of the operations of a generated contract\n%s%s"+
		"      responses:\n        '200':\n          description: Done\n        '404':\n          description: Not there\n", method, id, parameters, body)
}

const collectionParameters = `      parameters:
        - name: limit
          in: query
          description: How many to return at most
          schema:
            type: integer
            minimum: 1
            maximum: 100
        - name: cursor
          in: query
          schema:
            type: string
            maxLength: 64
            pattern: '^[A-Za-z0-9_-]+$'
        - name: sort
          in: query
          schema:
            type: string
            enum: [name, price, created]
        - name: X-Request-Group
          in: header
          schema:
            type: string
            maxLength: 40
`

const bodyOf = `      requestBody:
        required: true
        content:
          application/json:
            schema:
              $ref: '#/components/schemas/Thing%d'
`

const sharedComponents = `components:
  securitySchemes:
    oauth:
      type: oauth2
      flows:
        clientCredentials:
          tokenUrl: https://id.example.test/token
          scopes:
            read: Read
  parameters:
    id:
      name: id
      in: path
      required: true
      schema:
        type: string
        format: uuid
  schemas:
    Money:
      type: object
      required: [amount, currency]
      properties:
        amount:
          type: integer
          minimum: 0
        currency:
          type: string
          pattern: '^[A-Z]{3}$'
    Address:
      type: object
      required: [street, city]
      properties:
        street: {type: string, maxLength: 100}
        city: {type: string, maxLength: 100}
        zip: {type: string, pattern: '^[0-9]{5}$'}
        country: {type: string, minLength: 2, maxLength: 2}
`

const resourceSchema = `    Thing%d:
      type: object
      required: [name, price]
      properties:
        id:
          type: string
          format: uuid
          readOnly: true
        name:
          type: string
          minLength: 1
          maxLength: 200
        description:
          type: string
          maxLength: 2000
        price:
          $ref: '#/components/schemas/Money'
        ship_to:
          $ref: '#/components/schemas/Address'
        tags:
          type: array
          maxItems: 20
          items:
            type: string
            maxLength: 30
        created:
          type: string
          format: date-time
        state:
          type: string
          enum: [draft, live, gone]
        quantity:
          type: integer
          format: int32
          minimum: 0
`
