package openapi

import (
	"fmt"
	"slices"
)

// plan is an operation's parameters in the order in which they are checked.
type plan struct {
	path, query, header, cookie []*Parameter
	byName                      map[string]int // of query, when there are many
	spread                      map[string]int // names of properties of exploded objects, to the parameter
	spreadRest                  int            // the exploded object that takes every other name, or -1
	credentials                 []string       // names of query parameters that carry an API key
}

func makePlan(op *Operation, c *Contract) plan {
	p := plan{spreadRest: -1}
	for _, parameter := range op.Parameters {
		switch parameter.In {
		case "path":
			p.path = append(p.path, parameter)
		case "query":
			p.query = append(p.query, parameter)
		case "header":
			p.header = append(p.header, parameter)
		case "cookie":
			p.cookie = append(p.cookie, parameter)
		}
	}
	for i, parameter := range p.query {
		if !parameter.spreads() {
			continue
		}
		if p.spread == nil {
			p.spread = map[string]int{}
		}
		for _, f := range parameter.value.shape.properties {
			p.spread[f.name] = i
		}
		if parameter.value.shape.additional != nil {
			p.spreadRest = i
		}
	}
	if len(p.query) > 8 {
		p.byName = map[string]int{}
		for i, parameter := range p.query {
			p.byName[parameter.Name] = i
		}
	}
	for _, need := range op.Security.AnyOf {
		for _, name := range need.Schemes {
			for _, s := range c.Schemes {
				if s.Name == name && s.Type == "apiKey" && s.In == "query" && !slices.Contains(p.credentials, s.Key) {
					p.credentials = append(p.credentials, s.Key)
				}
			}
		}
	}
	return p
}

// conflict finds parameters that would take each other's values.
func (p *plan) conflict() error {
	rest, owners := 0, map[string]string{}
	for _, parameter := range p.query {
		names := []string{parameter.Name}
		if parameter.spreads() {
			names = nil
			for _, f := range parameter.value.shape.properties {
				names = append(names, f.name)
			}
			if parameter.value.shape.additional != nil {
				rest++
			}
		}
		for _, name := range names {
			if other, ok := owners[name]; ok {
				return fmt.Errorf("query parameters %q and %q both take %q", other, parameter.Name, name)
			}
			owners[name] = parameter.Name
		}
	}
	if rest > 1 {
		return fmt.Errorf("two exploded objects both take every undeclared query parameter")
	}
	return nil
}

// spreads tells that the parameter's properties are query parameters of their own names: an object in style form, exploded.
func (p *Parameter) spreads() bool {
	return p.In == "query" && p.Explode && p.Style != "" && p.Style != "deepObject" && p.value.shape.types.has(object)
}

// find gives the number of the query parameter that takes a name, or -1.
func (p *plan) find(name string) int {
	if p.byName != nil {
		if i, ok := p.byName[name]; ok && p.takes(i, name) {
			return i
		}
	} else {
		for i := range p.query {
			if p.query[i].Name == name && p.takes(i, name) {
				return i
			}
		}
	}
	for i, parameter := range p.query {
		if parameter.Style == "deepObject" && len(name) > len(parameter.Name) && name[len(parameter.Name)] == '[' && name[:len(parameter.Name)] == parameter.Name {
			return i
		}
	}
	if i, ok := p.spread[name]; ok {
		return i
	}
	return p.spreadRest
}

// takes tells that the parameter stands under its own name, which an exploded or deep object doesn't.
func (p *plan) takes(i int, name string) bool {
	parameter := p.query[i]
	if parameter.Style == "deepObject" {
		return false
	}
	if !parameter.spreads() {
		return true
	}
	_, own := p.spread[name]
	return own || p.spreadRest == i
}
