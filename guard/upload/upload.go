// Package upload judges files: parts of forms, and bodies of binary media types. A file must be what it claims to be, by its
// content and not by its name, within the size and the types that the contract gives it; programs, scripts and pages are
// refused wherever they hide. It stops a shell that is sent as a picture, a page that is served back from the shop's own
// origin, and the double extension that only the server behind understands (adversary rows G2 and G21).
//
// A file is read whole before it goes on. What is declared as a stream, or as opaque with a reason, is not looked into.
package upload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Why the guard denies.
const (
	Type   gate.Reason = "upload.type"   // the content is not what the file claims to be, or what the contract admits
	Runs   gate.Reason = "upload.active" // a program, a script or a page, or a file that holds one
	Name   gate.Reason = "upload.name"   // a file name that servers read in several ways
	Size   gate.Reason = "upload.size"   // a file is too large
	Count  gate.Reason = "upload.count"  // too many files in one form
	Escape gate.Reason = "upload.escape" // an archive whose entries lead out of the folder that it is unpacked in
)

// Reasons lists every reason with which this guard denies.
func Reasons() []gate.Reason { return []gate.Reason{Type, Runs, Name, Size, Count, Escape} }

// Config is the section guards.upload. What a single file may be stands in the contract.
type Config struct {
	// Largest file, where the contract gives it no maxLength. Default: what guards.limits.body admits.
	Size unit.Size `yaml:"size"`
	// Most files in one form. Default 20.
	Files int `yaml:"files"`
	// Media types and ranges that files may have where the contract names none: image/png, image/*. Default: all but active ones.
	Types []string `yaml:"types"`
	// Active types that are admitted all the same.
	Active Active `yaml:"active"`
}

// Active is what is admitted although it runs: a program, a script, a page.
type Active struct {
	// Media types in full, such as text/html. Default none.
	Types []string `yaml:"types"`
	// Why this is acceptable here.
	Risk gate.Risk `yaml:",inline"`
}

// Guard judges the files of one API.
type Guard struct {
	cfg      Config
	now      func() time.Time
	declared map[*openapi.Body][]openapi.File
	findings []gate.Finding
}

// New checks the section, and reads what the contract says of files.
func New(cfg Config, api *gate.API, now func() time.Time) (*Guard, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Files == 0 {
		cfg.Files = 20
	}
	g := &Guard{cfg: cfg, now: now, declared: map[*openapi.Body][]openapi.File{}}
	for _, op := range api.Operations {
		if op.Contract == nil || streams(op) {
			continue
		}
		for _, b := range op.Contract.Bodies {
			g.declared[b] = b.Files()
			for _, f := range g.declared[b] {
				g.open(op, f)
			}
		}
	}
	return g, nil
}

func (c Config) check() error {
	var m mistake.List
	if c.Size < 0 {
		m.Add("size", "size: 1MiB", "a negative size would refuse every file")
	}
	if c.Files < 0 || c.Files > 10_000 {
		m.Add("files", "files: 20", "%d is not between 1 and 10000", c.Files)
	}
	if c.Types != nil && len(c.Types) == 0 {
		m.Add("types", "types: [image/png, image/jpeg]", "an empty list would refuse every file")
	}
	for _, t := range c.Types {
		switch {
		case !isRange(t):
			m.Add("types", "types: [image/png, image/*]", "%q is no media type in lower case, and no range of them", t)
		case isActive(t):
			m.Add("types", "active: {types: ["+t+`], accept_risk: "why"}`, "files of %s run or are pages; they are admitted with a reason only", t)
		}
	}
	for _, t := range c.Active.Types {
		if !isActive(t) {
			m.Add("active.types", mistake.Nearest(t, activeTypes()), "%q is none of the active types: %s", t, strings.Join(activeTypes(), ", "))
		}
	}
	switch risk := c.Active.Risk; {
	case len(c.Active.Types) > 0 && risk.AcceptRisk == "":
		m.Add("active", `active: {types: [...], accept_risk: "why"}`, "the reason is missing")
	case len(c.Active.Types) == 0 && (risk.AcceptRisk != "" || !risk.Until.IsZero()):
		m.Add("active", `active: {types: [text/html], accept_risk: "why"}`, "a risk is accepted, and no type is named")
	}
	return m.Err()
}

