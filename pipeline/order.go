package pipeline

import (
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/access"
	"github.com/gatehouse-sec/gatehouse/guard/address"
	"github.com/gatehouse-sec/gatehouse/guard/contract"
	"github.com/gatehouse-sec/gatehouse/guard/headers"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/limits"
	"github.com/gatehouse-sec/gatehouse/guard/patch"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/guard/upload"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
)

// order is the way of every request: first what needs only its head, before it is matched; then what needs the
// operation; last what looks at the answer. A name is a folder of guard/ and a key of the document. Each line shows
// which tools the guard is handed, and that is all it can reach.
func order() []station {
	return []station{
		at(arrive, "address", func(c address.Config, _ *gate.API, _ Tools) (*address.Guard, error) { return address.New(c) }),
		at(arrive, "limits", func(c limits.Config, _ *gate.API, _ Tools) (*limits.Guard, error) { return limits.New(c) }),
		at(arrive, "rate", func(c rate.Config, _ *gate.API, t Tools) (*rate.Arrivals, error) {
			return rate.NewArrivals(c, t.Counters, t.Now)
		}),

		at(admit, "identity", func(c identity.Config, a *gate.API, t Tools) (*identity.Guard, error) {
			return identity.New(c, a, t.Identity)
		}),
		at(admit, "rate", func(c rate.Config, a *gate.API, t Tools) (*rate.Callers, error) {
			return rate.NewCallers(c, a, t.Counters, t.Now)
		}),
		at(admit, "access", func(c access.Config, a *gate.API, _ Tools) (*access.Guard, error) { return access.New(c, a) }),
		at(admit, "contract", func(c contract.Config, a *gate.API, _ Tools) (*contract.Guard, error) { return contract.New(c, a) }),
		at(admit, "upload", func(c upload.Config, a *gate.API, t Tools) (*upload.Guard, error) { return upload.New(c, a, t.Now) }),
		at(admit, "patch", func(c patch.Config, a *gate.API, t Tools) (*patch.Guard, error) {
			return patch.New(c, a, t.Patches, t.Now)
		}),
		at(admit, "waf", func(c waf.Config, a *gate.API, t Tools) (*waf.Guard, error) {
			return waf.New(c, a, waf.Tools{Rules: t.Rules, Files: t.file, Folder: t.folder, Now: t.Now})
		}),

		at(release, "headers", func(c headers.Config, a *gate.API, _ Tools) (*headers.Guard, error) { return headers.New(c, a) }),
	}
}
