package waf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/guard/waf/view"
	"github.com/gatehouse-sec/gatehouse/kit/body"
)

// core is the core rule set as the engine is given it: Gatehouse's own settings ahead of it, then the rules.
type core struct {
	ahead, rules string
	files        fs.FS                          // that rules name
	read         func() (*seclang.Files, error) // the same, as it is written, once
}

// builtIn is the core rule set that is part of the program.
func builtIn() core {
	ahead, rules, _ := strings.Cut(directives, coreBegins)
	return core{ahead, coreBegins + rules, coreruleset.FS, coreFiles}
}

// Where a folder has the core rule set: as it is released, or as the Go module has it.
var (
	setups  = []string{"crs-setup.conf", "crs-setup.conf.example", "@crs-setup.conf.example"}
	folders = []string{"rules", "@owasp_crs"}
)

// inFolder is a core rule set that lies in a folder as it was released.
func inFolder(folder fs.FS) (core, error) {
	var setup string
	for _, name := range setups {
		if _, err := fs.Stat(folder, name); err == nil && setup == "" {
			setup = name
		}
	}
	var names []string
	for _, sub := range folders {
		found, err := fs.Glob(folder, sub+"/*.conf")
		if err != nil {
			return core{}, err
		}
		names = append(names, found...)
	}
	if setup == "" || len(names) == 0 {
		return core{}, errors.New("there is no core rule set in it as it is released: crs-setup.conf or crs-setup.conf.example, and rules/*.conf")
	}
	settings, wrong := seclang.Read(folder, setup)
	rules, more := seclang.Read(folder, names...)
	if err := append(located(wrong), located(more)...).Err(); err != nil {
		return core{}, err
	}
	first, err := settings.Text()
	if err != nil {
		return core{}, err
	}
	then, err := rules.Text()
	if err != nil {
		return core{}, err
	}
	own := builtIn()
	between := strings.TrimSuffix(strings.TrimPrefix(own.rules, coreBegins), coreEnds)
	return core{own.ahead, first.Directives + "\n" + between + then.Directives, then.Over(first.Over(nil)), sync.OnceValues(func() (*seclang.Files, error) {
		ours, wrong := seclang.Parse("gatehouse", own.ahead)
		return seclang.Join(ours, settings, rules), wrong.Err()
	})}, nil
}

// LoadFolder compiles the core rule set of a folder in place of the one that is part of the program, for a trial. Its lists
// are known to the engine by their content, so that both sets can be asked in one process.
func LoadFolder(folder fs.FS) (*Rules, error) {
	c, err := inFolder(folder)
	if err != nil {
		return nil, err
	}
	r := newRules(c)
	if err := r.Ready(); err != nil {
		return nil, fmt.Errorf("the engine does not take these rules: %w", err)
	}
	return r, nil
}

// Try tells what the rules say of a request, with all that matched, by the engine alone: for comparing rule sets. It counts
// nothing and learns nothing.
func (g *Guard) Try(ctx context.Context, x *gate.Exchange) (seclang.Outcome, error) {
	if err := g.set.compile(); err != nil {
		return seclang.Outcome{}, err
	}
	tooLarge := seclang.Outcome{Denied: true, Status: gate.TooLarge.Status()}
	tree := &body.Tree{}
	if inspects(x.Operation) && x.Request.Length != 0 {
		var v gate.Verdict
		if tree, v = x.Body(ctx); !v.Allowed() {
			return seclang.Outcome{Denied: true, Status: v.Code.Status()}, nil
		}
	}
	r := g.rules.room()
	defer g.rules.giveBack(r)
	r.view.Fill(x, tree)
	if r.view.TooMany() {
		return tooLarge, nil
	}
	o, err := g.try(x, &r.view)
	if err != nil || o.Denied {
		return o, err
	}
	inner, whole := g.deeper(x, r)
	switch {
	case !whole:
		return tooLarge, nil
	case inner == nil:
		return o, nil
	}
	deeper, err := g.try(inner, &r.nested)
	deeper.Rules = append(o.Rules, deeper.Rules...)
	slices.Sort(deeper.Rules)
	deeper.Rules = slices.Compact(deeper.Rules)
	return deeper, err
}

// try asks the engine about one view.
func (g *Guard) try(x *gate.Exchange, v *view.View) (o seclang.Outcome, err error) {
	tx := g.open(x, nil)
	if tx == nil {
		return o, errors.New("this version of the engine is not the one that is known")
	}
	defer tx.Close()
	tx.Variables().TX().Set("detection_paranoia_level", []string{strconv.Itoa(g.cfg.Paranoia)}) // without what is learned
	g.except.For(x.Operation.Key, g.now()).Apply(tx)
	g.leaveOut(tx, x, v)
	var m meter
	m.start(g.cfg.Budget)
	defer m.end()
	defer g.set.clock.of(tx, &m)()
	it, err := phases(tx, v)
	if m.over {
		return seclang.Outcome{Denied: true, Status: gate.TooLarge.Status()}, nil
	}
	return seclang.Judged(tx, it), err
}
