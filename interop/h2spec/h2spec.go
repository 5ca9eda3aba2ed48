// Package h2spec pins the conformance test of HTTP/2 (RFC 9113, RFC 7541) that interop runs, in a module of its own, so that
// nothing of it reaches Gatehouse's.
package h2spec
