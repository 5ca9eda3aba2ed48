package response

import (
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
	leaks "github.com/gatehouse-sec/gatehouse/kit/leak"
)

// Kinds of leaks that are looked for beside the core rule set. They are the names by which exceptions speak of them.
const (
	PrivateKey  = "leak.private_key"  // a private key in PEM, of age, of PuTTY
	Credential  = "leak.credential"   // a token or key in the known form of some service; not a JSON Web Token, which APIs hand out
	Connection  = "leak.connection"   // the address of a data base or queue with its password
	Card        = "leak.card"         // the number of a payment card
	StackTrace  = "leak.stack_trace"  // where in a program it failed
	SQLError    = "leak.sql_error"    // what a data base says of a statement
	ServerPath  = "leak.server_path"  // a file of the program on the server, with a line
	AccountFile = "leak.account_file" // a list of a system's accounts, as in /etc/passwd
)

// Kinds lists them.
func Kinds() []string {
	return []string{AccountFile, Card, Connection, Credential, PrivateKey, SQLError, ServerPath, StackTrace}
}

// reach is how many bytes before and behind the beginning of a hint are looked at. It makes a leak a matter of its place
// alone: in one text or in pieces, the same is found.
const reach = 512

// shape is how one kind of leak looks. Where one of its hints stands, its form is asked about the text around: a match must
// cover the hint's first byte.
type shape struct {
	kind    string
	hints   []string
	anyCase bool                                         // hints count in either case of letters
	form    *regexp.Regexp                               // nil: judge alone decides
	judge   func(around string, at int) (begin, end int) // the finding in around; end 0 for none
}

// line is an end of a line, as it stands in a text or in a string of JSON.
const line = `(?:\r?\n|(?:\\r)?\\n)`

// frames are how a line of a stack trace begins where "at" does it, in a text, in a string of JSON, in a page.
var frames = []string{"\n    at ", `\n    at `, "\n   at ", `\n   at `, "\n\tat ", `\n\tat `, "&nbsp;at "}

// shapes are all forms of leaks.
func shapes() []shape {
	form := func(kind, expr string, hints ...string) shape {
		return shape{kind: kind, hints: hints, form: regexp.MustCompile(expr)}
	}
	anyCase := func(kind, expr string, hints ...string) shape {
		return shape{kind: kind, hints: hints, form: regexp.MustCompile(expr), anyCase: true}
	}
	return []shape{
		// A header alone is what documentation writes; with a line of its content it is a key.
		form(PrivateKey, `-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[ \t]*`+line+`(?:[ \t]*[A-Za-z-]{2,20}: [^\r\n\\]{0,80}`+line+`){0,4}(?:[ \t]*`+line+`)?[ \t]*[A-Za-z0-9+/=]{32}`, "PRIVATE KEY"),
		form(PrivateKey, `AGE-SECRET-KEY-1[0-9A-Z]{50,60}`, "AGE-SECRET-KEY-1"),
		form(PrivateKey, `PuTTY-User-Key-File-[23]: [a-z0-9-]{3,40}`+line, "PuTTY-User-Key-File-"),
		{kind: Credential, judge: credentialAt, hints: credentials},
		anyCase(Connection, `(?i)(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|sqlserver|clickhouse|ldaps?|smtps?|ftps?)://[^\s/:@"'<>\\{}$*]{0,64}:[^\s/@"'<>\\{}$*]{3,100}@[a-z0-9.\[-]`,
			"postgres://", "postgresql://", "mysql://", "mariadb://", "mongodb://", "mongodb+srv://", "redis://", "rediss://", "amqp://", "amqps://", "sqlserver://", "clickhouse://", "ldap://", "ldaps://", "smtp://", "smtps://", "ftp://", "ftps://"),
		form(StackTrace, `Traceback \(most recent call last\):(?:\s|\\n){0,8}File \\?"`, "Traceback (most recent call last)"),
		form(StackTrace, `(?:`+line+`\s{2,8}|&nbsp;)at [^\s()"]{1,160}(?: [^\s()"]{1,80}){0,3} \(?(?:file://|node:|[A-Za-z]:\\|/)[^\s()"<>]{1,160}:\d{1,6}:\d{1,6}`, frames...),
		form(StackTrace, `(?:`+line+`\s{2,8}|&nbsp;)at (?:file://|node:|[A-Za-z]:\\|/)[^\s()"<>]{1,160}:\d{1,6}:\d{1,6}`, frames...),
		form(StackTrace, line+`(?:\s|\\t){1,8}at [\w$.<>/]{3,160}\((?:[\w$-]{1,80}\.(?:java|kt|scala|groovy|clj):\d{1,6}|Native Method|Unknown Source)\)`, append(frames, "\nat ")...),
		form(StackTrace, line+`\s{1,8}at [^()\r\n"]{3,200}\([^()\r\n]{0,160}\) in [^\r\n"]{2,200}:line \d{1,6}`, frames...),
		form(StackTrace, `goroutine \d{1,9} \[[a-z ,0-9]{2,60}\]:`+line, "goroutine "),
		form(StackTrace, `thread '[^'\r\n]{1,60}' (?:\(\d+\) )?panicked at `, "panicked at "),
		form(StackTrace, `Stack trace:`+line+`#0 `, "Stack trace:"),
		form(StackTrace, `[\w/.-]{2,160}\.rb:\d{1,6}:in (?:`+"`"+`|'|\\u0060|\\')`, ".rb:"),
		anyCase(SQLError, `(?i)SQLSTATE\[[0-9A-Z]{5}\]`, "SQLSTATE["),
		anyCase(SQLError, `(?i)you have an error in your sql syntax|unclosed quotation mark (?:after|before) the character string|quoted string not properly terminated`, "error in your sql syntax", "unclosed quotation mark", "quoted string not properly"),
		form(SQLError, `pq: (?:syntax error|relation|column|duplicate key)|psycopg2?\.errors\.[A-Z]|sqlite3\.(?:Operational|Integrity|Programming)Error|SQLITE_(?:ERROR|CONSTRAINT|CORRUPT)\b|ERROR:  ?(?:syntax error at or near|relation \\?"[^"]{1,80}" does not exist)|ORA-\d{5}: |PG::[A-Z][A-Za-z]{3,40}(?:Error|Violation)|\.SQLSyntaxErrorException`,
			"pq: ", "psycopg", "sqlite3.", "SQLITE_", "ERROR:  syntax error", "ERROR: syntax error", "ERROR:  relation", "ERROR: relation", "ORA-", "PG::", "SQLSyntaxErrorException"),
		form(ServerPath, `(?:/(?:home|var|usr|opt|srv|app|root|Users|workspace|build)/|[A-Za-z]:\\{1,2}(?:inetpub|Users|Program Files|www|xampp|projects?)\\)[^\s"'<>|*?:]{1,200}\.(?:py|php\d?|rb|js|mjs|ts|go|java|kt|cs|cshtml|aspx|jsp|pl|rs|ex|exs)(?::\d{1,6}\b|\(\d{1,6}\)|:line \d{1,6}|\\?", line \d{1,6}|(?:</b>)? on line (?:<b>)?\d{1,6})`,
			located()...),
		form(AccountFile, `\broot:[x*!]?:0:0:[^:\r\n]{0,80}:/[\w/]{0,40}:/[\w/]{1,40}`, "root:x:0:0:", "root:*:0:0:", "root:!:0:0:", "root::0:0:"),
		form(AccountFile, `\b[a-z_][a-z0-9_-]{0,31}:\$(?:1|2[aby]|5|6|y|7|argon2id?)\$[./A-Za-z0-9$=,]{10,140}:\d{0,6}:\d{0,6}:`, ":$1$", ":$2a$", ":$2b$", ":$2y$", ":$5$", ":$6$", ":$y$", ":$7$", ":$argon2i"),
	}
}

