// Package upstream sends checked requests to the servers behind the gateway and hands their answers up.
//
// A Pool stands for the servers of one API. It promises:
//
//   - What was checked is what is sent. The path goes out byte for byte below the target's base path; no field is added,
//     no answer is unpacked, no redirect is followed (B14), no proxy is taken from the environment.
//   - A request that is not idempotent is sent at most once. It goes to another server only when not one byte of it was
//     handed to the network. An idempotent one is retried within a budget (H15), never after its answer began.
//   - Nobody reads another's answer. A connection serves again only when its request and its answer both ended cleanly and
//     nothing is left on it; one that was upgraded, or should have been, never does (C13, C20).
//   - A bad server costs a bounded amount. Connecting, the first byte, every pause, the rate of a body, the size of a head
//     and the number of informational answers all have limits, and bodies flow without being collected (H13, C15).
//   - A failing server is left alone: ejected after failures in a row, cut off by its breaker when too many fail.
//
// HTTP/1.1 is spoken by a small client of our own (http1.go) that knows what was written and what was not, which
// http.Transport keeps to itself; HTTP/2 is spoken by net/http (http2.go).
package upstream