// isRange tells a media type without parameters, or a range such as image/*.
func isRange(t string) bool {
	top, sub, ok := strings.Cut(t, "/")
	return ok && top != "" && sub != "" && t == strings.ToLower(t) && !strings.ContainsAny(t, " ;,\t\"") && !strings.Contains(top, "*") && (sub == "*" || !strings.Contains(sub, "*"))
}

// NeedsBody tells that the operation may be sent files: not when it streams, or when all its bodies were accepted as opaque. Who
// enforces the contract refuses a form that it doesn't declare; where nobody does, it comes here.
func (g *Guard) NeedsBody(op *gate.Operation) bool {
	if streams(op) {
		return false
	}
	if op.Contract == nil || len(op.Contract.Bodies) == 0 {
		return true
	}
	return slices.ContainsFunc(op.Contract.Bodies, func(b *openapi.Body) bool { return !b.Unseen })
}

// mayHoldFiles: a form may hold files that it doesn't declare.
func (g *Guard) mayHoldFiles(b *openapi.Body) bool {
	return !b.Unseen && (b.Kind == body.Multipart || len(g.declared[b]) > 0)
}

// streams tells that the request itself is a stream. What asks for server-sent events is a plain one.
func streams(op *gate.Operation) bool { return op.Stream.Kind != "" && op.Stream.Kind != "sse" }

// Check judges the files of a request.
func (g *Guard) Check(ctx context.Context, x *gate.Exchange) gate.Verdict {
	if x.Request.Length == 0 || !g.NeedsBody(x.Operation) {
		return gate.Allow()
	}
	media, _, refusal := body.MediaType(x.Request.Fields)
	if refusal != nil {
		return gate.Deny(gate.CodeFor(refusal.Status), gate.Reason(refusal.Reason), "%s", refusal.Detail)
	}
	kind, known := body.KindOf(media)
	whole := kind == body.Opaque || !known || strings.HasPrefix(media, "image/")
	var declared *openapi.Body
	if x.Operation.Contract != nil {
		declared, _ = x.Operation.Contract.BodyFor(media)
	}
	if declared != nil { // else the contract has refused it, unless that is off or in dry run
		kind, whole = declared.Kind, declared.Kind != body.Multipart && g.mayHoldFiles(declared)
	}
	if kind != body.Multipart && !whole {
		return gate.Allow()
	}
	tree, v := x.Body(ctx)
	if !v.Allowed() || len(tree.Raw) == 0 {
		return v
	}
	if whole {
		return g.judge(file{place: "the body", declared: media, data: tree.Raw, said: g.said(declared, "")})
	}
	return g.parts(tree.Parts, declared)
}

// parts judges the files of a form.
func (g *Guard) parts(parts []body.Part, declared *openapi.Body) gate.Verdict {
	count := 0
	for i := range parts {
		p := &parts[i]
		said := g.said(declared, p.Name)
		if !isFile(p, said) {
			continue
		}
		if count++; count > g.cfg.Files {
			return gate.Deny(gate.TooLarge, Count, "more than %d files in one form", g.cfg.Files).At("guards.upload.files").Fixed(fmt.Sprintf("files: %d", count) + here)
		}
		f := file{place: "part " + shown(p.Name), named: p.FileName, declared: p.Type, data: p.Data, said: said}
		if v := g.judge(f); !v.Allowed() {
			return v
		}
	}
	return gate.Allow()
}

// isFile tells a file from a field: it has a name, or a type that is no text, or the contract says so. A file that nobody
// chose comes without name and data.
func isFile(p *body.Part, said *openapi.File) bool {
	if p.FileName != "" {
		return true
	}
	kind, known := body.KindOf(p.Type)
	return len(p.Data) > 0 && (said != nil || p.Type != "" && (!known || kind == body.Opaque))
}

// said is what the contract says of a file, nil for nothing.
func (g *Guard) said(declared *openapi.Body, part string) *openapi.File {
	list := g.declared[declared]
	for i := range list {
		if list[i].Part == part {
			return &list[i]
		}
	}
	return nil
}
