package upload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
)

// file is one file as it was sent.
type file struct {
	place    string // for the event: the body, or which part
	named    string // file name, "" without one
	declared string // media type that the client gave, "" for none
	data     []byte
	said     *openapi.File // what the contract says, nil for nothing
}

// judge asks the cheap things first. Events name types and places, never content.
func (g *Guard) judge(f file) gate.Verdict {
	if most, at, fix := g.largest(f); most > 0 && int64(len(f.data)) > most {
		return gate.Deny(gate.TooLarge, Size, "%s has %d bytes, more than %d", f.place, len(f.data), most).At(at).Fixed(fix)
	}
	if wrong := wrongName(f.named); wrong != "" {
		return gate.Deny(gate.BadRequest, Name, "the file name of %s %s", f.place, wrong).At("guards.upload").Showing(gate.Mask(f.named))
	}
	if t := runsByName(f.named); t != "" && !g.tolerates(t) {
		return g.runs(f, t, "is named like "+t)
	}
	found := recognise(f.data)
	for _, t := range found.holds {
		switch {
		case !isActive(t):
			return f.mismatch("found %s, and %s in the same bytes", found.name(), t)
		case !g.tolerates(t):
			return g.runs(f, t, "declared "+told(f.declared)+", found "+found.name()+" that holds "+t)
		}
	}
	if unknown := found.kind.Parent() == nil || found.kind.Is(text) && !isText(f.data); unknown && isCommand(f.named) && !g.tolerates(exe) {
		return g.runs(f, exe, "is named like "+exe)
	}
	if t := activeKind(found.kind); t != "" && !g.tolerates(t) {
		return g.runs(f, t, "declared "+told(f.declared)+", found "+found.name())
	}
	switch {
	case found.escapes:
		return gate.Deny(gate.Attack, Escape, "%s: an entry of the archive leads out of its folder", f.place).At("guards.upload")
	case found.broken != "":
		return f.mismatch("found the beginning of %s, %s", found.name(), found.broken)
	case !found.declaredAs(f.declared):
		return f.mismatch("found %s", found.name())
	}
	if extension, t := typeOfName(f.named); !found.fits(t) {
		return f.mismatch("named .%s, found %s", extension, found.name())
	}
	return g.admitted(f, found)
}

// admitted holds what was found against the list: the contract's, else the document's. Without a list everything is admitted but
// SVG, which browsers run: that has to be named.
func (g *Guard) admitted(f file, found finding) gate.Verdict {
	if f.said != nil && len(f.said.Types) > 0 {
		if slices.ContainsFunc(f.said.Types, found.fits) {
			return gate.Allow()
		}
		return f.mismatch("found %s, which the contract does not name", found.name())
	}
	if g.tolerates(activeKind(found.kind)) || slices.ContainsFunc(g.cfg.Types, found.fits) || g.cfg.Types == nil && !found.kind.Is(svg) {
		return gate.Allow()
	}
	return f.mismatch("found %s, which is not on the list", found.name()).At("guards.upload.types").
		Fixed("types: [" + strings.Join(append(slices.Clone(g.cfg.Types), found.name()), ", ") + "]" + here)
}

// tolerates tells that the document admits an active type, today.
func (g *Guard) tolerates(t string) bool {
	return t != "" && g.cfg.Active.Risk.Accepted(g.now()) && slices.Contains(g.cfg.Active.Types, t)
}

func (g *Guard) runs(f file, t, what string) gate.Verdict {
	return gate.Deny(gate.Attack, Runs, "%s: %s", f.place, what).At("guards.upload").
		Fixed("active: {types: [" + strings.Join(append(slices.Clone(g.cfg.Active.Types), t), ", ") + `], accept_risk: "why"}` + here)
}

// mismatch denies a file that isn't what it should be.
func (f file) mismatch(format string, args ...any) gate.Verdict {
	at := "guards.upload"
	if f.said != nil {
		at = f.said.Pointer
	}
	return gate.Deny(gate.UnsupportedMedia, Type, "%s: declared %s, %s", f.place, told(f.declared), fmt.Sprintf(format, args...)).At(at)
}

// largest is the bound of a file, where it is written, and how it would be written for this one.
func (g *Guard) largest(f file) (most int64, at, fix string) {
	if f.said != nil && f.said.Largest > 0 {
		return f.said.Largest, f.said.Pointer, fmt.Sprintf("maxLength: %d at %s", len(f.data), f.said.Pointer)
	}
	return int64(g.cfg.Size), "guards.upload.size", fmt.Sprintf("size: %d", len(f.data)) + here
}

// here is behind a line that belongs in this guard's section.
const here = "  # guards.upload"

// told repeats a client's word only when it is a word of the trade.
func told(declared string) string {
	switch {
	case declared == "":
		return "nothing"
	case mimetype.Lookup(declared) == nil && !isActive(declared):
		return "a type of its own"
	}
	return declared
}

func shown(name string) string { return fmt.Sprintf("%.60q", name) }
