package confine

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/gatehouse-sec/gatehouse/guard/waf/identity"
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// mask gives the rules whose first test can match none of the texts, whatever the values around them. It is nil when
// nothing can be said.
func (r *Rules) mask(t texts) *Mask {
	if t.any || t.isNone() {
		return nil
	}
	return r.known(t, false)
}

// nameMask is mask for keys: asked only of rules that read keys, and with less effort, since there are many keys.
func (r *Rules) nameMask(t texts) *Mask {
	if t.any || t.isNone() {
		return nil
	}
	return r.known(t, true)
}

// question is what masks are remembered by.
type question struct {
	texts [sha256.Size]byte
	names bool
}

func (r *Rules) known(t texts, names bool) *Mask {
	key := question{fingerprint(t), names}
	if known, ok := r.masks.Load(key); ok {
		return known.(*Mask)
	}
	m := r.prove(t, names)
	r.masks.Store(key, m)
	return m
}

func (r *Rules) prove(t texts, names bool) *Mask {
	if t.parts != nil && t.shape == "" && minus(t.parts.bytes, span('0', '9')) == (literal.ByteSet{}) {
		t.shape = "number" // digits alone are one
	}
	m := r.newMask()
	p := prover{rules: r, texts: t, made: t.made(), chains: map[[2]int][]forms{}, left: mostVisits}
	if names {
		p.left = 0
	}
	for i := range r.tests {
		if (names && r.tests[i].names || !names && r.tests[i].values) && p.never(i) {
			m.add(i)
		}
	}
	if m.size == 0 {
		return nil
	}
	return m
}

// prover asks about one set of texts.
type prover struct {
	rules  *Rules
	texts  texts
	made   *parts
	chains map[[2]int][]forms // number of a chain, and 1 for multiMatch -> what its operator may see; nil for anything
	work   identity.Work
	seen   []string
	left   int // visits for searches
}

// never tells that a rule's first test can match none of the texts.
func (p *prover) never(place int) bool {
	t := &p.rules.tests[place]
	switch {
	case !t.askable:
		return false
	case (t.conceived || t.machine != nil) && p.excluded(t):
		return true
	case t.numbers && quiet(p.texts.shape, p.rules.chains[t.chain]):
		return true
	}
	return p.texts.isList() && p.asked(place)
}

// excluded tells that no text meets the condition, after the transformations.
func (p *prover) excluded(t *test) bool {
	key := [2]int{t.chain, 0}
	if t.multi {
		key[1] = 1
	}
	all, known := p.chains[key]
	if !known {
		all = p.through(t)
		p.chains[key] = all
	}
	for i := range all {
		if t.conceived && !all[i].meets(&t.condition) {
			continue
		}
		if t.machine == nil || p.finds(t.machine, all[i].plain) {
			return false
		}
	}
	return all != nil
}

// finds tells that an expression may match one of the texts.
func (p *prover) finds(machine func() *machine, made *parts) bool {
	if !made.ascii() || p.left <= 0 {
		return true
	}
	m := machine()
	return m == nil || m.finds(made.steps(), made.most, &p.left) && (made.way == nil || m.finds(made.way, made.most, &p.left))
}

// through gives what the operator may see of the texts: what they are at the end of the chain, or with multiMatch at each
// step of it. The engine passes over a step that does not say that it changed something, so that then the texts from before
// it stay beside those after it. It is nil when a step is not known.
func (p *prover) through(t *test) []forms {
	now := p.made
	all := []forms{formsOf(now)}
	for _, name := range p.rules.chains[t.chain] {
		next, ok := change(name, now)
		if !ok {
			return nil
		}
		if next == now {
			continue
		}
		if t.multi {
			next = join(texts{parts: now}, texts{parts: next}).parts
		}
		now = next
		all = append(all, formsOf(now))
	}
	return all[len(all)-1:] // with multiMatch it holds those before
}

// asked asks the engine's operator about each text.
func (p *prover) asked(place int) bool {
	rule, t := p.rules.list[place], &p.rules.tests[place]
	for _, text := range p.texts.list {
		p.seen = p.seen[:0]
		if t.multi {
			p.seen = p.rules.tree.ApplyAll(text, identity.Of(text), t.chain, &p.work, p.seen)
		} else {
			p.seen = append(p.seen, p.rules.tree.Apply(text, identity.Of(text), t.chain, &p.work))
		}
		for _, form := range p.seen {
			if rule.Test.Operator.Evaluate(secrule.Idle{}, form) != rule.Test.Negated {
				return false
			}
		}
	}
	return true
}

// quiet tells of grammars about which libinjection says nothing, behind transformations that do no more than turn + into a
// blank. That is no proof from its source; a test asks it about every form of them, digits being all alike to it.
func quiet(shape string, chain []string) bool {
	if shape == "" {
		return false
	}
	for _, name := range chain {
		if !strings.Contains(" none utf8tounicode urldecode urldecodeuni removenulls lowercase ", " "+name+" ") {
			return false
		}
	}
	return true
}

// fingerprint is equal for equal sets.
func fingerprint(t texts) [sha256.Size]byte {
	h := sha256.New()
	word := func(n uint64) { h.Write(binary.LittleEndian.AppendUint64(nil, n)) }
	text := func(s string) {
		word(uint64(len(s)))
		h.Write([]byte(s))
	}
	text(t.shape)
	word(uint64(len(t.list)))
	for _, s := range t.list {
		text(s)
	}
	if t.parts != nil {
		word(uint64(t.parts.most))
		for _, set := range [][4]uint64{t.parts.bytes, t.parts.first, t.parts.last} {
			for _, w := range set {
				word(w)
			}
		}
		for _, c := range members(t.parts.bytes) {
			for _, w := range t.parts.pairs[c] {
				word(w)
			}
		}
		t.parts.way.write(word)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
