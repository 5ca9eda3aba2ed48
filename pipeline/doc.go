// Package pipeline is the one way of a request: it makes a Gateway of a document (build.go), in which the guards stand in one
// written order (order.go), and serves requests through them (serve.go). Every way out of it is an answer whose event has
// been written; by default there is nothing to call, and whatever errs, panics or forgets has denied.
package pipeline
