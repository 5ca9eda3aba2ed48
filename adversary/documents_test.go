package adversary

// sharedDocument serves the shop, and an API whose server answers as the request asks. A trusted proxy calls from
// 127.77.0.0/16.
const sharedDocument = `
listen:
  at: ["https://127.0.0.1:0", "http://127.0.0.1:0"]
  admin: "http://ADMIN"
  certificates: [{cert: DIR/tls.crt, key: "file:DIR/tls.key"}]
  trusted_proxies: [127.77.0.0/16]
guards:
  identity:
    development: {accept_risk: "tests on loopback"}
    issuers:
      - {issuer: "https://idp.test", audience: shop, keys: DIR/keys.json}
      - {issuer: "https://other.test", audience: shop, keys: DIR/other.json}
  waf: {budget: 10s} # what a busy machine needs is not what is tried
apis:
  - name: shop
    hosts: [api.test]
    contract: shop.yaml
    to: [UPSTREAM]
    upstream: {health: {eject_after: 1000}, breaker: {min_requests: 100000}}
  - name: keyed
    hosts: [keyed.test]
    contract: shop.yaml
    to: [UPSTREAM]
    upstream: {health: {eject_after: 1000}, breaker: {min_requests: 100000}}
    guards:
      identity:
        api_keys: {header: X-API-Key}
        issuers: [{issuer: "https://idp.test", audience: shop, keys: DIR/keys.json}]
  - name: behind
    hosts: [base.test]
    base: /v1
    contract: behind.yaml
    to: [UPSTREAM/inner/base]
    upstream: {health: {eject_after: 1000}, breaker: {min_requests: 100000}}
  - name: grpc
    hosts: [grpc.test]
    contract: grpc.yaml
    to: [UPSTREAM]
    upstream: {protocol: h2c}
  - name: answers
    hosts: [answers.test]
    contract: answers.yaml
    to: [ANSWERS]
    upstream: {health: {eject_after: 1000}, breaker: {min_requests: 100000}, timeouts: {first_byte: 2s}}
`

func sharedFiles() map[string]string {
	return map[string]string{
		"shop.yaml": shopContract, "behind.yaml": behindContract, "grpc.yaml": grpcContract, "answers.yaml": answersContract,
		"keys.json": idp.keySet(), "other.json": other.keySet(),
	}
}

const shopContract = `
openapi: 3.0.3
info: {title: shop, version: "1"}
components:
  securitySchemes: {token: {type: http, scheme: bearer}}
  schemas:
    Item:
      type: object
      required: [name]
      properties:
        id: {type: integer, readOnly: true}
        name: {type: string, maxLength: 100000}
        count: {type: integer, minimum: 0}
        price: {type: number}
        tags: {type: array, items: {type: string}}
paths:
  /health:
    get: {operationId: health, security: [], responses: {"200": {description: ok}}}
  /public/{name}:
    get:
      operationId: public
      security: []
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /public/{name}/{part}:
    get:
      operationId: part
      security: []
      parameters:
        - {name: name, in: path, required: true, schema: {type: string}}
        - {name: part, in: path, required: true, schema: {type: string}}
      responses: {"200": {description: ok}}
  /public/{name}/:
    get:
      operationId: slash
      security: []
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /admin/{name}:
    get:
      operationId: admin
      security: [{token: []}]
      x-gatehouse-roles: [admin]
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /search:
    get:
      operationId: search
      security: []
      parameters:
        - {name: q, in: query, schema: {type: string}}
        - {name: n, in: query, schema: {type: integer}}
        - {name: tag, in: query, schema: {type: array, items: {type: string}}}
      responses: {"200": {description: ok}}
  /orders/{id}:
    get:
      operationId: getOrder
      security: [{token: []}]
      x-gatehouse-roles: [customer]
      parameters: [{name: id, in: path, required: true, schema: {type: integer, minimum: 1}}]
      responses: {"200": {description: ok}}
  /scoped:
    get: {operationId: scoped, security: [{token: ["orders:read"]}], responses: {"200": {description: ok}}}
  /any:
    get: {operationId: any, security: [{token: []}], responses: {"200": {description: ok}}}
  /items:
    post:
      operationId: addItem
      security: []
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Item"}}}}
      responses: {"200": {description: ok}}
  /form:
    post:
      operationId: form
      security: []
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema: {type: object, properties: {a: {type: string}, b: {type: string}}}
      responses: {"200": {description: ok}}
  /upload:
    post:
      operationId: upload
      security: []
      requestBody:
        content:
          multipart/form-data:
            schema: {type: object, properties: {note: {type: string}, file: {type: string, format: binary}}}
      responses: {"200": {description: ok}}
  /blob/{name}:
    put:
      operationId: blob
      security: []
      x-gatehouse-stream: upload
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      requestBody: {content: {application/octet-stream: {schema: {type: string, format: binary}}}}
      responses: {"200": {description: ok}}
  /socket:
    get: {operationId: socket, security: [{token: []}], x-gatehouse-stream: websocket, responses: {"101": {description: ok}}}
`

const grpcContract = `
openapi: 3.0.3
info: {title: grpc, version: "1"}
paths:
  /shop.Orders/Get:
    post: {operationId: grpcGet, security: [], x-gatehouse-stream: grpc, responses: {"200": {description: ok}}}
`

const behindContract = `
openapi: 3.0.3
info: {title: behind, version: "1"}
paths:
  /things/{name}:
    get:
      operationId: thing
      security: []
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
`

const answersContract = `
openapi: 3.0.3
info: {title: answers, version: "1"}
paths:
  /{name}:
    get:
      operationId: answer
      security: []
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
    post:
      operationId: answerPost
      security: []
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      requestBody: {content: {application/octet-stream: {x-gatehouse-opaque: {accept_risk: streamed as it comes}, schema: {type: string, format: binary}}}}
      responses: {"200": {description: ok}}
`