// located are ends of file names that a line follows.
func located() (hints []string) {
	for _, ext := range []string{"py", "php", "php5", "php7", "php8", "rb", "js", "mjs", "ts", "go", "java", "kt", "cs", "cshtml", "aspx", "jsp", "pl", "rs", "ex", "exs"} {
		hints = append(hints, "."+ext+":", "."+ext+"(")
	}
	return append(hints, `.py", line `, `.py\", line `, ".php on line ", ".php</b> on line ")
}

// credentials are how the known forms begin, but for what a web page or a word may hold as well.
var credentials = []string{
	"AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-",
	"xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "hooks.slack.com/services/", "sk_live_", "rk_live_", "sk_test_", "rk_test_", "AIza", "ya29.",
	"hvs.", "hvb.", "hvr.", "npm_", "pypi-", "doo_v1_", "dop_v1_", "dor_v1_", "SG.", "shpat_", "shpca_", "shppa_", "shpss_", "hf_", "sk-", ":AA",
}

// hinted tells that the hint stands there in its own letters.
func (s *shape) hinted(around string, hint int) bool {
	if !s.anyCase && !slices.ContainsFunc(s.hints, func(h string) bool { return strings.HasPrefix(around[hint:], h) }) {
		return false
	}
	return s.kind != Credential || begins(around, hint)
}

// at gives the finding that covers the place of a hint in the text around it; end 0 when there is none.
func (s *shape) at(around string, hint int) (begin, end int) {
	if s.judge != nil {
		return s.judge(around, hint)
	}
	for _, found := range s.form.FindAllStringIndex(around, -1) {
		if found[0] <= hint && hint < found[1] {
			return found[0], found[1]
		}
	}
	return 0, 0
}

// credentialAt asks kit/leak, which knows the forms of credentials, and tells made-up ones. JSON Web Tokens are what APIs
// hand out by their nature; random text and literals under names are no certain signs in an answer.
func credentialAt(around string, hint int) (begin, end int) {
	from, to := strings.LastIndexAny(around[:hint], "\r\n")+1, len(around)
	if i := strings.IndexAny(around[hint:], "\r\n"); i >= 0 {
		to = hint + i
	}
	for _, f := range leaks.Find(around[from:to], true) {
		switch f.Kind {
		case leaks.PrivateKey, leaks.URLPassword, leaks.Literal, leaks.Random, "json web token", "encrypted web token":
			continue
		}
		if from+f.Begin <= hint && hint < from+f.End {
			return from + f.Begin, from + f.End
		}
	}
	return 0, 0
}

// open tells that the hint stands there in its own letters, as far as the text has come.
func (s *shape) open(around string, hint int) bool {
	return s.hinted(around, hint) || s.kind == Credential && s.hinted(around+strings.Repeat("x", longEnough), hint)
}

// longEnough is how many letters of a key make one look into it.
const longEnough = 16

// begins tells that a long enough run of a key's letters begins with the hint. Telegram's stands behind its number.
func begins(around string, hint int) bool {
	run, telegram := hint, around[hint] == ':'
	if telegram {
		run++
	} else if hint > 0 && isWord(around[hint-1]) {
		return false
	}
	for run < len(around) && (isWord(around[run]) || strings.IndexByte("-./", around[run]) >= 0) {
		run++
	}
	return run-hint >= longEnough
}

// mask shows enough of a finding to recognise it, and nothing that could be used.
func mask(kind, text string) string {
	if kind == PrivateKey || kind == Connection || kind == AccountFile {
		return "(" + strings.ReplaceAll(strings.TrimPrefix(kind, "leak."), "_", " ") + ")"
	}
	return gate.Mask(text)
}
