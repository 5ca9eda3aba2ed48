package config

import (
	"net/netip"
	"reflect"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// wanted says in words and by example what a type takes.
type wanted struct {
	words   string
	example string
	pattern string // of the text, for the schema; "" when the type alone can judge
}

// Patterned may be implemented by a type that reads text: the schema and the reference then tell what it takes. Pattern is
// a regular expression that both RE2 and ECMA 262 read; Example a value that it takes.
type Patterned interface {
	Pattern() string
	Example() string
}

// wantedOf knows the types that fields have.
func wantedOf(t reflect.Type) wanted {
	if t.Kind() == reflect.Pointer {
		return wantedOf(t.Elem())
	}
	if w, ok := wantedKnown[t]; ok {
		return w
	}
	zero := reflect.New(t).Interface()
	if p, ok := zero.(Patterned); ok {
		return wanted{"text such as " + p.Example(), p.Example(), p.Pattern()}
	}
	if e, ok := zero.(interface{ Values() []string }); ok && len(e.Values()) > 0 {
		return wanted{words: "one of " + strings.Join(e.Values(), ", "), example: e.Values()[0]}
	}
	if isText(t) && shapeOf(t) == reflect.Invalid {
		return wanted{words: "text"}
	}
	return wantedKind(t)
}

func wantedKind(t reflect.Type) wanted {
	switch t.Kind() {
	case reflect.Bool:
		return wanted{words: "true or false", example: "true"}
	case reflect.String:
		return wanted{words: "text"}
	case reflect.Float64:
		return wanted{words: "a number", example: "0.5"}
	case reflect.Struct:
		return wanted{words: "a mapping of keys"}
	case reflect.Map:
		return wanted{words: "a mapping of keys"}
	case reflect.Slice:
		example := "[]"
		if inner := wantedOf(t.Elem()).example; inner != "" && inner[0] != '[' {
			example = "[" + inner + "]"
		}
		return wanted{words: "a list", example: example}
	}
	return wanted{words: "a whole number", example: "1"}
}

// number is a decimal with an optional fraction, as durations have it.
const number = `([0-9]+(\.[0-9]*)?|\.[0-9]+)`

// wantedKnown are the types that do not describe themselves.
var wantedKnown = map[reflect.Type]wanted{
	durationType: {"a duration", "5s", `^(` + number + `(ns|us|µs|ms|s|m|h))+$`},
	timeType:     {"a date", "2026-12-31", `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.*)?$`},
	urlType:      {"a URL", "https://host/path", `^[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]+`},

	reflect.TypeFor[unit.Size]():      {"a size", "16KiB", `^[0-9]+ ?(B|KiB|MiB|GiB)?$`},
	reflect.TypeFor[netip.Prefix]():   {"an address prefix", "192.0.2.0/24", `^[0-9A-Fa-f:.]+/[0-9]{1,3}$`},
	reflect.TypeFor[netip.Addr]():     {"an address", "192.0.2.1", `^[0-9A-Fa-f:.]+(%.+)?$`},
	reflect.TypeFor[netip.AddrPort](): {"an address with port", "192.0.2.1:8443", `^.+:[0-9]{1,5}$`},
}
