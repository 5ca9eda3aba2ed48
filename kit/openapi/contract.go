// Package openapi reads a contract, OpenAPI 3.0 or 3.1, into the operations that it declares and judges requests by them.
package openapi

// Contract is an API as its document declares it.
type Contract struct{}

// Operation is one declared operation.
type Operation struct{}
