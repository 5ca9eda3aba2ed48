package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/limits"
	"github.com/gatehouse-sec/gatehouse/guard/patch"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/guard/waf"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/route"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// Sender sends a request to one of an API's servers. upstream.Pool is the one that is used.
type Sender interface {
	Send(ctx context.Context, req *http.Request, call upstream.Call) (*http.Response, upstream.Report, error)
}

// Recorder takes events. Err tells that it cannot, at present.
type Recorder interface {
	Record(gate.Event) error
	Err() error
}

// Tools is what the parts of a Gateway are handed. All of it outlives a reload.
type Tools struct {
	Now      func() time.Time
	NewID    func(time.Time) string                                                  // ids of events
	ReadFile func(contract, path string) ([]byte, error)                             // a contract, or what it refers to, which lies in its folder; relative to the working directory
	List     func(folder string) ([]string, error)                                   // names of what lies in a folder; nil: there are no folders
	Senders  func(api string, cfg upstream.Config, targets []string) (Sender, error) // found again by what made them
	Counters rate.Counters                                                           //
	Identity identity.Tools                                                          //
	Rules    *waf.Rules                                                              // compiled once for all APIs
	Patches  patch.Added                                                             // added by command; nil: none
	Recorder Recorder                                                                //
	Drain    *Drain                                                                  // ends streams when the process ends; nil: nothing does
	Own      []Own                                                                   // what the gateway serves itself
	Unsafe   bool                                                                    // requests pass while events cannot be written: audit.on_failure: allow

	home    string             // folder of the document
	folders map[string]*folder // that were read for it
}

// file reads a file beside or below the document, whose name is relative to it.
func (t Tools) file(name string) ([]byte, error) {
	name = filepath.Join(t.home, name)
	return t.ReadFile(name, name)
}

// Gateway decides about requests by one document. It never changes: a reload builds another.
type Gateway struct {
	tools   Tools
	version string // of the document, in events
	hosts   map[string][]*site
	any     []*site // APIs without hosts
	inOrder []*site // as the document lists them
	nobody  *site   // for requests to no API: arrive and release guards only
	canon   canon.Options
	table   Table
}

// site is one API as it is served.
type site struct {
	api     *gate.API // nil for nobody
	base    []string  // segments of the base path
	routes  *route.Table[*plan]
	arrive  []stage
	release []stage
	cors    CORS
	sender  Sender
	limits  *limits.Guard
	names   identity.HeaderNames
	pass    bool   // the credential goes to the server
	hashOn  string // upstream.hash_on
	plans   []*plan
	risk    string // the reason for which it is served without a contract
	own     bool   // the gateway serves it itself
	at      string // its place in the document
}

// plan is one operation and the guards on its way.
type plan struct {
	op     *gate.Operation
	admit  []stage
	reads  bool         // some guard reads the body
	answer *gate.Answer // the gateway's own, when no server is asked
}

// hash is what keeps requests together at one server when the document asks for it.
func (s *site) hash(x *gate.Exchange) string {
	switch on, field, _ := strings.Cut(s.hashOn, ":"); on {
	case "caller":
		if p := x.Principal(); p != nil {
			return p.Key()
		}
		return x.Source.Client.String()
	case "address":
		return x.Source.Client.String()
	case "header":
		return x.Request.Fields.Get(field)
	}
	return ""
}

// streamLimit is how many bytes a body may have that is sent on unread.
func (s *site) streamLimit(op *gate.Operation) int64 {
	switch {
	case op.Stream.Kind == "websocket" || op.Stream.Kind == "grpc":
		return math.MaxInt64
	case op.Stream.Kind == "upload" && op.Stream.Message > 0:
		return op.Stream.Message
	}
	return s.limits.Body().Bytes
}

