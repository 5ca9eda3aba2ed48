package referee

import (
	"testing"
)

// Fuzz is the body of a fuzz target that holds a candidate to the referee. Seeds are requests to move around; the fuzzer
// draws which, by which steps, and a text that is mixed in or stands in a spot of its own.
func Fuzz(f *testing.F, r *Referee, c *Collector, candidate Candidate, seeds []Request) {
	for i := range min(len(seeds), 150) {
		f.Add(uint64(i*7919), "1' or 1=1 -- ", uint8(i))
	}
	for i, text := range []string{"", "'", "\u017fleep(1)", "\xff\xfe", "%27%20or%201", "&lt;script&gt;", `\u003cscript`, "PHNjcmlwdD4=", "<scr\x00ipt>", "un/**/ion select", "c^at /etc/passwd", "${jndi:ldap://x}"} {
		f.Add(uint64(i), text, uint8(i))
	}
	spots := Spots()
	f.Fuzz(func(t *testing.T, draw uint64, text string, spot uint8) {
		if len(text) > 2000 {
			return
		}
		random := Seed(draw)
		request := seeds[draw%uint64(len(seeds))]
		if int(spot) < len(spots) {
			placed, err := c.Placed("fuzz", text, spots[spot], Settings{Paranoia: 1 + int(draw>>8)%4, TX: request.Settings.TX})
			if err != nil {
				return // no such request can be written
			}
			request = placed
		}
		if draw%3 > 0 || int(spot) >= len(spots) {
			request = Mutate(random, request, []string{text})
		}
		report, err := r.Compare(candidate, []Request{request}, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range report.Findings {
			t.Error(finding)
		}
	})
}
