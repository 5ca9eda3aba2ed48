package key

import "time"

// Status is what may be shown of a keyring: no key, no secret.
type Status struct {
	Installation string          `json:"installation"`
	Generation   int64           `json:"generation"` // one more with each change; nodes compare it
	Place        string          `json:"place"`
	Root         Description     `json:"root"`
	Purposes     []PurposeStatus `json:"purposes"`
}

// PurposeStatus is one purpose's keys.
type PurposeStatus struct {
	Purpose  string          `json:"purpose"`
	Versions []VersionStatus `json:"versions"` // newest first; more than one: a rotation has not ended
}

// VersionStatus is one version of a key.
type VersionStatus struct {
	Version uint32    `json:"version"`
	Created time.Time `json:"created"`
}

// Status describes the keyring as it is in use.
func (r *Ring) Status() Status {
	r.change.Lock()
	s, root, place := r.state.Load(), r.root, r.place
	r.change.Unlock()
	out := Status{Installation: s.Installation, Generation: s.Generation, Place: place.Where(), Root: root.Describe()}
	for _, p := range s.Purposes {
		status := PurposeStatus{Purpose: p.Name}
		for _, l := range s.keys[p.Name] {
			status.Versions = append(status.Versions, VersionStatus{l.version, l.created})
		}
		out.Purposes = append(out.Purposes, status)
	}
	return out
}
