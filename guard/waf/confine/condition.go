package confine

import (
	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
)

// The two runes beyond ASCII that literal.Fold writes as letters of ASCII, by their bytes.
const (
	longS  = "\u017f" // s
	kelvin = "\u212a" // k
)

// around is the byte that a condition has before and after the text.
const around = 0xff

// forms are texts as a condition reads them: as they are, folded, and folded without filler.
type forms struct{ plain, folded, bare *parts }

func formsOf(p *parts) forms {
	folded := fold(p)
	return forms{p, folded, folded.without(literal.Filler())}
}

// fold is what literal.Fold makes of texts.
func fold(p *parts) *parts {
	q := *p.mapped(func(c byte) byte {
		if c >= '\t' && c <= '\r' {
			return '\n'
		}
		return lower(c)
	})
	for range 2 { // one of the two may follow the other
		if q.pairs[longS[0]].Has(longS[1]) {
			q.stand('s', longS[0], longS[1])
		}
		if q.pairs[kelvin[0]].Has(kelvin[1]) && q.pairs[kelvin[1]].Has(kelvin[2]) {
			q.stand('k', kelvin[0], kelvin[2])
		}
	}
	return &q
}

// stand lets a byte stand also where a sequence of bytes stands.
func (p *parts) stand(c, first, last byte) {
	p.bytes.Add(c)
	p.pairs[c] = either(p.pairs[c], p.pairs[last])
	for i := range p.pairs {
		if p.pairs[i].Has(first) {
			p.pairs[i].Add(c)
		}
	}
	if p.first.Has(first) {
		p.first.Add(c)
	}
	if p.last.Has(last) {
		p.last.Add(c)
	}
}

// meets tells that one of the texts may meet a condition.
func (f *forms) meets(c *literal.Condition) bool {
	if c.Min > f.plain.most {
		return false
	}
	for _, set := range c.Bytes {
		if !set.Intersects(f.plain.bytes) {
			return false
		}
	}
	for _, clause := range c.Clauses {
		if !f.folded.holdsOne(clause) {
			return false
		}
	}
	for _, clause := range c.Bare {
		if !f.bare.holdsOne(clause) {
			return false
		}
	}
	return true
}

func (p *parts) holdsOne(literals []string) bool {
	for _, l := range literals {
		if p.mayHold(l) {
			return true
		}
	}
	return false
}

// mayHold tells that a literal may stand in one of the texts, with the byte around before and after it.
func (p *parts) mayHold(l string) bool {
	size := len(l)
	if l != "" && l[0] == around {
		size--
	}
	if len(l) > 1 && l[len(l)-1] == around {
		size--
	}
	if size > p.most {
		return false
	}
	for i := range len(l) {
		if l[i] != around && !p.bytes.Has(l[i]) || i > 0 && !p.mayFollow(l[i-1], l[i]) {
			return false
		}
	}
	return true
}

// mayFollow tells whether a byte may follow another, the bytes around counted in.
func (p *parts) mayFollow(before, after byte) bool {
	switch {
	case before == around && after == around:
		return true // the empty text
	case before == around && p.first.Has(after), after == around && p.last.Has(before):
		return true
	}
	return p.pairs[before].Has(after)
}
