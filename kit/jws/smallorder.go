package jws

import (
	"crypto/ed25519"
	"encoding/hex"
)

// smallOrder tells that a point has order 1, 2, 4 or 8: a signature of zeros then verifies for one message in eight or more.
// crypto/ed25519 takes such keys, as RFC 8032 does. The sign of x in the last bit makes no difference.
func smallOrder(key ed25519.PublicKey) bool {
	point := [ed25519.PublicKeySize]byte(key)
	point[31] &= 0x7f
	switch hex.EncodeToString(point[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // zero, in another spelling
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": // one, in another spelling
		return true
	}
	return false
}
