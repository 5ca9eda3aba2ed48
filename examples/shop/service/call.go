package service

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
)

// errNotFound answers 404, errForbidden 403; every other error answers 500 with all it knows.
var (
	errNotFound  = errors.New("not found")
	errForbidden = errors.New("forbidden")
)

// call is one request on its way through a service.
type call struct {
	svc    *Service
	r      *http.Request
	w      http.ResponseWriter
	who    caller
	path   map[string]string // the {names} of the route
	query  map[string]string // the last value of each parameter
	status int               // of the answer
}

// route is one thing that a service can do.
type route struct {
	method, path string
	do           func(*call) (any, error)
}

// ServeHTTP finds the route and answers. Careless on purpose, and in this order: any page may call (CORS), a header may
// change the method, the path is decoded twice, matrix parameters and dot segments are folded away.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "shop-"+s.name+"/0.3 (Go; SQLite 3)")
	h.Set("X-Powered-By", "shop 0.3.1")
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	method := r.Method
	if m := r.Header.Get("X-HTTP-Method-Override"); m != "" {
		method = m
	}
	target, _, _ := strings.Cut(r.RequestURI, "?")
	clean := cleanPath(target)
	c := &call{svc: s, r: r, w: w, who: readCaller(r.Header), query: lastOf(r.URL.Query()), status: http.StatusOK}
	s.log.write("%s %s user=%s from=%s", method, clean, c.who.subject, r.RemoteAddr)
	for _, route := range s.routes {
		if names, ok := match(s.base+route.path, clean); ok && route.method == method {
			c.path = names
			c.answer(route.do(c))
			return
		}
	}
	c.answer(nil, errNotFound)
}

func cleanPath(target string) string {
	for range 2 {
		if decoded, err := url.PathUnescape(target); err == nil {
			target = decoded
		}
	}
	segments := strings.Split(target, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return path.Clean(strings.Join(segments, "/"))
}

func match(pattern, target string) (map[string]string, bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(target, "/")
	if len(want) != len(have) {
		return nil, false
	}
	names := map[string]string{}
	for i, w := range want {
		if strings.HasPrefix(w, "{") {
			names[strings.Trim(w, "{}")] = have[i]
		} else if w != have[i] {
			return nil, false
		}
	}
	return names, true
}

func lastOf(q url.Values) map[string]string {
	last := map[string]string{}
	for name, values := range q {
		last[name] = values[len(values)-1]
	}
	return last
}

// read decodes the body into v: compressed or not, of any size, whatever its media type says, unknown members and all.
func (c *call) read(v any) error {
	var body io.Reader = c.r.Body
	if c.r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

func (c *call) answer(v any, err error) {
	switch {
	case errors.Is(err, errNotFound):
		c.write(http.StatusNotFound, row{"error": "not found"})
	case errors.Is(err, errForbidden):
		c.write(http.StatusForbidden, row{"error": "forbidden"})
	case err != nil:
		c.svc.log.write("error: %v", err)
		c.write(http.StatusInternalServerError, row{"error": err.Error(), "stack": string(debug.Stack())})
	default:
		if text, ok := v.(plain); ok {
			c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			c.w.WriteHeader(c.status)
			io.WriteString(c.w, string(text))
			return
		}
		c.write(c.status, v)
	}
}

// plain is an answer that is text and not JSON.
type plain string

func (c *call) write(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	json.NewEncoder(c.w).Encode(v)
}

// created answers 201 with the row that a statement finds.
func (c *call) created(query string, args ...any) (any, error) {
	c.status = http.StatusCreated
	return c.svc.db.row(query, args...)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func number(s string) (n int64) {
	fmt.Sscan(s, &n)
	return n
}
