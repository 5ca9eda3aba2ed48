package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"

	"github.com/gatehouse-sec/gatehouse/bench/firewall"
)

// nearly are values that hold all but one part of what a rule looks for.
var nearly = []string{
	"unio select 1", "union selec 1", "select fro users", "selec from users", "insert int table", "1' o '1'='1", "waitfor dela '0:0:5'", "benchmar (1000)", "sleep 5)",
	"scrip src=x", "scrip>alert", "javascrip :", "onerro =x", "docume t.cookie", "<ifram src", "expressio (1)", "/etc/passw", "/etc/shado", "..etc", ". /. /", "c:/windows/syste",
	"cat etc", "wge http", "cur l -o", "/bin/s h", "powershel -c", "$ id)", "` id `", "phpinf ()", "< ? ph", "eva (x)", "base6 -d", "$ {jndi", "{jndi ldap}", "{{ 7*7", "__proto _",
	"java.lang.Runtim", "processbuilde", "Content-Lengt : 0", "HTTP/one", "php:/ filter", "file:/ /x", "169.254.169.25", "xp_cmdshel", "information_schem", "load_fil (", "order b 1", "having 1", "group_conca (",
}

// ruleWords are words of the rules, each harmless alone.
var ruleWords = strings.Fields(`select union insert update delete drop table from where having group order by limit and or not like between case when then else end
	exec execute declare cast convert char concat sleep benchmark waitfor delay script alert onload onerror document cookie window location eval function return var
	object embed iframe style expression import src href data base64 etc passwd shadow bin sh bash cat ls id curl wget nc ping echo chmod sudo php system passthru
	include require java lang runtime process builder class loader ldap rmi dns proto constructor prototype require child process file http https ftp gopher`)

// survivors are values for which the cheap questions (is this byte there, is that word there) are answered with yes, and
// which are no attack.
var survivors = []string{
	"it's 1 or 2 of 3; don't (select) it", "a=b; c=d & e<f > g", "1 and 2, x or y", "from \"here\" to (there) -- where else?", "he's #1 / she's #2", "x' = 'y' + 1",
	"style \"modern\" or 'off'", "<3 this & that", "{price} per $unit", "50% of 100%25", "a\\b\\c and d/e", "http://a.example/?u=http://b.example/&f=../x", "cat & dog | mouse; id=7", "/* note */ 1-1",
}

// changed are values that every transformation of the rules changes.
var changed = []string{
	"%41%6e%6e %2541 %u0041", "&lt;b&gt; &#65; &#x41; &amp;amp;", "\\x41 \\101 \\n", "A  B\t\tC   D", "a/**/b/* c */d--e#f", "c^a\"t 'd'o\"g\" ,;", "/a/./b//d\\e", "QW5uIE1pbGxlcg==", "416e6e20", "ÄÖÜ ſ K ẞ ŉ",
	"Ａｎｎ ＜ｂ＞", "ﬁ ﬂ ½ ² ™", "a\u200bb\u00adc\u2028d", "naïve\u00a0café", "MiXeD CaSe TeXt",
}

// adversaries know how the WAF saves work, and make requests for which it can't.
func adversaries() []Case {
	goal := Goal{Part: 1.1}
	list := []Case{}
	add := func(name string, make func(int) firewall.Request) {
		list = append(list, Case{Name: name, Group: "adversary", Verdict: AsPlain, Goal: goal, Requests: vary(make)})
	}
	leaves := func(texts []string, n int) func(int) firewall.Request {
		return func(i int) firewall.Request {
			out := make([]string, n)
			for k := range out {
				out[k] = fmt.Sprintf("%s %d", texts[(i+k)%len(texts)], k)
			}
			return tags(out)
		}
	}
	for _, one := range []struct {
		name  string
		texts []string
	}{{"one literal short of a rule", nearly}, {"that survive and don't match", survivors}, {"that every transformation changes", changed}} {
		add("160 leaves "+one.name, leaves(one.texts, 160))
		list[len(list)-1].Verdict = Allowed
	}
	add("10 KiB of rule words, one leaf", func(i int) firewall.Request {
		r := rand.New(rand.NewPCG(uint64(i), 11))
		var words []string
		for n := 0; n < 10<<10; {
			w := ruleWords[r.IntN(len(ruleWords))]
			words, n = append(words, w), n+len(w)+1
		}
		return noteOf(strings.Join(words, " "))
	})
	add("5 KiB in the query, nearly", func(i int) firewall.Request {
		var b strings.Builder
		for k := 0; b.Len() < 5<<10; k++ {
			b.WriteString(nearly[(i+k)%len(nearly)] + " ")
		}
		return Query(b.String())
	})
	for _, run := range []string{"<", "'", "\"'", "$(", "../", "%2e", "\\", "a=", "/*", "  "} {
		add(fmt.Sprintf("10 KiB of %q", run), func(i int) firewall.Request { return noteOf(strings.Repeat(run, (10<<10)/len(run)-i)) })
		list[len(list)-1].Long = run != "\"'"
	}
	add("form of 200 such texts, every byte encoded", func(i int) firewall.Request {
		var b strings.Builder
		b.WriteString("name=Ann&comment=")
		for k := range 200 {
			b.WriteString(percent(nearly[(i+k)%len(nearly)]))
		}
		return firewall.Request{Method: "POST", Target: "/forms", Fields: with("Content-Type", "application/x-www-form-urlencoded"), Body: []byte(b.String())}
	})
	return list
}

// percent encodes every byte.
func percent(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02x", text[i])
	}
	return b.String() + url.QueryEscape(" ")
}
