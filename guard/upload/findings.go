package upload

import (
	"strings"
	"time"

	"github.com/gabriel-vasile/mimetype"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// open notes what the contract leaves open about a file.
func (g *Guard) open(op *gate.Operation, f openapi.File) {
	what, note := "the body", gate.Finding{Operation: op.Key, Place: f.Pointer}
	fix := "requestBody: {content: {image/png: {}}} at " + f.Pointer
	if f.Part != "" {
		what = "the file " + shown(f.Part)
		fix = "encoding: {" + f.Part + ": {contentType: image/png}} at " + f.Pointer
	}
	if len(f.Types) == 0 && g.cfg.Types == nil {
		note.ID, note.What, note.Fix = "upload.any_type", what+" may be of every type that is not active", fix
		g.findings = append(g.findings, note)
	}
	for _, t := range f.Types {
		switch {
		case isActive(t):
			note.ID, note.What = "upload.refused_type", what+" is declared as "+t+", which is refused: it runs, or is a page"
			note.Fix = "active: {types: [" + t + `], accept_risk: "why"} at guards.upload`
		case !strings.HasSuffix(t, "/*") && mimetype.Lookup(t) == nil:
			note.ID, note.What = "upload.unknown_type", what+" is declared as "+t+", which nothing here knows by its content: much else passes for it"
			note.Fix = "a type that is known by its content"
		default:
			continue
		}
		g.findings = append(g.findings, note)
	}
}

// Findings are what is open, and what is taken as a risk.
func (g *Guard) Findings(now time.Time) (open, risk []gate.Finding) {
	for _, f := range g.findings {
		if f.ID != "upload.refused_type" || !g.cfg.Active.Risk.Accepted(now) {
			open = append(open, f)
		}
	}
	if len(g.cfg.Active.Types) == 0 {
		return open, nil
	}
	f := gate.Finding{ID: "upload.active", What: "files of " + strings.Join(g.cfg.Active.Types, ", ") + " are admitted", Fix: "remove active", Risk: g.cfg.Active.Risk.AcceptRisk}
	if until := g.cfg.Active.Risk.Until; !until.IsZero() {
		f.What += ", until " + until.Format(time.DateOnly)
	}
	if !g.cfg.Active.Risk.Accepted(now) {
		f.ID, f.What, f.Risk = "upload.active_over", f.What+", which is over", ""
		return append(open, f), nil
	}
	return open, []gate.Finding{f}
}