// Build makes a Gateway of a document, or lists every mistake in it and in the contracts it names.
func Build(d *config.Document, t Tools) (*Gateway, error) {
	var m mistake.List
	hash := d.Hash("")
	policy := sha256.New()
	policy.Write(hash[:])
	t.home, t.folders = filepath.Dir(d.File), map[string]*folder{}
	read := t.ReadFile
	t.ReadFile = func(contract, path string) ([]byte, error) { // a contract is policy too
		data, err := read(contract, path)
		policy.Write(data)
		return data, err
	}
	g := &Gateway{tools: t, hosts: map[string][]*site{}}
	m.Under("", d.Unknown("guards", GuardNames()))
	g.nobody = &site{}
	g.nobody.arrive = stages(d, arrive, -1, nil, t, &m)
	g.nobody.release = stages(d, release, -1, nil, t, &m)
	g.nobody.limits = limitsOf(g.nobody.arrive)
	if d.Len("apis") == 0 {
		m.Under("", d.Place(mistake.List{{Path: "apis", What: "no API is declared: nothing would be served", Write: "apis: [{name: ..., contract: ..., to: [...]}]"}}, ""))
	}
	for i := range d.Len("apis") {
		g.add(d, i, &m)
	}
	for _, o := range t.Own {
		g.addOwn(d, o, &m)
	}
	g.canon.Limits = g.widest()
	m = unique(m)
	if len(m) > 0 {
		return nil, m
	}
	g.version = hex.EncodeToString(policy.Sum(nil)[:6])
	g.table = g.describe()
	return g, nil
}

// usualFields is how many fields listeners admit unless their document says otherwise.
const usualFields = 128

// widest is the largest head that some API admits: the reader of heads works before the API is known, and each API's own
// limits follow.
func (g *Gateway) widest() (most canon.Limits) {
	most.Fields = usualFields
	for _, s := range append([]*site{g.nobody}, g.inOrder...) {
		h := s.limits.Head()
		most.URL, most.Query = max(most.URL, h.URL), max(most.Query, h.Query)
		most.Cookies, most.CookieBytes = max(most.Cookies, h.Cookies), max(most.CookieBytes, h.CookieBytes)
	}
	return most
}

// add builds the site of one entry of apis.
func (g *Gateway) add(d *config.Document, i int, m *mistake.List) {
	path := fmt.Sprintf("apis[%d]", i)
	c, _, err := config.Section[APIConfig](d, path)
	if err != nil {
		m.Under("", err)
		for _, p := range []phase{arrive, admit, release} { // a guard's own mistakes are told in the same pass
			stages(d, p, i, &gate.API{Name: c.Name}, g.tools, m)
		}
		return
	}
	m.Under("", d.Unknown(path+".guards", GuardNames()))
	var here mistake.List
	api := g.apiOf(d, c, &here)
	s := &site{at: path, api: api, cors: c.CORS, hashOn: c.Upstream.HashOn, risk: c.AcceptRisk}
	here.Under("cors", c.CORS.check())
	s.base = segmentsOf(api.Base)
	operations(c, api, &here)
	checkStreams(c, api, &here)
	if len(c.To) == 0 {
		here.Add("to", "to: [http://127.0.0.1:8080]", "no server is named")
	} else if s.sender, err = g.tools.Senders(c.Name, c.Upstream, c.To); err != nil {
		upstreamMistakes(&here, err)
	}
	s.arrive = stages(d, arrive, i, api, g.tools, m)
	s.release = stages(d, release, i, api, g.tools, m)
	s.limits = limitsOf(s.arrive)
	admitted := stages(d, admit, i, api, g.tools, m)
	s.identity(admitted)
	s.route(api, admitted, &here)
	g.place(s, &here)
	m.Under("", d.Place(here.Err(), path))
}

// upstreamMistakes puts what is wrong with servers under the keys of the document: targets are written as to.
func upstreamMistakes(m *mistake.List, err error) {
	var list mistake.List
	list.Under("", err)
	for _, one := range list {
		if rest, ok := strings.CutPrefix(one.Path, "targets"); ok {
			one.Path = "to" + rest
		} else {
			one.Path = mistake.Join("upstream", one.Path)
		}
		*m = append(*m, one)
	}
}

