package seclang

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// tests are the operators that the engine carries out.
func tests() []string {
	return strings.Fields("beginsWith contains detectSQLi detectXSS endsWith eq ge gt ipMatch ipMatchF ipMatchFromDataset ipMatchFromFile le lt noMatch pm pmFromDataset pmFromFile pmf restpath rx streq strmatch unconditionalMatch validateByteRange validateNid validateUrlEncoding validateUtf8Encoding within")
}

// refusedTests are operators that the engine has not, or that do here what nobody wants of them.
func refusedTests() map[string][2]string {
	card := [2]string{"the engine knows no check of card numbers", `"@rx ^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14})$"`}
	return map[string][2]string{
		"verifyCC": card, "verifyCPF": {"the engine knows no check of this number", `"@rx ^[0-9]{3}[.][0-9]{3}[.][0-9]{3}-[0-9]{2}$"`},
		"verifySSN":      {"the engine calls it validateNid us", `"@validateNid us [0-9]{3}-?[0-9]{2}-?[0-9]{4}"`},
		"verifySVNR":     {"the engine knows no check of this number", `"@rx ^[0-9]{10}$"`},
		"fuzzyHash":      {"the engine compares no files by likeness", ""},
		"geoLookup":      {"the engine has no table of countries; the operator would match every request", "guards: {address: {deny: [192.0.2.0/24]}}"},
		"gsbLookup":      {"the engine asks no list of unsafe links", ""},
		"rbl":            {"it asks a name server for every request, tells it every client, and says no after half a second of silence", "guards: {address: {deny: [192.0.2.0/24]}}"},
		"inspectFile":    {"it starts a program with bytes of the request, and takes a program that fails for a clean file", ""},
		"validateSchema": {"the contract of the API checks bodies, before the rules do", "apis: [{contract: openapi.yaml}]"},
		"validateDTD":    {"documents with a DTD are refused always", ""},
		"validateHash":   {noHash, ""},
		"containsWord":   {"the engine does not know it", `"@rx \bword\b"`},
		"rsub":           {"the engine does not change what passes", ""},
	}
}

// operator judges the test of a rule.
func (c *check) operator(d Directive, r *Rule) {
	o := r.Operator
	if reason, ok := refusedTests()[o.Name]; ok {
		c.refuse(d, reason[1], "@%s: %s", o.Name, reason[0])
		return
	}
	known := tests()
	if !slices.Contains(known, o.Name) {
		near := mistake.Nearest(strings.ToLower(o.Name), lower(known))
		for _, k := range known {
			if near != "" && strings.ToLower(k) == near {
				near = "@" + k
			}
		}
		c.refuse(d, near, "the engine knows no operator @%s", o.Name)
		return
	}
	c.macros(d, o.Args)
	switch o.Name {
	case "rx":
		c.expression(d, o)
	case "eq", "ge", "gt", "le", "lt":
		if _, err := strconv.Atoi(o.Args); err != nil && !strings.Contains(o.Args, "%{") {
			c.refuse(d, "@"+o.Name+" 0", "@%s: %q is no whole number, and the engine would take it for 0", o.Name, o.Args)
		}
	case "ipMatch":
		c.addresses(d, strings.Split(o.Args, ","), "")
	case "pm":
		c.phrases(d, o.Args)
	case "pmFromFile", "pmf", "ipMatchFromFile", "ipMatchF":
		c.listFile(d, o)
	case "pmFromDataset", "ipMatchFromDataset":
		list, ok := c.data[o.Args]
		if !ok {
			c.refuse(d, "", "dataset %q is not defined before this rule in these files", o.Args)
		} else if o.Name == "ipMatchFromDataset" {
			c.addresses(d, list, "dataset "+o.Args+": ")
		}
	case "validateByteRange":
		c.byteRange(d, o.Args)
	case "validateNid":
		if strings.HasPrefix(o.Args, "cl ") {
			c.refuse(d, "", "@validateNid cl ends in a crash of the engine at a text without digits, so it could be used to stop every request")
		}
	}
	if strings.Contains(o.Args, "%{") && !expands(o.Name) {
		c.refuse(d, "@streq %{tx.name}", "@%s does not put in what %%{...} stands for; @streq, @contains, @beginsWith, @endsWith, @within and the comparisons do", o.Name)
	}
}

