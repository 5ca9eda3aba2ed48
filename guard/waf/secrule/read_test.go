package secrule_test

import (
	"fmt"
	"os"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"

	"github.com/gatehouse-sec/gatehouse/guard/waf/secrule"
)

func compile(t testing.TB, directives string) coraza.WAF {
	t.Helper()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
	if err != nil {
		t.Fatal(err)
	}
	return waf
}

func TestDump(t *testing.T) {
	rules, err := secrule.Read(compile(t, "SecRxPreFilter On\nInclude @crs-setup.conf.example\nInclude @owasp_crs/*.conf"))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := os.Create("/tmp/rules.txt")
	for _, r := range rules {
		fmt.Fprintf(f, "%d p%d mark=%q", r.ID, r.Phase, r.Mark)
		for _, x := range append([]*secrule.Rule{r}, r.Links...) {
			fmt.Fprint(f, "\n   ")
			for _, tg := range x.Targets {
				fmt.Fprintf(f, "|%v%s:%s%v", tg.Count, tg.Variable.Name(), tg.Key, tg.KeyPattern)
				for _, e := range tg.Except {
					fmt.Fprintf(f, "!%s%v", e.Key, e.KeyPattern)
				}
			}
			if x.Test != nil {
				fmt.Fprintf(f, " %v@%s %.60q", x.Test.Negated, x.Test.Name, x.Test.Argument)
			}
			fmt.Fprint(f, " ", x.Chain.Names, x.Chain.MultiMatch, " sets:", x.Actions.Sets, x.Actions.Controls, x.Actions.Capture, x.Actions.Skip, x.Actions.SkipAfter)
		}
		fmt.Fprintln(f)
	}
}