// apiName is what the name of an API may be: it stands in metrics, in file names and on terminals.
var apiName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// apiOf reads the contract and the names under which the API is reached.
func (g *Gateway) apiOf(d *config.Document, c APIConfig, m *mistake.List) *gate.API {
	api := &gate.API{Name: c.Name}
	if !apiName.MatchString(c.Name) {
		m.Add("name", "name: orders", "an API needs a name of letters, digits and dashes")
	}
	for j, h := range c.Hosts {
		host, port, refusal := canon.Host(h, "https")
		if refusal != nil || port != "" {
			m.Add(fmt.Sprintf("hosts[%d]", j), "shop.example", "%q is not a host name", h)
			continue
		}
		api.Hosts = append(api.Hosts, host)
	}
	switch {
	case len(c.GRPC.Methods) > 0:
		if c.Contract != "" {
			m.Add("contract", "", "an API has a contract or a list of gRPC methods: remove one, or make two APIs of it")
		}
	case c.Contract == "none":
		if c.AcceptRisk == "" {
			m.Add("contract", `accept_risk: "why this API is served without a contract"`, "an API without a contract is checked by nothing that knows it, and no reason is given")
		}
	case c.Contract == "":
		m.Add("contract", "contract: openapi.yaml", "an API needs its contract, or contract: none with accept_risk")
	default:
		file := c.Contract
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(d.File), file)
		}
		contract, err := openapi.Load(file, func(path string) ([]byte, error) { return g.tools.ReadFile(file, path) })
		if err != nil {
			contractMistakes(m, err)
			break
		}
		api.Contract, api.Base = contract, contract.Base
	}
	if c.Base != nil {
		base, _, refusal := canon.Path(*c.Base)
		if refusal != nil || !strings.HasPrefix(*c.Base, "/") {
			m.Add("base", "base: /v1", "%q is not a path", *c.Base)
		}
		api.Base = strings.TrimSuffix(base, "/")
	}
	return api
}

// contractMistakes keeps the places that mistakes have in the contract; a contract that cannot be read is a mistake of the
// document.
func contractMistakes(m *mistake.List, err error) {
	var list mistake.List
	list.Under("", err)
	for _, one := range list {
		if one.Line == 0 {
			one.File, one.Path = "", "contract"
		}
		*m = append(*m, one)
	}
}

// operations fills in the API's operations from contract and document.
func operations(c APIConfig, api *gate.API, m *mistake.List) {
	said := func(op *openapi.Operation) (OperationConfig, string) {
		other := op.Method + " " + op.Template
		s, byID := c.Operations[op.ID]
		if o, ok := c.Operations[other]; ok && other != op.ID {
			if byID { // one of the two would be silently off
				m.Add("operations."+other, "", "%s is the same operation, named a second time: write one entry", op.ID)
			}
			return o, "operations." + other
		}
		return s, "operations." + op.ID
	}
	switch {
	case len(c.GRPC.Methods) > 0:
		grpcOperations(c, api, m)
	case api.Contract == nil && c.Contract != "none":
		return // the contract cannot be read; what follows from that is not told as well
	case api.Contract == nil:
		s := c.Operations["*"]
		op := &gate.Operation{API: api.Name, Key: "*", Method: "*", Template: "/*", Stream: streamOf("", s.Stream)}
		op.Access, op.Open = accessOf(nil, s, "operations.*", m)
		api.Operations = []*gate.Operation{op}
	default:
		for _, o := range api.Contract.Operations {
			s, place := said(o)
			op := &gate.Operation{API: api.Name, Key: o.ID, Method: o.Method, Template: o.Template, Contract: o, Pointer: o.Pointer, Stream: streamOf(o.Stream, s.Stream)}
			op.Access, op.Open = accessOf(o, s, place, m)
			api.Operations = append(api.Operations, op)
		}
	}
	known := make([]string, 0, 2*len(api.Operations))
	for _, op := range api.Operations {
		known = append(known, op.Key, op.Method+" "+op.Template)
	}
	for key := range c.Operations {
		if !slices.Contains(known, key) {
			near := mistake.Nearest(key, known)
			m.Add("operations."+key, near, "the contract declares no operation %q", key)
		}
	}
}

