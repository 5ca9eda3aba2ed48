package referee

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/corazawaf/coraza/v3"
)

const coreOfEngine = "github.com/corazawaf/coraza/v3/"

// untouched makes sure that every operator and every transformation of the compiled rules is the engine's own, and none
// that somebody has registered in its place.
func untouched(waf coraza.WAF) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("this version of the engine is not the one that is known: %v", r)
		}
	}()
	rules := reflect.ValueOf(waf).Field(0).Elem().FieldByName("Rules").FieldByName("rules")
	operators := 0
	for i := range rules.Len() {
		for rule := rules.Index(i); ; rule = rule.FieldByName("Chain").Elem() {
			if operator := rule.FieldByName("operator"); !operator.IsNil() {
				operators++
				typ := operator.Elem().FieldByName("Operator").Elem().Type()
				if typ.Kind() == reflect.Pointer {
					typ = typ.Elem()
				}
				if !strings.HasPrefix(typ.PkgPath(), coreOfEngine) {
					return fmt.Errorf("operator %s is not the engine's own", typ)
				}
			}
			transformations := rule.FieldByName("transformations")
			for j := range transformations.Len() {
				name := runtime.FuncForPC(transformations.Index(j).FieldByName("Function").Pointer()).Name()
				if !strings.HasPrefix(name, coreOfEngine) {
					return fmt.Errorf("transformation %s is not the engine's own", name)
				}
			}
			if rule.FieldByName("Chain").IsNil() {
				break
			}
		}
	}
	if operators == 0 {
		return fmt.Errorf("no operator found in %d rules", rules.Len())
	}
	return nil
}
