package dpop

import (
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// Request is what a client asks, in its canonical form (canon.Request).
type Request struct {
	Method, Scheme, Host, Port, Path string

	// Fronted says that a trusted proxy stands between, who may have taken TLS off: what arrives as http the client may
	// have asked for as https.
	Fronted bool
}

// String is the URL, for the operator.
func (r Request) String() string {
	host := r.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if r.Port != "" {
		host += ":" + r.Port
	}
	return r.Scheme + "://" + host + r.Path
}

// is compares with the claim htu after both were brought into the one canonical form, without query and fragment (RFC 9449
// section 4.3, RFC 3986 section 6.2). What has no canonical form is no URL of ours.
func (r Request) is(url string) bool {
	scheme, rest, ok := strings.Cut(url, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return false
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	authority, path := rest, "/"
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		authority, path = rest[:slash], rest[slash:]
	}
	host, port, refusal := canon.Host(authority, scheme)
	if refusal != nil || host != r.Host {
		return false
	}
	path, _, refusal = canon.Path(path)
	return refusal == nil && path == r.Path && r.reaches(scheme, port)
}

// reaches compares scheme and port. Behind a trusted proxy, https may have become http, and its port 443 is then written
// out where the Host field has it.
func (r Request) reaches(scheme, port string) bool {
	if scheme == r.Scheme {
		return port == r.Port
	}
	own := r.Port
	if own == "443" {
		own = ""
	}
	return r.Fronted && scheme == "https" && port == own
}
