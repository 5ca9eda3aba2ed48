package websocket

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 prescribes it, and nothing secret depends on it
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// magic is the text that RFC 6455 section 1.3 puts behind a key.
const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Accept is what a server that has read the handshake with this key answers in Sec-WebSocket-Accept. A server that
// answers something else has not understood the request as a handshake, whatever its status (C18).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + magic)) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Chosen holds the fields of a 101 against those of the handshake that it answers. It gives "" when the server has agreed
// to exactly what was asked, else what is wrong, in words.
func Chosen(asked, answered http.Header) string {
	accept := answered["Sec-Websocket-Accept"]
	if len(accept) != 1 || accept[0] != Accept(asked.Get("Sec-Websocket-Key")) {
		return "Sec-WebSocket-Accept does not belong to the key"
	}
	if len(answered["Sec-Websocket-Extensions"]) > 0 {
		return "an extension that was not asked for"
	}
	if !strings.EqualFold(answered.Get("Upgrade"), "websocket") || !names(answered["Connection"], "upgrade") {
		return "the fields Upgrade and Connection do not name the switch"
	}
	protocol := answered["Sec-Websocket-Protocol"]
	if len(protocol) > 1 || len(protocol) == 1 && !names(asked["Sec-Websocket-Protocol"], protocol[0]) {
		return "a subprotocol that was not asked for"
	}
	return ""
}

// names tells that a list in field lines holds an element.
func names(lines []string, element string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		for one := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(one, " \t"), element) {
				return true
			}
		}
		return false
	})
}
