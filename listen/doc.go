// Package listen owns everything that happens to every socket before a request exists: binding, TLS, certificates, the
// number of connections, who our proxies are. It stops what never becomes a request: floods of connections, handshakes that
// never end, PROXY headers from strangers, server names that we do not serve, plaintext where tokens would be read.
//
// The way of a connection: accepted; counted, in all and for its address or network; the PROXY header of a trusted proxy
// read; TLS accepted here and not in net/http; then ALPN chooses one of two engines. HTTP/1.1 runs over wire.RequestConn,
// which hands on only heads that it has understood. HTTP/2 runs over wire.FrameConn, which counts frames, hides the TLS
// below and is served by net/http's own entry for HTTP/2 without TLS. What the socket knows travels in the request's
// context (kit/conn).
//
// Nothing here answers a request, with one exception that has no operation to be checked against: the redirect address.
// What is refused here is an Incident, not an answer.
package listen
