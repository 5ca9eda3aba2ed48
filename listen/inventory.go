package listen

import (
	"os"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/ca"
)

// Inventory looks at every certificate that clients can be shown, with its chain, and at the authorities that vouch for
// the ACME server, and says what is wrong with each or will be.
func (s *Server) Inventory(now time.Time) []ca.Certificate {
	set := s.settings.Load()
	var all []ca.Certificate
	for _, src := range set.certs {
		switch src := src.(type) {
		case *files:
			for _, l := range src.list {
				all = append(all, ca.LookPair("listen.certificates: "+l.from, l.cert, nil, now)...)
			}
		case *acmeSource:
			all = append(all, src.look(now)...)
		case development:
			if c, err := src.certificate(nil); err == nil {
				all = append(all, ca.LookPair("listen: development", c, nil, now)...)
			}
		}
	}
	return all
}

// look also tells of domains for which there is no certificate yet.
func (s *acmeSource) look(now time.Time) []ca.Certificate {
	var all []ca.Certificate
	seen := map[string]bool{}
	for _, d := range s.config.Domains {
		found := s.cache.AllMatchingCertificates(d)
		if len(found) == 0 {
			all = append(all, ca.Certificate{Where: "listen.acme: " + d, Findings: []ca.Finding{{
				ID: ca.Missing, What: "no certificate was obtained for " + d + " yet; look at the log for what the ACME server says",
			}}})
		}
		for _, c := range found {
			if !seen[c.Hash()] {
				seen[c.Hash()] = true
				all = append(all, ca.LookPair("listen.acme: "+d, &c.Certificate, []string{d}, now)...)
			}
		}
	}
	if file := s.config.CARoot; file != "" {
		data, _ := os.ReadFile(file) // one that cannot be read holds no certificate
		all = append(all, ca.Inspect("listen.acme.ca_root: "+file, data, nil, now)...)
	}
	return all
}
