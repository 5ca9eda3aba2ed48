package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// tokenCheck refuses, before the tree is built, what the small part of YAML that we read does not contain, and keeps the
// nesting within bounds so that no document can exhaust the stack.
type tokenCheck struct {
	lines []string
	found mistake.List
	told  map[int]bool // lines that have a mistake already: what follows from it is not told
	depth int          // of [ and {
	keyed []int        // line of the last ":" for each open bracket, 0 after a separator
	place cursor
	line  int // at which the present token begins, counted from what the tokens cover
}

// checkTokens gives the mistakes that the tokens alone show.
func checkTokens(tokens token.Tokens, lines []string) mistake.List {
	c := &tokenCheck{lines: lines, told: map[int]bool{}, keyed: []int{0}, place: cursor{lines: lines}, line: 1}
	dashes, dashLine, reached := 0, 0, 0
	for i, t := range tokens {
		lead := len(t.Origin) - len(strings.TrimLeft(t.Origin, " \n"))
		begin := c.line + strings.Count(t.Origin[:lead], "\n")
		reached = max(reached, t.Position.Line, begin+strings.Count(strings.TrimRight(t.Origin[lead:], " \n"), "\n"))
		c.line += strings.Count(t.Origin, "\n")
		if t.Type == token.SequenceEntryType {
			if t.Position.Line != dashLine {
				dashes, dashLine = 0, t.Position.Line
			}
			if dashes++; dashes > maxDepth {
				c.refuse(t, "", tooDeep())
				return c.found
			}
		}
		if !c.token(i, t, tokens, begin) {
			return c.found
		}
	}
	// The lexer drops what it has not finished at the end of a text without a line end.
	if last := lastLine(lines); len(c.found) == 0 && reached < last {
		c.refuseAt(last, 1, "", "this line is no YAML that can be read")
	}
	return c.found
}

// lastLine is the last line that is not blank, or 0.
func lastLine(lines []string) int {
	for i := len(lines); i > 0; i-- {
		if strings.TrimSpace(lines[i-1]) != "" {
			return i
		}
	}
	return 0
}

func tooDeep() string { return fmt.Sprintf("nested more than %d deep", maxDepth) }

func (c *tokenCheck) refuse(t *token.Token, write, what string) {
	c.refuseAt(t.Position.Line, t.Position.Column, write, what)
}

func (c *tokenCheck) refuseAt(line, column int, write, what string) {
	if !c.told[line] {
		c.told[line] = true
		c.found = append(c.found, placed("", line, column, write, what))
	}
}

// token looks at one token; false means that looking further makes no sense.
func (c *tokenCheck) token(i int, t *token.Token, all token.Tokens, begin int) bool {
	switch t.Type {
	case token.AnchorType:
		c.refuse(t, c.quoteRest(t), "an anchor (&); anchors and aliases are not read: write the value again where it is needed, or quote it")
	case token.AliasType:
		c.refuse(t, c.quoteRest(t), "an alias (*); aliases are not read: write the value again, or quote it when the star belongs to it")
	case token.MergeKeyType:
		c.refuse(t, "", "a merge key (<<); merging is not read: write the keys again")
	case token.TagType:
		c.refuse(t, c.quoteRest(t), "a tag (!); tags are not read: leave it out, or quote the value when it belongs to it")
	case token.DirectiveType:
		c.refuse(t, "", "a directive (%); directives are not read: leave the line out")
	case token.MappingKeyType:
		c.refuse(t, "key: value", "a complex key (?)")
	case token.DocumentEndType:
		c.refuse(t, "", "an end of document (...); a file holds one document: leave the line out")
	case token.DocumentHeaderType:
		if !firstToken(all[:i]) {
			c.refuse(t, "", "a second document (---); a file holds one document")
			return false
		}
		if i+1 < len(all) && all[i+1].Type != token.CommentType && all[i+1].Position.Line == t.Position.Line {
			c.refuse(all[i+1], "", "text behind --- in its line")
		}
	case token.SequenceStartType, token.MappingStartType:
		c.depth++
		c.keyed = append(c.keyed, 0)
		if c.depth > maxDepth {
			c.refuse(t, "", tooDeep())
			return false
		}
		if i+1 < len(all) && all[i+1].Type == token.CollectEntryType {
			c.refuse(all[i+1], "", "a comma without anything before it")
		}
	case token.SequenceEndType, token.MappingEndType:
		if c.depth > 0 {
			c.depth--
			c.keyed = c.keyed[:len(c.keyed)-1]
		}
	case token.CollectEntryType:
		c.keyed[len(c.keyed)-1] = 0
	case token.LiteralType, token.FoldedType:
		switch strings.TrimSpace(t.Origin) {
		case "|", "|-", "|+", ">", ">-", ">+":
			if i == len(all)-1 {
				c.refuse(t, "", "a block of text with nothing in it")
			}
		default:
			c.refuse(t, "", "something behind | or >; write the mark alone and indent the text below it")
		}
	case token.MappingValueType:
		c.colon(t)
		if i > 0 && i+1 < len(all) && all[i-1].Type != token.DoubleQuoteType && all[i-1].Type != token.SingleQuoteType {
			c.adjacent(t, all[i+1])
		}
	case token.SingleQuoteType, token.DoubleQuoteType, token.StringType:
		if t.Type == token.DoubleQuoteType {
			c.escapes(t)
		}
		if i > 0 && (isBlock(all[i-1].Type) || i > 1 && all[i-1].Type == token.CommentType && isBlock(all[i-2].Type)) {
			c.blockText(t, begin)
		} else {
			c.oneLine(t, begin, lacksColon(i, begin, all))
		}
	}
	return true
}

