package main

import (
	"slices"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
	"github.com/gatehouse-sec/gatehouse/bench/traffic"
	"github.com/gatehouse-sec/gatehouse/bench/traffic/everyday"
)

// part is some lines of a table and their sum.
type part struct {
	sum    string // what the sum is called
	attack bool
	apart  bool // it is no part of the goal
	groups []group
}

// group is a line.
type group struct {
	name     string
	requests []firewall.Request
	shown    []string // what is listed of each
}

func (p *part) add(name, shown string, r firewall.Request) {
	at := slices.IndexFunc(p.groups, func(g group) bool { return g.name == name })
	if at < 0 {
		at, p.groups = len(p.groups), append(p.groups, group{name: name})
	}
	g := &p.groups[at]
	g.requests, g.shown = append(g.requests, r), append(g.shown, shown)
}

// benign is what must not be denied: whole requests by operation, texts alone by what becomes of them, and others' texts as
// reviews.
func benign(root string, odd bool, number int) ([]part, error) {
	requests, values, others := part{sum: "requests"}, part{sum: "texts"}, part{sum: "others' texts, as a review", apart: true}
	for _, r := range everyday.Requests(odd, number) {
		requests.add(r.Operation, string(r.Body), r.Request)
	}
	kinds, err := byField()
	if err != nil {
		return nil, err
	}
	for _, v := range everyday.Values(odd) {
		values.add("text for "+kinds[v.Field], v.Operation+" "+v.Name+": "+v.Text, everyday.With(v.Field, v.Text))
	}
	naughty, err := traffic.Naughty(root)
	if err != nil {
		return nil, err
	}
	review := everyday.Field{Operation: "addReview", Name: "text"}
	for _, one := range []struct {
		name  string
		texts []string
	}{{"naughty strings", naughty}, {"prose, eight languages", traffic.Paragraphs()}, {"code talked about", traffic.Talk()}, {"values of APIs", traffic.Values()}} {
		for _, text := range one.texts {
			others.add(one.name, text, everyday.With(review, text))
		}
	}
	return []part{requests, values, others}, nil
}

func byField() (map[everyday.Field]string, error) {
	list, err := everyday.Fields()
	kinds := map[everyday.Field]string{}
	for _, d := range list {
		kinds[d.Field] = d.Kind()
	}
	return kinds, err
}

// hurts are the classes of attacks that can hurt what becomes of a text. Where nothing is said, or the schema says what the
// value looks like, any can.
var hurts = map[string][]string{"html": {"xss"}, "sql": {"sqli", "nosql"}, "shell": {"shell", "template"}, "path": {"files"}, "url": {"rfi"}, "none": {}}

// hostile is what is to be denied, each attack in two fields of a kind; and apart from the goal, in texts of which the
// contract says that it can't hurt them.
func hostile(attacks []traffic.Attack) ([]part, error) {
	fields, err := everyday.Fields()
	if err != nil {
		return nil, err
	}
	places := []part{
		{sum: "attacks on what becomes of the text", attack: true}, {sum: "where nothing is said of the text", attack: true},
		{sum: "where the schema says what the value looks like", attack: true}, {sum: "attacks on what does not become of the text", attack: true, apart: true},
	}
	for n, a := range attacks {
		choice := [4][]everyday.Declared{}
		for _, d := range fields {
			place := 0
			switch classes, said := hurts[d.Kind()]; {
			case d.Kind() == "unsaid":
				place = 1
			case d.Kind() == "confined":
				place = 2
			case said && !slices.Contains(classes, a.Class):
				place = 3
			}
			choice[place] = append(choice[place], d)
		}
		for i, list := range choice {
			for k := range min(2, len(list)) {
				d := list[(2*n+k)%len(list)]
				places[i].add(a.Class, d.Operation+" "+d.Name+": "+a.Text, everyday.With(d.Field, a.Text))
			}
		}
	}
	return places, nil
}
