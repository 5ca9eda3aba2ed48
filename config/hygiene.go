package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/leak"
)

// hidden stands in an excerpt wherever a secret may be.
const hidden = "••••"

// expansion is what other programs would replace by something else, and a reference to a secret where none is taken. It is
// compiled once and never changes.
var expansion = regexp.MustCompile(`\$\{[^}]*\}|\$\([^)]*\)|\{\{|\{\$[A-Za-z_]\w*\}|\{(?:env|file|http)\.[^}]*\}|^\$[A-Z_][A-Z0-9_]*$|^%[A-Z_][A-Z0-9_]*%$|^` + reference + `$`)

// reference is a reference to a secret, but for those to files: other things are named like that too.
const reference = `(?:env:[A-Za-z_]\w*|credential:\w[\w.-]*|store:[a-z0-9][a-z0-9._/-]*(?:@\d+)?|(?:vault|kubernetes):[\w.~+-]+/[\w./~+-]+#[\w.-]+)`

// beginsWithReference is a rest of a line that begins with one, as a value.
var beginsWithReference = regexp.MustCompile(`^["']?(?:file:|` + reference + `["']?(?:[\s,\]}]|$))`)

// looksSecret tells that text contains something that only chance or a key generator writes.
func looksSecret(text string) bool { return leak.Looks(text) }

// isCredential tells that text is known to be a secret by its form, not only by chance's look.
func isCredential(text string) bool { return leak.Credential(text) }

// secretWords are keys whose value is a secret by its name.
var secretWords = []string{"password", "passwd", "passphrase", "secret", "token", "credential", "key", "api_key"}

// maskLine gives a line of the document without anything that looks like a secret or stands under a key named like one.
// References to secrets stay.
func maskLine(line string) string {
	line = maskRuns(line, leak.Runs(line))
	var values [][2]int
	for _, at := range leak.Named(line) {
		value := strings.Trim(strings.TrimSpace(line[at[0]:at[1]]), `"'`)
		if !beginsWithReference.MatchString(strings.TrimSpace(line[at[0]:])) && styleOf(value) == plain {
			values = append(values, at)
		}
	}
	line = maskRuns(line, values)
	values = nil
	for _, at := range inQuery.FindAllStringSubmatchIndex(line, -1) {
		values = append(values, [2]int{at[2], at[3]})
	}
	return maskRuns(line, values)
}

func maskRuns(line string, runs [][2]int) string {
	for i := len(runs) - 1; i >= 0; i-- {
		line = line[:runs[i][0]] + hidden + line[runs[i][1]:]
	}
	return line
}

// inQuery is the value of a URL's parameter that is named like a secret.
var inQuery = regexp.MustCompile(`(?i)[?&;]\w*(?:passw(?:or)?d|pwd|passphrase|secret|token|credential|api_?key)=([^\s&;#"']+)`)

// maxExcerpt bounds what is shown of one line, in characters.
const maxExcerpt = 160

// excerpt is a line as it may be shown.
func (d *Document) excerpt(line int) string {
	if line < 1 || line > len(d.lines) {
		return ""
	}
	text := d.lines[line-1]
	if len(text) > 16*maxExcerpt {
		text = strings.ToValidUTF8(text[:16*maxExcerpt], "")
	}
	if column, ok := d.masked[line]; ok {
		rest := afterColumn(text, column)
		text = text[:len(text)-len(rest)] + hidden
	}
	text = maskLine(text)
	if all := []rune(text); len(all) > maxExcerpt {
		text = string(all[:maxExcerpt]) + "…"
	}
	return text
}

// show quotes text of the document for a message, unless it looks like a secret.
func show(text string) string {
	if looksSecret(text) {
		return "(not repeated)"
	}
	if all := []rune(text); len(all) > 60 {
		text = string(all[:60]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
