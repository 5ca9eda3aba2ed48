// Package websocket watches over a WebSocket (RFC 6455) that passes through a gateway. Once a connection has been switched
// to WebSocket, nothing of HTTP guards it any more: whatever the two ends disagree about, an attacker can use. A frame with
// a length of 2^63, a message of a million fragments, an unmasked frame that an intermediary takes for a request, text that
// is not text, or a connection that stays open for days after its caller has lost the right to it (adversary rows C18, D17,
// D18) are what this package stops.
//
//   - [Accept] and [Chosen] tell whether a server has really agreed to the handshake.
//   - [Parser] reads the frames of one direction as they pass, and keeps none of them.
//   - [Relay] joins the two ends, counts messages, and ends both when one breaks a rule or the gateway's owner says so.
//
// What the messages say is not looked at.
package websocket
