package config

import (
	"encoding"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// scalar decodes one scalar into v.
func (dec *decoder) scalar(n *node, v reflect.Value, path string, r rules) {
	if !isExempt(v.Type()) && (isCredential(n.text) || !r.public && !fits(v.Type(), n.text) && looksSecret(n.text)) {
		dec.doc.hide(n) // whole: what looks like words in front of a slash may be a part of it
		if isURL.MatchString(n.text) {
			dec.refuse(n, path, "password: file:/run/secrets/NAME", "this URL has a password in it, and a document holds none: write the URL without it, and the password, in a file that only the gateway may read, under the key that the section has for it, such as password: file:/path/to/it")
			return
		}
		dec.refuse(n, path, "file:/run/secrets/NAME", "this looks like a secret, and a document holds none: put it in a file that only the gateway may read and write file:/path/to/it, or into the gateway's own store (gatehouse secret set NAME) and write store:NAME, where a reference is accepted")
		return
	}
	if found := expansion.FindString(n.text); found != "" && v.Kind() == reflect.String && !isText(v.Type()) {
		dec.refuse(n, path, "", "nothing is expanded in this document: write the value itself instead of %s (only keys for secrets take references such as file:, env: and store:)", show(found))
		return
	}
	switch t := v.Type(); {
	case t == durationType:
		dec.duration(n, v, path, r)
	case t == timeType:
		dec.time(n, v, path)
	case t == urlType:
		dec.url(n, v, path)
	case isText(t):
		dec.text(n, v, path, r)
	default:
		dec.basic(n, v, path, r)
	}
}

// isURL tells that a text with a secret in it is a URL.
var isURL = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)

func isExempt(t reflect.Type) bool { return t == durationType || t == timeType }

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
	urlType      = reflect.TypeFor[url.URL]()
)

// scalarStruct tells that a struct type is decoded from a scalar only.
func scalarStruct(t reflect.Type) bool { return t == timeType || t == urlType }

// fits tells that a text has the form that its type describes, as a reference to a secret has: then chance in it, such as a
// folder's random name, is no secret.
func fits(t reflect.Type, text string) bool {
	pattern := wantedOf(t).pattern
	if pattern == "" {
		return false
	}
	form, err := regexp.Compile(pattern)
	return err == nil && form.MatchString(text)
}

func (dec *decoder) basic(n *node, v reflect.Value, path string, r rules) {
	switch v.Kind() {
	case reflect.Bool:
		if n.style != truth {
			dec.refuse(n, path, boolMeant(n.text), "wanted true or false, found %s", n.shown())
			return
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		dec.whole(n, v, path, r)
	case reflect.Float64:
		dec.real(n, v, path, r)
	case reflect.String:
		dec.word(n, v, path, r)
	case reflect.Struct, reflect.Map, reflect.Slice:
		w := wantedOf(v.Type())
		if shapeOf(v.Type()) == reflect.Slice && plainWord(n.text) && !looksSecret(n.text) {
			w.example = "[" + n.text + "]"
		}
		dec.refuse(n, path, w.example, "found %s, wanted %s", n.shown(), w.words)
	default:
		panic("config: no document can hold a " + v.Type().String())
	}
}

// shown names a scalar for a message, with its text where that may be repeated.
func (n *node) shown() string {
	if n.kind != kindScalar || n.style == truth {
		return n.describe()
	}
	return n.describe() + " " + show(n.text)
}

func boolMeant(text string) string {
	switch strings.ToLower(text) {
	case "yes", "on", "y", "1", "true", "enabled":
		return "true"
	case "no", "off", "n", "0", "false", "disabled":
		return "false"
	}
	return mistake.Nearest(text, []string{"true", "false"})
}

func (dec *decoder) whole(n *node, v reflect.Value, path string, r rules) {
	number, ok := new(big.Int).SetString(n.text, 10)
	if n.style != whole || !ok {
		write := strconv.Itoa(1)
		if value, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64); err == nil {
			write = strconv.FormatInt(value, 10)
		}
		dec.refuse(n, path, write, "wanted a whole number, found %s", n.shown())
		return
	}
	low, high := bounds(v, r)
	if number.Cmp(low) < 0 || number.Cmp(high) > 0 {
		dec.refuse(n, path, "", "%s is out of bounds; a whole number from %s to %s is wanted", n.text[:min(len(n.text), 40)], low, high)
		return
	}
	if v.CanUint() {
		v.SetUint(number.Uint64())
		return
	}
	v.SetInt(number.Int64())
}

// bounds are those of the type, narrowed by the tag.
func bounds(v reflect.Value, r rules) (low, high *big.Int) {
	one, width := big.NewInt(1), uint(v.Type().Bits())
	if v.CanUint() {
		low, high = big.NewInt(0), new(big.Int).Sub(new(big.Int).Lsh(one, width), one)
	} else {
		half := new(big.Int).Lsh(one, width-1)
		low, high = new(big.Int).Neg(half), new(big.Int).Sub(half, one)
	}
	if r.min != nil {
		low = big.NewInt(*r.min)
	}
	if r.max != nil {
		high = big.NewInt(*r.max)
	}
	return low, high
}

func (dec *decoder) real(n *node, v reflect.Value, path string, r rules) {
	number, err := strconv.ParseFloat(n.text, 64)
	if err != nil || n.style != whole && n.style != real {
		dec.refuse(n, path, "0.5", "wanted a number such as 0.5, found %s", n.shown())
		return
	}
	if r.min != nil && number < float64(*r.min) || r.max != nil && number > float64(*r.max) {
		dec.refuse(n, path, "", "%s is out of bounds; %s", show(n.text), boundWords(r))
		return
	}
	v.SetFloat(number)
}

