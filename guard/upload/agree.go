package upload

import (
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// declaredAs tells that a file is what its client says it is. Systems with an office program say that it owns tables of text.
func (f finding) declaredAs(claim string) bool {
	return f.fits(claim) || claim == "application/vnd.ms-excel" && isA(f.kind, text) && activeKind(f.kind) == "" && !f.kind.Is(svg)
}

// fits tells that a file is what a media type or range claims.
func (f finding) fits(claim string) bool {
	return agrees(claim, f.kind) && !(f.unread && isA(f.kind, text) && claimsXML(claim))
}

// agrees tells that what was found is what a media type or range claims. A claim that says nothing, or that nobody can check by
// content, agrees with everything of its sort.
func agrees(claim string, found *mimetype.MIME) bool {
	top, sub, _ := strings.Cut(claim, "/")
	switch {
	case claim == "", claim == "application/octet-stream", claim == "*/*":
		return true
	case found.Is(svg):
		return found.Is(claim) || claim == "text/xml" || claim == "application/xml" // no range means it
	case sub == "*":
		return ofSort(top, found)
	}
	claimed := mimetype.Lookup(claim)
	switch {
	case isA(found, text) && activeKind(found) != "": // what is admitted as a page is no table, and no other text
		return activeKind(claimed) != "" && isA(found, claim) || claim == markdown && found.Is("text/html") // HTML is part of it
	case claimed == nil:
		return agreesUnknown(top, sub, found)
	case isA(found, claim):
		return true
	case claimed.Is(svg):
		return false
	case isA(claimed, text): // kinds of text are told apart by guessing
		return isA(found, text)
	}
	return oneContainer(claimed, found, top) || found.Is("application/x-ole-storage") && isA(claimed, "application/x-ole-storage")
}

// agreesUnknown: the library doesn't know the claim, so its sort must do.
func agreesUnknown(top, sub string, found *mimetype.MIME) bool {
	switch {
	case top == "text" || strings.HasSuffix(sub, "+json") || strings.HasSuffix(sub, "+xml"):
		return isA(found, text)
	case strings.HasSuffix(sub, "+zip"):
		return isA(found, zipd)
	case top == "application":
		return true
	}
	return ofSort(top, found) || found.Parent() == nil
}

// ofSort tells whether what was found is an image, a video, a text ...
func ofSort(top string, found *mimetype.MIME) bool {
	if top == "text" {
		return isA(found, text)
	}
	name, _, _ := strings.Cut(essence(found), "/")
	return name == top || (top == "audio" || top == "video") && container(found) != ""
}

// container is the format that sound and film share: by its first bytes alone they can't be told apart.
func container(kind *mimetype.MIME) string {
	for ; kind != nil; kind = kind.Parent() {
		switch name := essence(kind); name {
		case "video/quicktime":
			return "video/mp4"
		case "video/matroska", "video/webm":
			return "video/webm"
		case "video/mp4", "application/ogg", "video/x-ms-asf":
			return name
		}
	}
	return ""
}

// oneContainer tells that two kinds are contents of one container: audio and video, or pictures of one family.
func oneContainer(claimed, found *mimetype.MIME, top string) bool {
	c := container(claimed)
	if c == "" || c != container(found) {
		return false
	}
	picture := func(kind *mimetype.MIME) bool { return strings.HasPrefix(essence(kind), "image/") }
	return picture(found) == picture(claimed) && (top != "image" || picture(found))
}

// isA tells that a kind is, or descends from, a type.
func isA(kind *mimetype.MIME, t string) bool {
	for ; kind != nil; kind = kind.Parent() {
		if kind.Is(t) {
			return true
		}
	}
	return false
}