func isBlock(t token.Type) bool { return t == token.LiteralType || t == token.FoldedType }

func firstToken(before token.Tokens) bool {
	for _, t := range before {
		if t.Type != token.CommentType {
			return false
		}
	}
	return true
}

// escape is what may stand behind a backslash in quotes. Line ends and tabs are read here and refused in the value.
var escape = regexp.MustCompile(`^(?:["\\/nt]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})`)

// escapes refuses escapes that the lexer lets through: it reads \uSa6p, and halves of a surrogate pair.
func (c *tokenCheck) escapes(t *token.Token) {
	if t.Position.Line < 1 || t.Position.Line > len(c.lines) || c.told[t.Position.Line] {
		return
	}
	text := c.place.seek(t.Position.Line, t.Position.Column)[c.place.offset:]
	for i := 1; i < len(text) && text[i] != '"'; i++ {
		if text[i] != '\\' {
			continue
		}
		word := escape.FindString(text[i+1:])
		if word == "" || badRune(word) {
			c.refuseAt(t.Position.Line, t.Position.Column+runes(text[:i]), `\u00e9`, "a backslash that begins no character; write the character itself, or \\\\ for a backslash")
			return
		}
		i += len(word)
	}
}

// badRune tells that an escape by number is no character.
func badRune(word string) bool {
	if len(word) == 1 {
		return false
	}
	n, err := strconv.ParseUint(word[1:], 16, 32)
	return err != nil || n > unicode.MaxRune || !utf8.ValidRune(rune(n))
}

// blockText refuses blocks of text of which readers make different things: with spaces at the end of a line, with a line
// that is indented otherwise than the first, or with nothing in them.
func (c *tokenCheck) blockText(t *token.Token, begin int) {
	lines := strings.Split(strings.TrimRight(t.Origin, "\n"), "\n")
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
	if last := begin + len(lines) - 1; !strings.HasSuffix(t.Origin, "\n") && last == len(c.lines) {
		c.refuseAt(last, runes(c.lines[last-1]), "", "the file ends in a block of text; end its last line")
	}
	for i, line := range lines {
		switch {
		case strings.TrimSpace(lines[0]) == "":
			c.refuse(t, "", "a block of text that begins with an empty line, or has none")
		case line == "":
		case strings.HasSuffix(line, " "):
			c.refuseAt(begin+i, runes(line), "", "spaces at the end of a line of a block of text")
		case len(line)-len(strings.TrimLeft(line, " ")) < indent:
			c.refuseAt(begin+i, 1, "", "a line of a block of text that is indented less than its first")
		}
	}
}

// lacksColon tells that a text of several lines begins where a key is wanted and ends as one: its first line has no colon.
func lacksColon(i, begin int, all token.Tokens) bool {
	endsAsKey := i+1 < len(all) && all[i+1].Type == token.MappingValueType
	for i > 0 && all[i-1].Type == token.CommentType {
		i--
	}
	return endsAsKey && (i == 0 || all[i-1].Type != token.MappingValueType || all[i-1].Position.Line < begin)
}

