package secrule_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/waf/literal"
	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

// pages are attacks on pages, in each context that the operator reads a text in: between tags, and in values of attributes
// without quotes and in quotes of each kind.
var pages = []string{
	"<script>alert(1)</script>", "<scr\x00ipt>alert(1)", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<a href=javascript:alert(1)>", "<a href=\"  jAvA\tscript:x\">",
	"<iframe srcdoc='x'>", "<!doctype html>", "<!-- ` -->", "<!--[if IE]>x<![endif]-->", "<?import namespace=x>", "<!ENTITY x \"y\">", "<xss style=xss:expression(x)>", "<b xmlns=x>",
	"<set attributeName=onload to=x>", "<![CDATA[<script>]]>", "<%x%>", "</script><script>", "x onerror=alert(1)", "x onclick = y ", "' onfocus='alert(1)' autofocus='", "'style='x",
	"\" onmouseover=\"x\"", "\"href=\"javascript:x\"", "` onload=`x`", "`/**/onload=x", "x/onload=y", "x\fonload\v=\ty", "x background=vbscript:x", "'\x00on\x00load=x>", "x src=data:text/html,x",
	"x xlink:href=&#106;avascript:x", "x href=&#x6a;avascript:x", "\"><svg onload=x", "x action=view-source:x", "x filter=url(x)", "x from=javascript:x attributename=href",
}

// TestNoAttackOnPagesWithoutTheirBytes: a text without < and = is nothing to @detectXSS, which its condition counts on.
// Attacks are taken, those two bytes are taken out of them or put otherwise, and what is left is cut and joined with parts
// of others.
func TestNoAttackOnPagesWithoutTheirBytes(t *testing.T) {
	rule := read(t, `SecRule ARGS "@detectXSS" "id:1,phase:2,pass"`)[0]
	c, err := rule.Condition(nil)
	if err != nil || len(c.Bytes) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	matches := func(text string) bool { return rule.Test.Operator.Evaluate(secrule.Idle{}, text) }
	tries, random := 100_000, rand.New(rand.NewPCG(3, 4))
	if os.Getenv("GATEHOUSE_SOAK") != "" {
		tries, random = 20_000_000, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	for _, page := range pages {
		if !holds(c.Bytes[0], page) {
			t.Errorf("%q holds none of the bytes", page)
		}
	}
	glue := []string{"", " ", ">", "/", "'", `"`, "`", "\x00", "\t", "\n", "&lt;", "&#60;", "&#x3d;", "%3C", "\uff1c", "\u2039", ":", "!", "?", "-->", "]]>", "\xff", ";", "on", "style", "javascript:"}
	instead := func() string { return glue[random.IntN(len(glue))] }
	found := 0
	for range tries {
		whole, without := "", ""
		for range 1 + random.IntN(3) {
			page := pages[random.IntN(len(pages))]
			from := random.IntN(len(page))
			if random.IntN(2) == 0 {
				from = 0
			}
			part := page[from:] + instead()
			whole += part
			for _, b := range []byte(part) {
				if one := string([]byte{b}); holds(c.Bytes[0], one) {
					without += instead()
				} else {
					without += one
				}
			}
		}
		if matches(whole) {
			found++
		}
		if holds(c.Bytes[0], without) {
			t.Fatalf("%q holds one of the bytes", without)
		}
		if matches(without) {
			t.Fatalf("@detectXSS matches %q, which holds neither < nor =", without)
		}
	}
	if found < tries/2 {
		t.Errorf("only %d of %d texts were attacks with the bytes: nothing is shown", found, tries)
	}
}

// holds tells that a text holds a byte of a set.
func holds(set literal.ByteSet, text string) bool {
	return slices.ContainsFunc([]byte(text), set.Has)
}
