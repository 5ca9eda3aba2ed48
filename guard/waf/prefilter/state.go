package prefilter

import "github.com/gatehouse-sec/gatehouse/guard/waf/secrule"

// capturing is an idle transaction that remembers what an operator captured.
type capturing struct {
	secrule.Idle
	fields *[]string
}

func (s capturing) Capturing() bool { return true }

func (s capturing) CaptureField(i int, value string) {
	for len(*s.fields) <= i {
		*s.fields = append(*s.fields, "")
	}
	(*s.fields)[i] = value
}
