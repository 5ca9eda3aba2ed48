package waf

import (
	"fmt"
	"io/fs"
	"maps"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Own are an operator's own rules, in SecLang files beside or below the document, and the core rules that they go with.
type Own struct {
	// Another core rule set than the one of the program.
	Core Core `yaml:"core"`
	// Files that are read ahead of the core rules: exclusions that are decided for each request.
	Before []string `yaml:"before"`
	// Files that are read behind the core rules: own rules, and changes of core rules.
	After []string `yaml:"after"`
	// Why it is acceptable that these files switch inspection off somewhere. Without it, lines that do are refused.
	Insecure gate.Risk `yaml:"insecure"`
}

// own are the files of an operator as the engine is given them.
type own struct {
	before, after seclang.Text
	report        seclang.Report // what there is to say of them, though nothing stands against them
}

// over gives the lists that the files name, and behind them what the core rules name.
func (o own) over(core fs.FS) fs.FS { return o.after.Over(o.before.Over(core)) }

// places say where each of the rules stands.
func (o own) places() map[int]string {
	list := maps.Clone(o.before.Places)
	maps.Copy(list, o.after.Places)
	return list
}

// read reads and judges the files, beside the core rules. Paths of mistakes are inside the section.
func (c Own) read(file func(name string) ([]byte, error), rules *core, now time.Time) (o own, err error) {
	if len(c.Before)+len(c.After) == 0 {
		return o, nil
	}
	core, err := rules.read()
	if err != nil {
		return o, err
	}
	var m mistake.List
	before, wrong := seclang.Read(seclang.Named(file), c.Before...)
	m.Under("before", located(wrong).Err())
	after, wrong := seclang.Read(seclang.Named(file), c.After...)
	m.Under("after", located(wrong).Err())
	if m.Err() != nil {
		return o, m.Err()
	}
	report := seclang.Check(seclang.Set{Before: before, Core: core, After: after})
	if err := report.Err(c.Insecure.Accepted(now)); err != nil {
		m.Under("", err)
		return o, m.Err()
	}
	o.report = report
	if o.before, err = before.Text(); err == nil {
		o.after, err = after.Text()
	}
	return o, err
}

// located moves the place of each mistake into its text: it is a place in another file than the document.
func located(list mistake.List) mistake.List {
	for i, m := range list {
		if m.File != "" {
			m.What = fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What)
		}
		list[i] = mistake.Mistake{What: m.What, Write: m.Write}
	}
	return list
}
