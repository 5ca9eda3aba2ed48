// Package ca makes and looks at X.509 certificates. It knows no file, no network and no clock of its own.
//
// An Authority is a small internal one. It vouches for clients only, and only for names below its own domain: both stand in
// its certificate, so that even a stolen key makes neither a server's certificate nor one for anybody else's name (RFC 5280,
// 4.2.1.10 and 4.2.1.12).
//
// Inspect looks at any certificates and says what is wrong or will be: one that ends next week stops a service as surely as
// an attacker does.
package ca
