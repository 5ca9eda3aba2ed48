package waf

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"regexp"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/confine"
	"github.com/gatehouse-sec/gatehouse/guard/waf/prefilter"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// directives configure the engine. Bodies come here only after they were read strictly and within the API's limits, so
// the engine's own limit is only a second wall; nothing is written to disk, and bodies of answers are handed over by
// package response. Methods and media types are the contract's business and are therefore opened for each request to just
// what the contract admitted.
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
SecRxPreFilter Off
SecRule REQBODY_ERROR "!@eq 0" "id:100003,phase:2,log,deny,status:400,t:none,msg:'Request body could not be parsed'"
SecRule ARGUMENTS_LIMIT_REACHED "!@eq 0" "id:100004,phase:2,log,deny,status:400,t:none,msg:'More arguments than the engine takes'"
Include @crs-setup.conf.example
SecAction "id:100010,phase:1,pass,nolog,t:none,setvar:tx.early_blocking=0,setvar:tx.enforce_bodyproc_urlencoded=0"
Include @owasp_crs/*.conf
`

// coreBegins is where the core rules begin in the directives, and coreEnds the last of them.
const (
	coreBegins = "Include @crs-setup.conf.example\n"
	coreEnds   = "Include @owasp_crs/*.conf\n"
)

// Rules are the rule sets in use: core rules alone, and with files of operators. Each is compiled once, shared by all APIs and
// documents that name the same files with the same content, and gone with the last of them. The zero Rules is not usable; see
// Load.
type Rules struct {
	core     *core // of the program, or the one on trial
	trial    bool  // documents have no say in which core rules there are
	mu       sync.Mutex
	releases map[string]weak.Pointer[core]               // by pin
	own      map[[sha256.Size]byte]weak.Pointer[ruleSet] // by what the engine is given
	learned  sync.Map                                    // name of an API -> *seclang.Learning
	rooms    sync.Pool
	carrier  *canon.Request // of what lies under further codings; never changed
	fast     atomic.Uint64  // requests whose outcome was shown without the engine
	slow     atomic.Uint64  // requests that the engine judged
}

// ruleSet is one set of rules.
type ruleSet struct {
	compile func() error // once
	engine  coraza.WAF
	clock   watch
	known   map[int]bool   // numbers of rules
	places  map[int]string // number of an operator's rule -> file:line
	rules   []*secrule.Rule
	files   fs.FS
	filters [4]derived // by paranoia level
	levels  sync.Map   // settings -> *prefilter.Level without exceptions
}

// derived is the prefilter of one paranoia level.
type derived struct {
	once    sync.Once
	done    chan struct{}     // closed when the two below are known
	filter  *prefilter.Filter // nil when the rules are not understood
	why     error             // why there is no filter
	said    chan struct{}     // closed when the one below is known
	confine *confine.Rules    // for what contracts say; nil when the rules are not understood
}

// Load begins to compile the rules and returns at once; the first request that needs them waits for the end.
func Load() *Rules {
	r := newRules(builtIn())
	compile := r.core.set.compile
	go func() { _ = compile() }() // Ready and Check tell the error
	return r
}

// LoadTrial begins to compile the rules for a trial: whatever documents say, these are the core rules.
func LoadTrial() *Rules {
	r := Load()
	r.trial = true
	return r
}

func newRules(c *core) *Rules {
	return &Rules{core: c, carrier: carrier(), releases: map[string]weak.Pointer[core]{}, own: map[[sha256.Size]byte]weak.Pointer[ruleSet]{}}
}

// learn gives the counts of an API, which outlive a document.
func (r *Rules) learn(api string) *seclang.Learning {
	found, _ := r.learned.LoadOrStore(api, new(seclang.Learning))
	return found.(*seclang.Learning)
}

// Learned is what the next paranoia level would deny, by API, where learning is on.
func (r *Rules) Learned() map[string]seclang.Learned {
	all := map[string]seclang.Learned{}
	r.learned.Range(func(api, l any) bool {
		all[api.(string)] = l.(*seclang.Learning).Report()
		return true
	})
	return all
}

// has tells whether there is a rule of that number; every number is one while the rules are not compiled.
func (s *ruleSet) has(rule int) bool { return s.compile() != nil || s.known[rule] }

// newSet is a set that is compiled when compile is first called.
func newSet(text string, files fs.FS) *ruleSet {
	s := &ruleSet{files: files, known: map[int]bool{}}
	for i := range s.filters {
		s.filters[i].done, s.filters[i].said = make(chan struct{}), make(chan struct{})
	}
	s.compile = sync.OnceValue(func() error {
		engine, err := engineOf(text, files)
		if err != nil {
			return fmt.Errorf("compile the rules: %w", err)
		}
		rules, err := secrule.Read(engine)
		if err == nil {
			err = secrule.Wrap(engine, s.clock.wrap)
		}
		if err != nil {
			return err
		}
		for _, rule := range rules {
			s.known[rule.ID] = true
		}
		s.engine, s.rules = engine, rules
		return nil
	})
	return s
}

// engineOf compiles. A panic of the engine is an error of the directives.
func engineOf(text string, files fs.FS) (engine coraza.WAF, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine breaks off: %v", p)
		}
	}()
	return coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(files).WithDirectives(text))
}

// with gives the set that has an operator's files too, compiled.
func (r *Rules) with(c *core, o own) (*ruleSet, error) {
	if len(o.before.Directives)+len(o.after.Directives) == 0 {
		return c.set, nil
	}
	text := c.ahead + o.before.Directives + c.rules + o.after.Directives
	sum := sha256.Sum256([]byte(text)) // lists of words stand in it by the hash of their content
	r.mu.Lock()
	s := r.own[sum].Value()
	if s == nil {
		s = newSet(text, o.over(c.files))
		s.places = o.places()
		r.own[sum] = weak.Make(s)
		for key, p := range r.own {
			if p.Value() == nil {
				delete(r.own, key)
			}
		}
	}
	r.mu.Unlock()
	return s, s.compile()
}

// Requests is how many requests were judged without the engine, and by it.
func (r *Rules) Requests() (fast, slow uint64) { return r.fast.Load(), r.slow.Load() }

// message is what a rule says when it matches, as it is written: what macros would put in may be the request's.
func (s *ruleSet) message(rule int) string {
	for _, r := range s.rules {
		if r.ID == rule {
			return unmade.ReplaceAllString(r.Message, "…")
		}
	}
	return ""
}

// unmade is a macro.
var unmade = regexp.MustCompile(`%\{[^}]*\}`)

// derive begins to make the prefilter of a paranoia level. Requests wait for it, as they do for the rules: the engine alone
// would take longer for some than they may take.
func (s *ruleSet) derive(paranoia int) *derived {
	d := &s.filters[paranoia-1]
	d.once.Do(func() {
		go func() {
			defer close(d.said)
			if d.why = s.compile(); d.why == nil {
				d.filter, d.why = prefilter.New(s.rules, s.files, paranoia)
			}
			close(d.done)
			if d.why != nil {
				return
			}
			if rules, err := confine.NewRules(s.rules, s.files); err == nil {
				d.confine = rules
			}
		}()
	})
	return d
}

// Ready waits until the core rules of the program are compiled, and tells why they cannot be.
func (r *Rules) Ready() error { return r.core.set.compile() }

// room is what judging one request needs; it is used again.
type room struct {
	view   view.View
	nested view.View // of what lies under further codings
	pairs  []view.Pair
	form   []canon.Pair
	work   *prefilter.Work
	find   prefilter.Find // what the contract says of the values
	meter  meter
}

func (r *Rules) room() *room {
	if found, ok := r.rooms.Get().(*room); ok {
		return found
	}
	return new(room)
}

// ready gives the room what a prefilter needs.
func (n *room) ready(l *prefilter.Level) {
	if !l.Fits(n.work) {
		n.work = l.NewWork()
	}
}

// giveBack keeps the room, without anything of the request in it.
func (r *Rules) giveBack(n *room) {
	n.view.Reset()
	n.forgetNested()
	n.find = nil
	if n.work != nil {
		n.work.Forget()
	}
	r.rooms.Put(n)
}
