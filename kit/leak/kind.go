package leak

import (
	"regexp"
	"slices"
	"strings"
)

// Kind names what was found.
type Kind string

// Kinds that are no credential of one service. Those have names of their own, such as "github token".
const (
	PrivateKey  Kind = "private key"
	URLPassword Kind = "password in a URL"
	Literal     Kind = "literal under a secret's name"
	Random      Kind = "random text"
)

// Found is one finding in a line, as byte offsets.
type Found struct {
	Begin, End int
	Kind       Kind
}

// shape is how the credentials of one service look.
type shape struct {
	kind Kind
	hint string // stands in every one of them; looked for first, since that is quick
	form *regexp.Regexp
}

// shapes are the known forms, the most telling first. Each is bounded by what can't belong to it.
var shapes = []shape{
	{PrivateKey, "PRIVATE KEY", regexp.MustCompile(`-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----`)},
	{"gatehouse api key", "ghk_", regexp.MustCompile(`\bghk_[a-z2-7]{8}_[A-Za-z0-9_-]{48}`)},
	{"age key", "AGE-SECRET", regexp.MustCompile(`\bAGE-SECRET-KEY-[0-9A-Z-]{20,}`)},
	{"aws access key", "A", regexp.MustCompile(`\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b`)},
	{"github token", "g", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})`)},
	{"gitlab token", "gl", regexp.MustCompile(`\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_.-]{20,}`)},
	{"slack token", "xox", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`)},
	{"slack webhook", "hooks.slack", regexp.MustCompile(`\bhooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}`)},
	{"stripe key", "k_", regexp.MustCompile(`\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}`)},
	{"google key", "AIza", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`)},
	{"google token", "ya29", regexp.MustCompile(`\bya29\.[A-Za-z0-9_-]{20,}`)},
	{"vault token", "hv", regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{20,}`)},
	{"npm token", "npm_", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{30,}`)},
	{"pypi token", "pypi-", regexp.MustCompile(`\bpypi-[A-Za-z0-9_-]{40,}`)},
	{"digitalocean token", "_v1_", regexp.MustCompile(`\bdo[opr]_v1_[a-f0-9]{40,}`)},
	{"sendgrid key", "SG.", regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`)},
	{"shopify token", "shp", regexp.MustCompile(`\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{30,}`)},
	{"hugging face token", "hf_", regexp.MustCompile(`\bhf_[A-Za-z]{30,}`)},
	{"api key", "sk-", regexp.MustCompile(`\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]{24,}`)},
	{"telegram token", ":AA", regexp.MustCompile(`\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b`)},
	{"json web token", "eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`)},
	{"encrypted web token", "eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]*){4}`)},
}

// assigned is a value under a name: "password: it", PASSWORD=it, token := "it".
var assigned = regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:passw(?:or)?d|pwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credential)s?)["']?\s*(?::=|=>|[:=])\s*("[^"\n]*"|'[^'\n]*'|[^\s"'#,;{}\[\]()<>|]+)`)

// stated are names under which any literal is a secret.
var stated = regexp.MustCompile(`(?i)(?:passw(?:or)?d|pwd|passphrase)s?$`)

// elsewhere is text that says where a secret lies, or that there is none.
var elsewhere = regexp.MustCompile(`(?i)^(?:(?:file|env|credential|store|vault|kubernetes|https?|secret|arn|op|projects):|[a-z][a-z0-9+.-]*://|[/~.]|[$%]|<|\{|\*+$|\.\.\.|x+$|(?:my|your|the|an?|some|change|replace|insert|enter)[-_ ]|change[-_ ]?me|example|placeholder|redacted|\[|dummy|sample|todo|tbd|none$|null$|nil$|true$|false$|string$|integer$|required$|optional$|prompt$|stdin$)`)

// sample is what examples write for a password in a URL.
var sample = regexp.MustCompile(`(?i)^(?:..?|pass|pwd|passw(?:or)?d|secret)$`)

// member is how programs name what lies in something: cfg.Password.
var member = regexp.MustCompile(`^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$`)

// Find tells what a line gives away. Data says that the line is from a document (YAML, JSON, .env), where a value needs no
// quotes to be a literal; in a program's source it does.
func Find(line string, data bool) []Found {
	var all []Found
	add := func(begin, end int, kind Kind) {
		for _, f := range all {
			if begin < f.End && f.Begin < end {
				return
			}
		}
		all = append(all, Found{begin, end, kind})
	}
	long := hasRun(line, 14) // every known form has one, but for private keys
	for _, s := range shapes {
		if !long && s.kind != PrivateKey || !strings.Contains(line, s.hint) {
			continue
		}
		for _, at := range s.form.FindAllStringIndex(line, -1) {
			if s.kind != PrivateKey && isMadeUp(line[at[0]:at[1]]) {
				continue
			}
			add(at[0], at[1], s.kind)
		}
	}
	for _, at := range passwordsIn(line) {
		if password := line[at[2]:at[3]]; !elsewhere.MatchString(password) && !strings.ContainsAny(password, "{}$<>%*") && !sample.MatchString(password) {
			add(at[2], at[3], URLPassword)
		}
	}
	for _, at := range assignments(line) {
		if isLiteral(line[at[2]:at[3]], line[at[4]:at[5]], data) {
			add(at[4], at[5], Literal)
		}
	}
	rest := line
	if strings.Contains(line, "://") {
		rest = userinfo.ReplaceAllStringFunc(line, blank)
	}
	for _, r := range Runs(rest) {
		if run := line[r[0]:r[1]]; !isMadeUp(run) && !strings.ContainsAny(run, "{}$<>%*") {
			add(r[0], r[1], Random)
		}
	}
	slices.SortFunc(all, func(a, b Found) int { return a.Begin - b.Begin })
	return all
}

// assignments finds values under the names of secrets. The names are looked for first: most lines have none.
func assignments(line string) [][]int {
	if !strings.ContainsAny(line, ":=") || !strings.ContainsAny(line, "pPsStTkKcC") {
		return nil
	}
	low := strings.ToLower(line)
	for _, word := range []string{"passw", "pwd", "passphrase", "secret", "token", "key", "credential"} {
		if strings.Contains(low, word) {
			return assigned.FindAllStringSubmatchIndex(line, -1)
		}
	}
	return nil
}

// blank keeps the length of what was judged already.
func blank(text string) string { return strings.Repeat(" ", len(text)) }

// isLiteral judges a value by its name and its own letters.
func isLiteral(name, value string, data bool) bool {
	text := strings.Trim(value, `"'`)
	quoted := text != value
	if !quoted && !data || elsewhere.MatchString(text) || strings.ContainsAny(text, "{}$<>%") && len(text) < 40 {
		return false
	}
	if !quoted && member.MatchString(text) {
		return false
	}
	if stated.MatchString(name) {
		return len(text) >= 6 && !strings.ContainsAny(text, " ") && !isName(text)
	}
	classes, _ := classChanges(text)
	return len(text) >= 8 && strings.ContainsAny(text, "0123456789") && classes > 1 && !strings.ContainsAny(text, " /()") && distinct(text) >= 6
}

// isName tells that text is the name of something, as programs write it: pass_word, new-password, user.password.
func isName(text string) bool {
	for _, r := range text {
		if (r < 'a' || r > 'z') && r != '_' && r != '-' && r != '.' && r != '/' {
			return false
		}
	}
	return strings.Contains(text, "pass") || strings.ContainsAny(text, "_./")
}

// isMadeUp tells that somebody wrote the text by repeating or counting, as examples do.
func isMadeUp(text string) bool {
	steps := 0
	for i := 1; i < len(text); i++ {
		if d := int(text[i]) - int(text[i-1]); d == 0 || d == 1 {
			steps++
		}
	}
	return distinct(text) < 6 || steps*2 > len(text) || strings.Contains(strings.ToLower(text), "example")
}

func distinct(text string) int {
	var seen [256]bool
	n := 0
	for i := 0; i < len(text); i++ {
		if !seen[text[i]] {
			seen[text[i]] = true
			n++
		}
	}
	return n
}

// Mask gives a piece of text in which every finding and every run that looks like a secret is hidden, for messages whose
// words come from elsewhere.
func Mask(text, hidden string) string {
	var runs [][2]int
	for _, f := range Find(text, true) {
		runs = append(runs, [2]int{f.Begin, f.End})
	}
	runs = apart(append(runs, Runs(text)...))
	for i := len(runs) - 1; i >= 0; i-- {
		text = text[:runs[i][0]] + hidden + text[runs[i][1]:]
	}
	return text
}
