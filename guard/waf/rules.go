package waf

import (
	"fmt"
	"sync"
	"sync/atomic"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
)

// directives configure the engine. Bodies come here only after they were read strictly and within the API's limits, so
// the engine's own limit is only a second wall; nothing is written to disk and answers are not inspected. Methods and
// media types are the contract's business and are therefore opened for each request to just what the contract admitted.
const directives = `
SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 134217728
SecRequestBodyInMemoryLimit 134217728
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 1024
SecArgumentsLimit 100000
SecResponseBodyAccess Off
SecAuditEngine Off
SecRxPreFilter On
SecAction "id:100000,phase:1,pass,nolog,t:none,ctl:forceRequestBodyVariable=On"
SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" "id:100001,phase:1,pass,nolog,t:none,t:lowercase,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/(?:json|[a-z0-9.-]+[+]json)" "id:100002,phase:1,pass,nolog,t:none,t:lowercase,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:100003,phase:2,log,deny,status:400,t:none,msg:'Request body could not be parsed'"
SecRule ARGUMENTS_LIMIT_REACHED "!@eq 0" "id:100004,phase:2,log,deny,status:400,t:none,msg:'More arguments than the engine takes'"
Include @crs-setup.conf.example
SecAction "id:100010,phase:1,pass,nolog,t:none,setvar:tx.early_blocking=0,setvar:tx.enforce_bodyproc_urlencoded=0"
Include @owasp_crs/*.conf
`

// Rules is the Core Rule Set, compiled once and shared by all APIs. The zero Rules is not usable; see Load.
type Rules struct {
	once  sync.Once
	set   *ruleSet
	err   error
	rooms sync.Pool
}

// ruleSet is what compiling gives.
type ruleSet struct {
	engine  coraza.WAF
	clock   watch
	filter  atomic.Pointer[prefilter.Filter] // nil until it is derived, and when the rules are not understood
	derived chan struct{}                    // closed when that is known
	why     error                            // why there is no filter
	levels  sync.Map                         // paranoia and threshold -> *prefilter.Level without exceptions
}

// Load begins to compile the rules and returns at once; the first request that needs them waits for the end.
func Load() *Rules {
	r := new(Rules)
	go func() { _, _ = r.compiled() }() // Ready and Check tell the error
	return r
}

// compiled waits until the rules are usable.
func (r *Rules) compiled() (*ruleSet, error) {
	r.once.Do(func() {
		engine, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
		if err != nil {
			r.err = fmt.Errorf("compile the core rule set: %w", err)
			return
		}
		s := &ruleSet{engine: engine, derived: make(chan struct{})}
		rules, err := secrule.Read(engine)
		if err == nil {
			err = secrule.Wrap(engine, s.clock.wrap)
		}
		if err != nil {
			r.err = fmt.Errorf("read the core rule set: %w", err)
			return
		}
		r.set = s
		go s.derive(rules) // until then the engine judges all
	})
	return r.set, r.err
}

// derive makes the prefilter.
func (s *ruleSet) derive(rules []*secrule.Rule) {
	defer close(s.derived)
	f, err := prefilter.New(rules, coreruleset.FS)
	if err != nil {
		s.why = err
		return
	}
	s.filter.Store(f)
}

// Ready waits until the rules are compiled, and tells why they cannot be.
func (r *Rules) Ready() error {
	_, err := r.compiled()
	return err
}

// room is what judging one request needs; it is used again.
type room struct {
	view view.View
	work *prefilter.Work
}

func (r *Rules) room() *room {
	if found, ok := r.rooms.Get().(*room); ok {
		return found
	}
	n := new(room)
	return n
}

// ready gives the room what a prefilter needs.
func (n *room) ready(l *prefilter.Level) {
	if n.work == nil {
		n.work = l.NewWork()
	}
}

// giveBack keeps the room, without anything of the request in it.
func (r *Rules) giveBack(n *room) {
	n.view.Reset()
	if n.work != nil {
		n.work.Forget()
	}
	r.rooms.Put(n)
}
