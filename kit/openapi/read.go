package openapi

import (
	"encoding/json"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// readJSON reads JSON that stands inside something else, as strictly as a body.
func readJSON(raw string) (any, error) {
	t, refusal := body.Read(body.JSON, nil, "", strings.NewReader(raw), body.Limits{})
	if refusal != nil {
		return nil, refusal
	}
	return t.Value(), nil
}

// read gives the values that a text can stand for, by the declared types; the text itself when it stands for no other, so
// that the schema says what is wrong with it.
func (s *shape) read(raw string) []any {
	if s == nil || s.types == 0 {
		return []any{raw}
	}
	var list []any
	switch {
	case s.types&integers != 0 && isInteger(raw),
		s.types&(1<<number) != 0 && isJSONNumber(raw):
		list = append(list, json.Number(raw))
	}
	if s.types.has(boolean) && (raw == "true" || raw == "false") {
		list = append(list, raw == "true")
	}
	if s.types.has(null) && raw == "" && !s.types.has(text) {
		list = append(list, nil)
	}
	if s.types.has(text) || len(list) == 0 {
		list = append(list, raw)
	}
	return list
}

// first gives the value that a text stands for most likely, where only one reading can be tried: inside lists and objects.
func (s *shape) first(raw string) any { return s.read(raw)[0] }

// member gives the shape of a property, declared or not.
func (s *shape) member(name string) *shape {
	if p := s.property(name); p != nil {
		return p
	}
	return s.additional
}
