package openapi

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// File is what a contract says of a file: of a body that holds nothing else, or of one part of a form.
type File struct {
	Part    string   // name of the part; "" for the whole body
	Types   []string // media types and ranges that it may have; none when the contract names none
	Largest int64    // most bytes, from maxLength; 0 when the contract doesn't say
	Pointer string   // where the contract says so
}

// Files lists what the body declares as files: the body itself, or parts of a form. There is none in a body that was accepted
// as opaque by name: nobody looks into that.
func (b *Body) Files() []File {
	switch {
	case b.Unseen:
		return nil
	case b.Kind == body.Multipart:
		var list []File
		for name, f := range b.fields.named {
			if f.isFile() {
				c := f.content()
				list = append(list, File{Part: name, Types: named(f.media), Largest: c.largest, Pointer: b.Pointer})
			}
		}
		slices.SortFunc(list, func(a, b File) int { return cmp.Compare(a.Part, b.Part) })
		return list
	case b.Kind == body.Opaque || strings.HasPrefix(b.MediaType, "image/"):
		return []File{{Types: named([]string{b.MediaType}), Largest: b.largest, Pointer: b.Pointer}}
	}
	return nil
}

// named leaves out the types that say nothing.
func named(types []string) []string {
	var list []string
	for _, t := range types {
		if saysNothing(t) {
			return nil
		}
		list = append(list, t)
	}
	return list
}

// saysNothing: everything is bytes, so a contract that says no more admits a file of every type.
func saysNothing(t string) bool { return t == "*/*" || t == "application/octet-stream" }