func lower(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ToLower(s)
	}
	return out
}

// expands tells whether an operator puts in what %{...} stands for.
func expands(name string) bool {
	switch name {
	case "beginsWith", "contains", "endsWith", "eq", "ge", "gt", "le", "lt", "streq", "strmatch", "within":
		return true
	}
	return false
}

// addresses refuses entries that the engine would leave out in silence.
func (c *check) addresses(d Directive, list []string, where string) {
	found := 0
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		found++
		if _, err := netip.ParseAddr(entry); err == nil && !strings.Contains(entry, "%") {
			continue
		}
		if p, err := netip.ParsePrefix(entry); err == nil {
			if p.Addr().Is4In6() {
				c.refuse(d, "", "%s%s mixes both kinds of address", where, entry)
			}
			continue
		}
		c.refuse(d, "192.0.2.0/24", "%s%q is no address and no prefix; the engine would leave it out of the list in silence", where, cut(entry))
	}
	if found == 0 {
		c.refuse(d, "@ipMatch 192.0.2.0/24", "%sthe list of addresses is empty, so the rule never matches", where)
	}
}

// phrases judges the words of @pm.
func (c *check) phrases(d Directive, args string) {
	switch list := strings.Split(args, " "); {
	case slices.Contains(list, ""):
		c.refuse(d, "@pm first second", "@pm: there is an empty word between two spaces, which the engine finds nowhere or everywhere")
	case strings.Count(args, "|") >= 2 && snort(args):
		c.refuse(d, "@pm "+strings.ReplaceAll(args, "|", ""), "@pm: the engine does not read bytes between | |; it looks for these very signs")
	}
}

// snort tells whether a text holds bytes in the manner of A|42|C.
func snort(s string) bool {
	for i, part := range strings.Split(s, "|") {
		if _, err := strconv.ParseUint(strings.ReplaceAll(part, " ", ""), 16, 64); i%2 == 1 && err == nil && len(part)%2 == 0 {
			return true
		}
	}
	return false
}

// listFile judges a file of words or addresses.
func (c *check) listFile(d Directive, o Operator) {
	name, err := beside(d, o.Args)
	var data []byte
	if err == nil {
		data, err = c.own.root.file(name)
	}
	if err != nil {
		c.refuse(d, "", "@%s %s: %v", o.Name, o.Args, err)
		return
	}
	for number, line := range strings.Split(string(data), "\n") {
		if len(line) >= longestLine-1 {
			c.refuse(d, "", "%s:%d: a line of more than %d KiB, at which the engine would stop reading the list", name, number+1, longestLine>>10)
			return
		}
	}
	list := words(string(data))
	if len(list) == 0 {
		c.refuse(d, "", "%s holds no entry, so the rule never matches", name)
		return
	}
	if strings.HasPrefix(o.Name, "ip") {
		for _, entry := range list {
			c.addresses(d, strings.Split(entry, ","), name+": ")
		}
	}
}

// beside is the name of a file that a rule names: beside the file it stands in, as the engine looks first.
func beside(d Directive, name string) (string, error) {
	full := path.Join(path.Dir(d.File), name)
	if path.IsAbs(name) || full == ".." || strings.HasPrefix(full, "../") || strings.Contains(name, "://") || strings.ContainsAny(name, `\ `) || full == "." {
		return "", errOutside
	}
	return full, nil
}

// byteRange judges "1-255,9".
func (c *check) byteRange(d Directive, args string) {
	if args == "" {
		c.refuse(d, "@validateByteRange 1-255", "@validateByteRange without a range matches everything")
		return
	}
	for part := range strings.SplitSeq(args, ",") {
		a, b, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			b = a
		}
		first, err := strconv.Atoi(a)
		last, err2 := strconv.Atoi(b)
		if err != nil || err2 != nil || first < 0 || last > 255 || first > last {
			c.refuse(d, "@validateByteRange 1-255", "@validateByteRange: %q is no range of bytes", part)
		}
	}
}
