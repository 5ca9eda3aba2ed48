package audit

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// checkpoints reads those beside the log, every byte of them, and those of the witness that speak of it.
func (v *verifier) checkpoints() *Bad {
	if len(v.options.Keys) == 0 {
		return nil // nothing that is said there can be believed
	}
	node, name := v.options.Node, v.files.stem+".checkpoints"
	lines := bytes.Count(v.files.checkpoints, []byte("\n"))
	var last Checkpoint
	for n, line := range bytes.SplitAfter(v.files.checkpoints, []byte("\n")) {
		if len(line) == 0 {
			break
		}
		where := entry{file: name, line: n + 1}
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		if !whole {
			return v.bad(Forged, where, last.Seq, "the last checkpoint is cut off, by a loss of power or by somebody")
		}
		c, err := ReadCheckpoint(text, v.options.Keys)
		switch {
		case errors.Is(err, ErrNotSigned):
			return v.bad(Forged, where, last.Seq, "no key that is known has signed this checkpoint: it was changed, or the key was rotated and the one before was not given")
		case err != nil:
			return v.bad(Forged, where, last.Seq, "%v", err)
		case c.Chain != v.files.stem || node != "" && c.Node != node:
			return v.bad(Replaced, where, c.Seq, "the checkpoint is of chain %s of node %s", c.Chain, c.Node)
		case last.Number == 0 && c.Number > 1 && lines < few:
			return v.bad(Forged, where, c.Seq, "the first checkpoint is number %d, and those before it were not removed to save space", c.Number)
		case last.Number != 0 && c.Number != last.Number+1:
			return v.bad(Forged, where, c.Seq, "checkpoint %d follows checkpoint %d", c.Number, last.Number)
		case c.Seq < last.Seq:
			return v.bad(RolledBack, where, c.Seq+1, "the log stood at entry %d, and later at entry %d: it was set back in between", last.Seq, c.Seq)
		}
		node, last = c.Node, c
		v.signed = append(v.signed, c)
	}
	v.beside = last
	v.witness(node)
	return nil
}

// witness adds the checkpoints that were kept elsewhere. One that is newer than all beside the log shows that both were
// set back.
func (v *verifier) witness(node string) {
	v.latest = v.beside
	for _, line := range v.options.Witness {
		c, err := ReadCheckpoint(line, v.options.Keys)
		if err != nil || c.Chain != v.files.stem || node != "" && c.Node != node {
			continue
		}
		node = c.Node
		v.signed = append(v.signed, c)
		if c.Number > v.latest.Number {
			v.latest = c
		}
	}
	slices.SortStableFunc(v.signed, func(a, b Checkpoint) int { return cmp.Compare(a.Seq, b.Seq) })
}
