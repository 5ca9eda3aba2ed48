// Package wire lets through only bytes it has understood.
//
// Most of the damaging gateway bugs of recent years have one shape: the gateway read one request and the server behind it read
// another. A bare line feed, two lengths, a chunk size that only one side accepts, and the next request of a stranger is read from
// the body of the one before (request smuggling). net/http is a good engine but a lenient reader: it accepts several of these and
// answers others itself, where nobody writes an event. So this package stands between the socket and the engine, as a net.Conn:
//
//   - [RequestConn] reads HTTP/1.1 requests from a client. A head is held until it is complete and valid (RFC 9112, strictly); only
//     then are its bytes handed on. A refused head is replaced by one fixed harmless request, the last on its connection, and
//     [RequestConn.Next] tells the handler that this one stands for a refusal. Answers stay in order and no refusal is answered
//     without the handler. Not one byte of a refused head is handed on.
//   - [ResponseConn] reads HTTP/1.1 responses from a server with the same distrust: a server that has been taken over must not be able
//     to split responses, to flood informational ones or to open a tunnel that nobody asked for.
//   - [FrameConn] counts HTTP/2 frames in both directions and ends the connection of a peer whose overhead is out of proportion to
//     its work: rapid reset, resets provoked from the server, floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA.
//   - [PacedBody] holds one request body, over any HTTP version, to a minimum rate.
//
// Every refusal is a [Refusal] with a stable reason; [Reasons] lists them all. Nothing here writes an HTTP answer.
package wire
