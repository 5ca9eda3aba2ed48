// Package adversary brings the attacks of the adversary table against the program itself: the real binary, serving by a
// document on loopback, with a server behind it that writes down every byte it gets. It promises, for every row, that what
// is refused never reaches a server, that the log says why, and that what is let through arrives byte for byte as it was
// decided about; and it holds the gateway's reading of a request against readers that are not ours: net/http, Node and
// nginx. The package has tests only.
package adversary
