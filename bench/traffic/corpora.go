package traffic

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Attack is one text of a corpus.
type Attack struct {
	Class string // such as sqli
	Text  string
}

// classes are the folders of the corpora that hold attacks on what a WAF looks at, and not lists of names or numbers.
var classes = map[string]string{
	"fuzzdb/attack/sql-injection": "sqli", "payloads-all-the-things/SQL Injection": "sqli",
	"fuzzdb/attack/xss": "xss", "payloads-all-the-things/XSS Injection": "xss",
	"fuzzdb/attack/os-cmd-execution": "shell", "payloads-all-the-things/Command Injection": "shell",
	"fuzzdb/attack/lfi": "files", "fuzzdb/attack/path-traversal": "files", "fuzzdb/attack/rfi": "rfi",
	"payloads-all-the-things/File Inclusion": "files", "payloads-all-the-things/Directory Traversal": "files",
	"fuzzdb/attack/no-sql-injection": "nosql", "payloads-all-the-things/NoSQL Injection": "nosql",
	"fuzzdb/attack/ldap": "ldap", "payloads-all-the-things/LDAP Injection": "ldap",
	"fuzzdb/attack/xpath": "xpath", "fuzzdb/attack/xml": "xxe", "payloads-all-the-things/XXE Injection": "xxe",
	"fuzzdb/attack/server-side-include": "include", "payloads-all-the-things/Server Side Template Injection": "template",
}

const longest = 4 << 10 // of an attack; a longer line is a document

// Attacks reads the attack corpora below the folder attacks of a root, one text for each line, and gives at most most of
// each class, chosen by their hashes and so the same every time. Odd chooses the half that is only opened for reports: a
// text belongs to the half that the first byte of its SHA-256 says.
func Attacks(root string, odd bool, most int) ([]Attack, error) {
	seen := map[string]map[[32]byte]string{}
	for folder, class := range classes {
		if seen[class] == nil {
			seen[class] = map[[32]byte]string{}
		}
		err := filepath.WalkDir(filepath.Join(root, "attacks", folder), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(strings.ToLower(d.Name()), "readme") || strings.Contains(d.Name(), ".doc.") {
				return err
			}
			raw, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for line := range bytes.Lines(raw) {
				line = bytes.TrimRight(line, "\r\n")
				sum := sha256.Sum256(line)
				if isText(line) && sum[0]%2 == 1 == odd {
					seen[class][sum] = string(line)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sample(seen, most), nil
}

// isText tells what can be sent as a query's value and as a JSON string alike, and isn't a corpus's own remark.
func isText(line []byte) bool {
	return len(bytes.TrimSpace(line)) > 1 && len(line) <= longest && utf8.Valid(line) && !bytes.HasPrefix(line, []byte("# ")) && !bytes.ContainsRune(line, 0)
}

func sample(seen map[string]map[[32]byte]string, most int) []Attack {
	var list []Attack
	for class, texts := range seen {
		sums := make([][32]byte, 0, len(texts))
		for sum := range texts {
			sums = append(sums, sum)
		}
		slices.SortFunc(sums, func(a, b [32]byte) int { return bytes.Compare(a[1:], b[1:]) })
		for _, sum := range sums[:min(most, len(sums))] {
			list = append(list, Attack{class, texts[sum]})
		}
	}
	slices.SortFunc(list, func(a, b Attack) int { return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Text, b.Text)) })
	return list
}

// hostile begin the sections of the naughty strings that are attacks.
var hostile = []string{"Script Injection", "SQL Injection", "Server Code Injection", "Command Injection", "XXE Injection", "Unwanted Interpolation", "File Inclusion",
	"Known CVEs", "jinja2", "Terminal escape codes", "MSDOS", "IRC"}

// Naughty reads the strings below the folder naughty-strings of a root that are harmless texts, though programs break on
// them. Without a root it gives a few of our own.
func Naughty(root string) ([]string, error) {
	if root == "" {
		return []string{"undefined", "NULL", "0/0", "-0.50", "0xCAFE", "1,5e3", "±½÷×", "عند الباب", "時計と桂花", "\U0001f63a\U0001f422", "Penistone", "x²y³", "a\u200eb", "ﬀ ĳ ǆ", "CON"}, nil
	}
	raw, err := os.ReadFile(filepath.Join(root, "naughty-strings", "blns.txt"))
	if err != nil {
		return nil, err
	}
	var list []string
	benign, begins := true, true
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\n")
		remark, isRemark := strings.CutPrefix(line, "#")
		switch {
		case isRemark && begins: // the first remark after an empty line is the section's name
			benign = !slices.ContainsFunc(hostile, func(h string) bool { return strings.HasPrefix(strings.TrimSpace(remark), h) })
		case !isRemark && line != "" && benign && utf8.ValidString(line):
			list = append(list, line)
		}
		begins = line == "" || isRemark && begins && strings.TrimSpace(remark) == ""
	}
	return list, nil
}
