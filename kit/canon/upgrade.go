package canon

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// readUpgrade recognises a WebSocket handshake of RFC 6455 version 13 and refuses a near miss, so that nothing half a
// handshake ever reaches a server (C18). Every other Upgrade, such as h2c, is an offer that a server may ignore
// (RFC 9110 section 7.8): it is removed with its fields and noted (C17).
func (c *Request) readUpgrade(values []string) *Refusal {
	offer := strings.ToLower(strings.Join(values, ","))
	if !strings.Contains(offer, "websocket") {
		c.Removed = append(c.Removed, "Upgrade")
		return nil
	}
	if len(values) != 1 || offer != "websocket" {
		return refuse(upgradeMalformed, "an upgrade to websocket and to something else")
	}
	if c.Method != http.MethodGet || c.Length != 0 {
		return refuse(upgradeMalformed, "an upgrade to websocket is a GET without a body")
	}
	if !namesUpgrade(c.Fields["Connection"]) {
		return refuse(upgradeMalformed, "the Connection field does not name the upgrade")
	}
	if version := c.Fields["Sec-Websocket-Version"]; len(version) != 1 || version[0] != "13" {
		return refuse(upgradeVersion, "the handshake is not of websocket version 13")
	}
	key := c.Fields["Sec-Websocket-Key"]
	if len(key) != 1 || len(key[0]) != 24 {
		return refuse(upgradeMalformed, "the handshake needs one key of 16 bytes in base64")
	}
	if nonce, err := base64.StdEncoding.Strict().DecodeString(key[0]); err != nil || len(nonce) != 16 {
		return refuse(upgradeMalformed, "the handshake needs one key of 16 bytes in base64")
	}
	c.Upgrade = "websocket"
	return nil
}

func namesUpgrade(lines []string) bool {
	for _, line := range lines {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}
