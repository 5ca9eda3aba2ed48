package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// Own is an API that the gateway serves itself, such as the pages on which users sign in. Its requests go the way of all
// others, so that what a handler is given is what the contract declares, and each is an event; only who calls is for the
// handler to find out.
type Own struct {
	Name     string
	Contract []byte   // OpenAPI; all of its operations are public
	Hosts    []string // canonical; none: those at which some API takes sessions
	Base     string   // canonical path in front of its operations
	Handler  http.Handler
}

// notForOwn are the guards that an API of the gateway's own does without. Who calls is what its handler is there to find out.
// What the WAF would look for has nowhere to go: a handler of ours opens what it has sealed itself, or looks a name up.
var notForOwn = []string{"identity", "access", "waf"}

// addOwn builds the site of an API that the gateway serves itself.
func (g *Gateway) addOwn(d *config.Document, o Own, m *mistake.List) {
	contract, err := openapi.Load(o.Name+".yaml", func(string) ([]byte, error) { return o.Contract, nil })
	if err != nil {
		m.Under("", err)
		return
	}
	if len(o.Hosts) == 0 {
		if o.Hosts = g.takingSessions(); len(o.Hosts) == 0 {
			return
		}
	}
	api := &gate.API{Name: o.Name, Hosts: o.Hosts, Base: o.Base, Contract: contract}
	s := &site{api: api, own: true, base: segmentsOf(o.Base), sender: handled{o.Handler}, names: identity.DefaultHeaders(), pass: true}
	for _, op := range contract.Operations {
		api.Operations = append(api.Operations, &gate.Operation{API: o.Name, Key: op.ID, Method: op.Method, Template: op.Template, Contract: op,
			Pointer: op.Pointer, Access: gate.Access{Public: true}})
	}
	var ours mistake.List // what is wrong with the guards for all APIs is told with those
	s.arrive, s.release = stages(d, arrive, -1, api, g.tools, &ours), stages(d, release, -1, api, g.tools, &ours)
	s.limits = limitsOf(s.arrive)
	admitted := slices.DeleteFunc(stages(d, admit, -1, api, g.tools, &ours), func(s stage) bool { return slices.Contains(notForOwn, s.name) })
	s.route(api, admitted, m)
	for _, h := range o.Hosts {
		for _, other := range g.hosts[h] {
			if under(other.base, s.base) {
				var here mistake.List
				here.Add("hosts", "", "API %q is reached at %s%s, where the gateway's own %s is: what is served there could act for whoever signs in; give it another host or base", other.api.Name, h, other.api.Base, o.Name)
				m.Under("", d.Place(here.Err(), other.at))
				return
			}
		}
		g.hosts[h] = s.among(g.hosts[h])
	}
}

// takingSessions are the hosts at which some API takes sessions.
func (g *Gateway) takingSessions() (hosts []string) {
	for _, s := range g.inOrder {
		if guard, ok := s.stage("identity").check.(*identity.Guard); ok && len(guard.Providers()) > 0 {
			hosts = append(hosts, s.api.Hosts...)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// handled is a Sender whose server is a handler of ours.
type handled struct{ handler http.Handler }

// mostOwn is how long an answer of a handler of ours may be, in bytes.
const mostOwn = 1 << 20

// Send has the handler answer. It runs in the request's own goroutine, where a panic is a denial.
func (s handled) Send(ctx context.Context, req *http.Request, _ upstream.Call) (*http.Response, upstream.Report, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	a := &ownAnswer{fields: http.Header{}}
	s.handler.ServeHTTP(a, req.WithContext(ctx))
	if a.body.Len() > mostOwn {
		return nil, upstream.Report{}, errors.New("an answer of the gateway's own is too long")
	}
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		StatusCode: a.status, Header: a.fields, ContentLength: int64(a.body.Len()), Body: io.NopCloser(&a.body),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
	}, upstream.Report{Server: "gatehouse", Attempts: 1}, nil
}

// ownAnswer is an answer of a handler of ours.
type ownAnswer struct {
	fields http.Header
	status int
	body   bytes.Buffer
}

func (w *ownAnswer) Header() http.Header { return w.fields }

func (w *ownAnswer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *ownAnswer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Providers names those by which users can sign in for the API that is at a path of a host, none where no session is taken.
func (g *Gateway) Providers(host string, segments []string) []string {
	for _, s := range g.hosts[host] {
		if !under(segments, s.base) {
			continue
		}
		if guard, ok := s.stage("identity").check.(*identity.Guard); ok {
			return guard.Providers()
		}
		return nil
	}
	return nil
}