func boundWords(r rules) string {
	switch {
	case r.min != nil && r.max != nil:
		return fmt.Sprintf("a number from %d to %d is wanted", *r.min, *r.max)
	case r.min != nil:
		return fmt.Sprintf("a number of at least %d is wanted", *r.min)
	}
	return fmt.Sprintf("a number of at most %d is wanted", *r.max)
}

// word decodes text, which must not look like anything else without its quotes.
func (dec *decoder) word(n *node, v reflect.Value, path string, r rules) {
	if e, ok := reflect.New(v.Type()).Interface().(interface{ Values() []string }); ok {
		dec.enum(n, v, path, e.Values())
		return
	}
	if n.style != plain && n.style != quoted && n.style != block {
		dec.refuse(n, path, `"`+n.text+`"`, "wanted text, found %s; quote it if it is meant as text", n.describe())
		return
	}
	if n.text == "" && (r.required || r.nonempty) {
		dec.refuse(n, path, "", "an empty text; a value is needed")
		return
	}
	v.SetString(n.text)
}

func (dec *decoder) enum(n *node, v reflect.Value, path string, values []string) {
	for _, word := range values {
		if word == n.text {
			v.SetString(word)
			return
		}
	}
	write := mistake.Nearest(n.text, values)
	if write == "" {
		write = mistake.Nearest(strings.ToLower(n.text), values)
	}
	dec.refuse(n, path, write, "%s is none of %s", show(n.text), strings.Join(values, ", "))
}

var loneDuration = regexp.MustCompile(`^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*$`)

func (dec *decoder) duration(n *node, v reflect.Value, path string, r rules) {
	value, err := time.ParseDuration(n.text)
	// ParseDuration reads a lone 0 and +5s; a document writes 0s and 5s.
	if err == nil && n.text != "0" && !strings.ContainsAny(n.text[:1], "+-") {
		if r.min != nil && value < time.Duration(*r.min)*time.Second || r.max != nil && value > time.Duration(*r.max)*time.Second {
			dec.refuse(n, path, "", "%s is out of bounds", n.text)
			return
		}
		v.SetInt(int64(value))
		return
	}
	dec.refuse(n, path, durationMeant(n.text), "%s is no duration; write a number with its unit, such as 500ms, 5s, 2m or 1h", n.shown())
}

// durationMeant guesses what a duration that has no unit, or the wrong word for it, was meant to be.
func durationMeant(text string) string {
	parts := loneDuration.FindStringSubmatch(text)
	if parts == nil {
		if value, err := time.ParseDuration(strings.TrimLeft(text, "+-")); err == nil && value > 0 {
			return value.String()
		}
		return "5s"
	}
	number, unit := parts[1], strings.ToLower(parts[2])
	switch strings.TrimSuffix(unit, "s") {
	case "", "sec", "second":
		return number + "s"
	case "min", "minute":
		return number + "m"
	case "hr", "hour":
		return number + "h"
	case "milli", "millisecond", "msec":
		return number + "ms"
	case "d", "day":
		return hours(number, 24)
	case "w", "wk", "week":
		return hours(number, 7*24)
	}
	if _, err := time.ParseDuration(number + unit); err == nil {
		return number + unit
	}
	return number + "s"
}

func hours(number string, factor float64) string {
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return "24h"
	}
	return strconv.FormatFloat(n*factor, 'f', -1, 64) + "h"
}

func (dec *decoder) time(n *node, v reflect.Value, path string) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if value, err := time.Parse(layout, n.text); err == nil && len(n.text) >= len(time.DateOnly) {
			v.Set(reflect.ValueOf(value))
			return
		}
	}
	dec.refuse(n, path, "2026-12-31", "%s is no date; write year-month-day, or a time as RFC 3339 has it (2026-12-31T18:00:00Z)", n.shown())
}

func (dec *decoder) url(n *node, v reflect.Value, path string) {
	u, err := url.Parse(n.text)
	switch {
	case err != nil:
		dec.refuse(n, path, "https://host/path", "%s is no URL", n.shown())
	case u.Scheme == "" || u.Host == "" || u.Opaque != "" || u.Hostname() == "":
		dec.refuse(n, path, "https://host/path", "%s is no whole URL; write it with scheme and host", n.shown())
	case u.User != nil:
		dec.doc.hide(n)
		dec.refuse(n, path, "", "a URL with a user in it; credentials are written as references to secrets")
	default:
		v.Set(reflect.ValueOf(*u))
	}
}

// text hands a scalar to a type that reads itself.
func (dec *decoder) text(n *node, v reflect.Value, path string, r rules) {
	if n.style == truth || n.style == real || n.style == odd {
		dec.refuse(n, path, wantedOf(v.Type()).example, "wanted %s, found %s", wantedOf(v.Type()).words, n.shown())
		return
	}
	if n.text == "" && (r.required || r.nonempty) {
		dec.refuse(n, path, wantedOf(v.Type()).example, "an empty text; a value is needed")
		return
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text))
	if err == nil {
		return
	}
	var inner mistake.Mistake
	if errors.As(err, &inner) {
		dec.refuse(n, path, inner.Write, "%s", inner.What)
		return
	}
	what, w := err.Error(), wantedOf(v.Type())
	if !strings.Contains(what, n.text) {
		// A type that doesn't repeat what it refused has its reason: it may be a secret.
		dec.doc.hide(n)
	}
	if e, ok := v.Addr().Interface().(interface{ Values() []string }); ok {
		w.example = mistake.Nearest(n.text, e.Values())
	}
	dec.refuse(n, path, w.example, "%s", what)
}
