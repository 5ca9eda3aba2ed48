package prefilter

import (
	"testing"

	"github.com/gatehouse-sec/gatehouse/guard/waf/referee"
)

func TestSuiteSameVerdict(t *testing.T) {
	w := the(t)
	tests, err := referee.Suite()
	if err != nil {
		t.Fatal(err)
	}
	var requests []referee.Request
	for _, x := range tests {
		if x.Answered() {
			continue
		}
		r, err := w.collector.Collect(x.Message)
		if err != nil {
			continue
		}
		r.Name = x.ID
		r.Settings.Paranoia = x.Level
		requests = append(requests, r)
	}
	c := w.candidate(t)
	report, err := w.referee.Compare(c, requests, 1, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	for _, f := range report.Findings {
		t.Error(f)
	}
	again, err := w.referee.Compare(c, requests, 1, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(again)
	for _, f := range again.Findings {
		t.Error(f)
	}
}
