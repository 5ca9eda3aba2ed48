package waf

import (
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Own files that leave nothing to be known beforehand are taken, every request is judged by the engine, and check says so.
func TestFilesThatTakeTheEngineAreTold(t *testing.T) {
	for text, slow := range map[string]bool{
		`SecRule ARGS "@rx secretword" "id:1,phase:2,deny,status:403,msg:'found'"`:                                                                                   false,
		`SecRule REQUEST_METHOD "@rx ." "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=942100"` + "\n" + `SecRule ARGS "@rx secretword" "id:2,phase:2,deny,status:403"`: true,
	} {
		own := tools
		own.Files = func(name string) ([]byte, error) {
			if name == "own.conf" {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		}
		cfg := Config{Rules: Own{Before: []string{"own.conf"}}}
		if !slow {
			cfg.Rules = Own{After: []string{"own.conf"}}
		}
		g, err := New(cfg, &gate.API{Name: "shop", Operations: []*gate.Operation{{Key: "op"}}}, own)
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, n := range g.Notes() {
			told = told || n.ID == "waf.slow" && strings.Contains(n.What, "rule 1 ")
		}
		if told != slow {
			t.Errorf("%s: %+v", text, g.Notes())
		}
		s := benign["get"]
		for range 4 {
			if v := g.Check(t.Context(), s.exchange()); !v.Allowed() {
				t.Errorf("%s: %+v", text, v)
			}
		}
		s.query[0].Value = "secretword"
		if v := g.Check(t.Context(), s.exchange()); v.Allowed() {
			t.Errorf("%s: allowed", text)
		}
		s.query[0].Value = "20"
	}
}
