package listen

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/conn"
)

// redirectHandler answers the redirect address: 308 to the same path on the first https address, for names that we have a
// certificate for, and nothing else: a redirect to whatever Host a client claims would be an open one, fit for poisoning
// caches. The answer has no body and names no product. Strict-Transport-Security is not set here, since a client must
// ignore it without TLS (RFC 6797, 8.1); guard/headers sets it on the answers over https.
func (s *Server) redirectHandler() http.Handler {
	redirect := http.HandlerFunc(s.redirect)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		info, ok := conn.From(r.Context())
		if !ok || info.Request == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if refusal := info.Request.Next(); refusal != nil {
			s.report(Incident{Reason: refusal.Reason, Peer: info.Peer, Conn: info.ID, Detail: refusal.Detail, Offset: refusal.Offset})
			w.Header().Set("Connection", "close")
			w.WriteHeader(refusal.Status)
			return
		}
		if acme := s.settings.Load().acme; acme != nil {
			acme.answers(redirect).ServeHTTP(w, r)
			return
		}
		redirect(w, r)
	})
}

func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	set := s.settings.Load()
	host := canonicalName(hostOf(r.Host))
	if _, ok := set.certs.find(host); !ok || host == "" || !strings.HasPrefix(r.RequestURI, "/") {
		info, _ := conn.From(r.Context())
		s.report(Incident{Reason: reasonRedirect, Peer: info.Peer, Conn: info.ID, Detail: "no certificate covers the host, or the target is no path"})
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	w.Header().Set("Location", "https://"+s.authority(host)+r.RequestURI)
	w.Header().Set("Connection", "close") // the next request belongs there
	w.WriteHeader(http.StatusPermanentRedirect)
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// authority puts the port of the first https address behind the host, unless it is the standard one.
func (s *Server) authority(host string) string {
	port := s.settings.Load().port
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}
