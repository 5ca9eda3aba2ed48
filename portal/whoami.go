package portal

import (
	"encoding/json"
	"net/http"
	"time"
)

// whoAmI tells a page of this host who has signed in, for scripts, which can't read the cookie.
func (p *Portal) whoAmI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := p.signedIn(r)
	if e == nil {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"sign_in": HostBase + "/sign-in?to=/"})
		return
	}
	_ = json.NewEncoder(w).Encode(struct { // whoever is gone misses it
		Issuer  string    `json:"issuer"`
		Subject string    `json:"subject"`
		Name    string    `json:"name,omitempty"`
		Roles   []string  `json:"roles,omitempty"`
		Ends    time.Time `json:"ends"`
	}{e.Issuer, e.Subject, e.Name, p.vouchers[e.Provider].Given(e.Roles), e.Ends})
}