func streamOf(contract string, said StreamConfig) gate.Stream {
	s := gate.Stream{Kind: contract, Origins: said.Origins, Message: int64(said.Message), Longest: said.Longest}
	if said.Kind != "" {
		s.Kind = string(said.Kind)
	}
	if s.Message == 0 && s.Kind != "upload" {
		s.Message = 1 << 20
	}
	return s
}

// route makes the matcher, and each operation's plan.
func (s *site) route(api *gate.API, admitted []stage, m *mistake.List) {
	entries := make([]route.Entry[*plan], 0, len(api.Operations))
	for _, op := range api.Operations {
		p := &plan{op: op, admit: admitted}
		for _, st := range admitted {
			p.reads = p.reads || st.body != nil && st.body.NeedsBody(op)
		}
		s.plans = append(s.plans, p)
		e := route.Entry[*plan]{Method: op.Method, Template: op.Template, Value: p, Place: op.Pointer}
		if op.Method == "*" {
			e.Template, e.Below = "/", true
		}
		entries = append(entries, e)
	}
	table, err := route.New(entries)
	m.Under("contract", err)
	s.routes = table
}

// identity takes from the identity guard what the server behind is told. Where the guard is off nobody is named, what a
// client says under the usual names is removed all the same, and the credential goes on: the gateway has not used it.
func (s *site) identity(admitted []stage) {
	s.names, s.pass = identity.DefaultHeaders(), true
	for _, st := range admitted {
		if g, ok := st.check.(*identity.Guard); ok {
			s.names, s.pass = g.Headers(), g.PassCredential()
			s.api.Credentials = g.Credentials()
		}
	}
}

// place puts the site under its hosts. Two APIs that would answer for the same host and base are a mistake.
func (g *Gateway) place(s *site, m *mistake.List) {
	put := func(list []*site, where string) []*site {
		for _, other := range list {
			if other.api.Base == s.api.Base {
				m.Add("base", "", "API %q is already reached at %s%s", other.api.Name, where, s.api.Base)
			}
		}
		return s.among(list)
	}
	for _, other := range g.inOrder {
		if other.api.Name == s.api.Name {
			m.Add("name", "", "two APIs are named %q", s.api.Name)
		}
	}
	g.inOrder = append(g.inOrder, s)
	if len(s.api.Hosts) == 0 {
		g.any = put(g.any, "")
	}
	for _, h := range s.api.Hosts {
		g.hosts[h] = put(g.hosts[h], h)
	}
	for _, name := range s.names.All() { // once each: every field of every request is compared with all of them
		if !slices.Contains(g.canon.Managed, name) {
			g.canon.Managed = append(g.canon.Managed, name)
		}
	}
}

// among adds the site to those at a host; the longest base comes first.
func (s *site) among(list []*site) []*site {
	list = append(list, s)
	sort.SliceStable(list, func(i, j int) bool { return len(list[i].base) > len(list[j].base) })
	return list
}

// stages builds the guards of one phase for one API; i is -1 for requests to no API.
func stages(d *config.Document, p phase, i int, api *gate.API, t Tools, m *mistake.List) []stage {
	var list []stage
	for _, st := range order() {
		if st.phase != p {
			continue
		}
		path := "guards." + st.name
		if own := fmt.Sprintf("apis[%d].guards.%s", i, st.name); i >= 0 && d.Keys(own) != nil {
			path = own
		}
		s, err := st.build(d, path, api, t)
		m.Under("", err)
		if err == nil {
			list = append(list, s)
		}
	}
	return list
}

// limitsOf gives the limits that readers work with.
func limitsOf(list []stage) *limits.Guard {
	for _, s := range list {
		if g, ok := s.check.(*limits.Guard); ok {
			return g
		}
	}
	return limits.Off()
}

func segmentsOf(base string) []string {
	if base == "" {
		return nil
	}
	_, segments, _ := canon.Path(base)
	return segments
}

// unique drops mistakes that two readers of the same section have both found.
func unique(list mistake.List) mistake.List {
	var out mistake.List
	for _, one := range list {
		if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}
