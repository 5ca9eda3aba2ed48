// Package mutate makes wrong documents out of a right one, for tests: each differs in one place, is wrong by construction,
// and says where and how. A reader that accepts one has failed open.
//
// It reads the right document line by line, by eye as it were, and shares nothing with the reader under test. The document
// must be written in block style; what stands in brackets on one line is left alone.
package mutate

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"sort"
	"strings"
)

// Mutation is one wrong document.
type Mutation struct {
	Class  string // the kind of mistake, such as "typo" or "bad duration"
	Doc    []byte
	Line   int    // where a reader must place the mistake, 1-based
	Column int    // in characters, 1-based
	Word   string // of a typo in a key or a word: the right word, which a reader should suggest; else ""
}

// Hints say what the document may contain. Schema is its JSON Schema, which must use no $ref.
type Hints struct {
	Schema []byte
}

// All makes n mutations of doc, evenly over the classes that the document has room for. The same seed gives the same
// mutations. It panics when the schema cannot be read or the document has no room for any mutation.
func All(doc []byte, seed int64, n int, hints Hints) []Mutation {
	var schema any
	if err := json.Unmarshal(hints.Schema, &schema); err != nil {
		panic("mutate: " + err.Error())
	}
	m := &maker{random: rand.New(rand.NewSource(seed)), lines: strings.Split(strings.TrimRight(string(doc), "\n"), "\n")}
	m.entries = scan(m.lines, schema)
	classes := m.classes()
	names := make([]string, 0, len(classes))
	for name, makers := range classes {
		if len(makers) > 0 {
			names = append(names, name)
		}
		if len(makers) > 0 && (name == "typo" || name == "bad word") {
			names = append(names, name, name, name, name) // the slips that people make most
		}
	}
	if len(names) == 0 {
		panic("mutate: the document has no room for a mutation")
	}
	sort.Strings(names)
	list := make([]Mutation, 0, n)
	for i := 0; len(list) < n; i++ {
		name := names[i%len(names)]
		makers := classes[name]
		change := makers[m.random.Intn(len(makers))]()
		if change.Doc == nil {
			continue
		}
		change.Class = name
		list = append(list, change)
	}
	return list
}

// Classes counts mutations by class, for a test's printout.
func Classes(list []Mutation) string {
	count := map[string]int{}
	for _, m := range list {
		count[m.Class]++
	}
	words := make([]string, 0, len(count))
	for name, n := range count {
		words = append(words, fmt.Sprintf("%s %d", name, n))
	}
	sort.Strings(words)
	return strings.Join(words, ", ")
}

type maker struct {
	random  *rand.Rand
	lines   []string
	entries []*entry
}

// change makes a mutation, or one without Doc when chance made nothing wrong.
type change func() Mutation

// with gives the document with one line replaced by others, and the place.
func (m *maker) with(line int, place [2]int, word string, replacement ...string) Mutation {
	var b strings.Builder
	for i, text := range m.lines {
		if i != line {
			b.WriteString(text + "\n")
			continue
		}
		for _, r := range replacement {
			b.WriteString(r + "\n")
		}
	}
	return Mutation{Doc: []byte(b.String()), Line: place[0] + 1, Column: place[1] + 1, Word: word}
}
