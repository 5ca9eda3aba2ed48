package traffic

import (
	"embed"
	"strings"
)

//go:embed prose/*.txt talk.txt values.txt
var texts embed.FS

// languages are the files in prose.
var languages = [...]string{"english", "german", "french", "spanish", "russian", "chinese", "japanese", "arabic"}

// Prose gives a text of a few paragraphs in each of eight languages.
func Prose() []string {
	var list []string
	for _, l := range languages {
		list = append(list, strings.TrimSpace(read("prose/"+l+".txt")))
	}
	return list
}

// Paragraphs gives the paragraphs of Prose.
func Paragraphs() []string {
	var list []string
	for _, text := range Prose() {
		list = append(list, strings.Split(text, "\n\n")...)
	}
	return list
}

// Talk gives sentences that talk about code and SQL.
func Talk() []string { return lines("talk.txt") }

// Values gives what stands in the JSON of real APIs: names, addresses, links, tokens, markdown, prices.
func Values() []string { return lines("values.txt") }

func lines(name string) []string { return strings.Split(strings.TrimSpace(read(name)), "\n") }

func read(name string) string {
	text, _ := texts.ReadFile(name) // it is in the program
	return string(text)
}
