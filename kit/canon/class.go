package canon

import (
	"net/http"
	"strings"
)

// class says what becomes of a client's field.
type class int

const (
	unknown    class = iota // kept, may be repeated, when its name is well formed and no disguise of a known one
	ordinary                // kept, may be repeated
	singleton               // kept, may stand only once: two readers of a repeated one choose differently (B7)
	bound                   // bound to the connection: removed
	overriding              // would change method, target, caller or charset behind our back: removed and noted (B9)
	forwarding              // a proxy's word about the client: removed, ours are set later (B4, B5)
	handshake               // of a WebSocket handshake: removed unless there is one
	cookie
	length
	expect
)

// classOf knows fields by their canonical name, so that a field it knows needs no look at its spelling.
func classOf(name string) class {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "Priority", "Sec-Ch-Ua",
		"Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform":
		return ordinary
	case "Authorization", "Content-Type", "Content-Encoding", "Content-Location", "Content-Range", "Content-Disposition",
		"Origin", "Referer", "User-Agent", "From", "Date", "Max-Forwards",
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
		"X-Api-Key", "Api-Key", "Apikey", "X-Auth-Token", "X-Access-Token", "X-Session-Id", "X-Session-Token",
		"X-Csrf-Token", "X-Xsrf-Token", "X-Csrftoken", "Dpop", "Idempotency-Key", "X-Idempotency-Key", "Last-Event-Id",
		"Traceparent", "X-Request-Id", "X-Correlation-Id", "X-Requested-With", "Soapaction", "Grpc-Timeout",
		"Destination", "Depth", "Overwrite", "Timeout", "Dnt", "Upgrade-Insecure-Requests",
		"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User",
		"Access-Control-Request-Method", "X-Amz-Date", "X-Amz-Security-Token":
		return singleton
	case "Cookie":
		return cookie
	case "Content-Length":
		return length
	case "Expect":
		return expect
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Trailer",
		"Proxy-Authorization", "Proxy-Authenticate", "Host":
		return bound
	case "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
		"Sec-Websocket-Accept":
		return handshake
	}
	return rareClassOf(name)
}

// rareClassOf knows the fields that nothing but a proxy, a framework's back door or an attacker sends.
func rareClassOf(name string) class {
	switch name {
	case "X-Http-Method-Override", "X-Method-Override", "X-Http-Method", "X-Original-Method",
		"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Original-Host", "X-Host", "X-Http-Host-Override", "X-Http-Destinationurl",
		"X-Middleware-Subrequest", "Proxy", "Accept-Charset", "X-Arr-Log-Id", "X-Wap-Profile",
		"Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email", "X-Remote-User", "X-Remote-Group", "X-Webauth-User",
		"X-Authenticated-User", "Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Client-Dn", "X-Client-Verify":
		return overriding
	case "Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
		"Cf-Connecting-Ipv6", "Fastly-Client-Ip", "Fly-Client-Ip", "X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr",
		"X-Proxyuser-Ip", "Proxy-Client-Ip", "Wl-Proxy-Client-Ip", "X-Azure-Clientip", "X-Appengine-User-Ip",
		"X-Original-Forwarded-For", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Forwarded":
		return forwarding
	}
	for _, p := range [...]string{"X-Forwarded-", "X-Envoy-"} {
		if strings.HasPrefix(name, p) {
			return forwarding
		}
	}
	for _, p := range [...]string{"X-Auth-Request-", "X-Goog-Authenticated-User-", "X-Goog-Iap-", "X-Amzn-Oidc-", "X-Ssl-Client-", "Ssl-Client-"} {
		if strings.HasPrefix(name, p) {
			return overriding
		}
	}
	return unknown
}

// foldByte reads letters as one case and all that is neither letter nor digit as one sign, the way servers do that turn
// field names into variables.
func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case isAlnum(c):
		return c
	}
	return '-'
}

// Alike tells that a server could take one field name for the other: they differ in case and in signs only (B1, B17).
func Alike(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

// Kept tells that a field of this name can get from a client to a server: it is well formed, and nothing that is always removed.
func Kept(name string) bool {
	if checkName(name) != nil {
		return false
	}
	name = http.CanonicalHeaderKey(name)
	switch classOf(name) {
	case bound, overriding, forwarding, length, expect:
		return false
	}
	return !lookalike(name)
}

// lookalike says whether a name is one that we know in other clothes: X.Forwarded.For, Content^Length (B1, B17).
func lookalike(name string) bool {
	folded := make([]byte, len(name))
	for i := range len(name) {
		folded[i] = foldByte(name[i])
	}
	known := http.CanonicalHeaderKey(string(folded))
	return known != name && classOf(known) > ordinary
}
