package listen

import (
	"time"
)

// watch looks at the certificate files now and then and puts changed ones in force. Files that cannot be used, such as a
// certificate whose key has not been exchanged yet, leave the old certificate serving and are an incident. A key that was
// withdrawn from where secrets lie is not used any more (row I6): names that only its certificate covers are refused.
func (s *Server) watch() {
	tick := time.NewTicker(s.deps.Poll)
	defer tick.Stop()
	var refused []stamp // these files were looked at and cannot be used
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			refused = s.look(refused)
		}
	}
}

func (s *Server) look(refused []stamp) []stamp {
	s.control.Lock()
	defer s.control.Unlock()
	set := s.settings.Load()
	now := set.config.stamps(s.deps.Resolve)
	if len(now) == 0 || sameStamps(now, set.stamps) || sameStamps(now, refused) {
		return refused
	}
	kept, gone := withdrawn(set.config.Certificates, s.deps.Resolve)
	loaded, mistakes := loadFiles(kept, s.deps.Resolve)
	who, further := set.config.ClientCertificates.load()
	mistakes = append(mistakes, further...)
	if err := mistakes.Err(); err != nil {
		s.deps.Log.Error("changed certificate refused, the old one serves on", "error", err)
		s.report(Incident{Reason: reasonCertificate, Detail: err.Error()})
		return now
	}
	for _, c := range gone {
		s.deps.Log.Error("the key of a certificate is gone; the certificate is shown to nobody", "certificate", c.Cert, "key", c.Key.String())
		s.report(Incident{Reason: reasonCertificate, Detail: c.Cert + ": its key " + c.Key.String() + " is gone"})
	}
	next := *set
	next.stamps = now
	next.callers = who
	if len(set.config.Certificates) > 0 {
		next.certs = shelf{loaded}
		if set.acme != nil {
			next.certs = append(next.certs, set.acme)
		}
	}
	next.tls = newTLS(next.certs, set.acme, next.config.MinTLS, next.callers)
	s.settings.Store(&next)
	s.deps.Log.Info("certificates reloaded")
	s.warn(&next)
	return nil
}