// colon refuses "a: b: c", on one line or in one place of a bracket.
func (c *tokenCheck) colon(t *token.Token) {
	last := &c.keyed[len(c.keyed)-1]
	if c.depth > 0 && *last != 0 || c.depth == 0 && *last == t.Position.Line {
		c.refuse(t, "", "a second colon where one value is wanted; quote the text when the colon belongs to it")
	}
	*last = t.Position.Line
}

// adjacent refuses "{a:b}", which this lexer takes for a key and its value and others for one text.
func (c *tokenCheck) adjacent(t, next *token.Token) {
	switch next.Type {
	case token.CommentType:
		if text := c.lines[t.Position.Line-1]; next.Position.Line == t.Position.Line && strings.Contains(text, ":#") {
			c.refuse(t, "", "a comment directly behind a colon; write a space between them")
		}
		return
	case token.CollectEntryType, token.MappingEndType, token.SequenceEndType:
		return
	}
	if next.Origin != "" && next.Origin[0] != ' ' && next.Origin[0] != '\n' && next.Position.Line == t.Position.Line {
		c.refuse(t, "", "a colon without a space after it; write a space, or quote the text when the colon belongs to it")
	}
}

// oneLine refuses text that runs on over lines: with quotes it is most often a quote that was not closed, without quotes
// a line that is indented too far. Both would swallow keys.
func (c *tokenCheck) oneLine(t *token.Token, begin int, isKey bool) {
	text := strings.Trim(t.Origin, " \n")
	first, rest, more := strings.Cut(text, "\n")
	if t.Type != token.StringType {
		if more {
			line, column := c.locate(begin, t.Position.Line, first)
			c.refuseAt(line, column, "", "the quote that opens here is not closed on its line; for text of several lines write a block with |")
		}
		return
	}
	if more && isKey {
		line, column := c.locate(begin, t.Position.Line, strings.TrimSpace(first))
		c.refuseAt(line, column, "key: value", "a key is followed directly by a colon and a space; there is none in this line")
		return
	}
	if more {
		line := begin + 1 + strings.Count(rest, "\n") - strings.Count(strings.TrimLeft(rest, " \n"), "\n")
		word, _, _ := strings.Cut(strings.TrimLeft(rest, " \n"), "\n")
		line, column := c.locate(line, t.Position.Line, strings.TrimSpace(word))
		c.refuseAt(line, column, "", "this line is indented so far that it continues the value above it; indent it as its neighbours, or write a block with |")
		return
	}
	if strings.Contains(text, ": ") || strings.HasSuffix(text, ":") {
		c.refuse(t, "", "a second colon where one value is wanted; quote the text when the colon belongs to it")
		return
	}
	if c.depth > 0 && strings.ContainsAny(text, "[]{}") {
		c.refuse(t, "", "a bracket inside text that stands in brackets; quote the text when the bracket belongs to it")
		return
	}
	if word, _, _ := strings.Cut(text, " "); word == "?" || word == "-" || word == ":" || c.depth > 0 && strings.ContainsAny(text[:min(1, len(text))], ":?-") && styleOf(text) == plain || text != "" && strings.Contains(",[]{}#&*!|>'\"%@`", text[:1]) {
		c.refuse(t, "", "a value that begins with "+text[:1]+"; quote it when that belongs to it")
	}
}

// locate finds text at the first of the lines that has it; a token's own place is not reliable when it spans lines.
func (c *tokenCheck) locate(line, other int, text string) (int, int) {
	for _, l := range []int{line, other} {
		if l < 1 || l > len(c.lines) {
			continue
		}
		if at := strings.Index(c.lines[l-1], text); at >= 0 {
			return l, runes(c.lines[l-1][:at]) + 1
		}
	}
	return min(max(line, 1), len(c.lines)), 1
}

// quoteRest gives what stands from the token to the end of its line, in quotes, if it is short and plain.
func (c *tokenCheck) quoteRest(t *token.Token) string {
	if t.Position.Line > len(c.lines) || c.told[t.Position.Line] {
		return ""
	}
	rest := afterColumn(c.lines[t.Position.Line-1], t.Position.Column)
	rest, _, _ = strings.Cut(rest, " ")
	rest = strings.TrimRight(rest, ",]}")
	if rest == "" || len(rest) > 60 || strings.ContainsAny(rest, `"\`) || looksSecret(rest) {
		return ""
	}
	return `"` + rest + `"`
}
