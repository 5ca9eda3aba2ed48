package apikey_test

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
)

// E35: whether an id is there can't be told from how long its refusal takes: 10^4 interleaved samples of each. What a clock
// measures on a busy machine is chance, so the times are judged in make soak; that all of them are refused alike, always.
func TestTiming(t *testing.T) {
	s := &shelf{keys: map[apikey.Digest]*apikey.Entry{}}
	var ids []string
	for range 100 {
		id, _ := s.put(t, nil)
		ids = append(ids, id)
	}
	const n, rounds = 10_000, 8
	var known, unknown []string // each key once: what one costs by its own letters and place in memory is no difference of kind
	for i := range n {
		_, key := fresh(t)
		known = append(known, otherSecret(t, ids[i%len(ids)]))
		unknown = append(unknown, key)
	}
	r := apikey.New("shop", field, s, noon)
	measure := func(key string) time.Duration {
		x := asked(field, key)
		began := time.Now()
		var v gate.Verdict
		for range rounds {
			_, _, v = r.Read(t.Context(), x)
		}
		took := time.Since(began)
		if v.Reason != apikey.Unknown {
			t.Fatalf("%+v", v)
		}
		return took
	}
	var a, b []time.Duration
	for i := range n {
		if i%2 == 0 {
			a, b = append(a, measure(known[i])), append(b, measure(unknown[i]))
		} else {
			b, a = append(b, measure(unknown[i])), append(a, measure(known[i]))
		}
	}
	z := mannWhitney(a, b)
	p := math.Erfc(math.Abs(z) / math.Sqrt2)
	slices.Sort(a)
	slices.Sort(b)
	t.Logf("known id %s, unknown %s (median of %d, %d reads each), z %.2f, p %.3f", a[n/2], b[n/2], n, rounds, z, p)
	if os.Getenv("GATEHOUSE_SOAK") != "" && p < 0.01 {
		t.Errorf("p is %.4f", p)
	}
}

// otherSecret is a well-formed key of an id, with a secret by chance.
func otherSecret(t *testing.T, id string) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(strings.ToUpper(id))
	if err != nil {
		t.Fatal(err)
	}
	got, key, err := apikey.Make(io.MultiReader(bytes.NewReader(raw), rand.Reader))
	if err != nil || got != id {
		t.Fatal(got, err)
	}
	return key
}

// mannWhitney is how many standard deviations the ranks of a lie from what they would be if a and b were alike.
func mannWhitney(a, b []time.Duration) float64 {
	type one struct {
		took  time.Duration
		first bool
	}
	var all []one
	for _, d := range a {
		all = append(all, one{d, true})
	}
	for _, d := range b {
		all = append(all, one{d, false})
	}
	slices.SortFunc(all, func(x, y one) int { return cmp.Compare(x.took, y.took) })
	ranks, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].took == all[i].took {
			j++
		}
		for _, o := range all[i:j] {
			if o.first {
				ranks += float64(i+j+1) / 2
			}
		}
		same := float64(j - i)
		ties += same*same*same - same
		i = j
	}
	n, m, total := float64(len(a)), float64(len(b)), float64(len(all))
	u := ranks - n*(n+1)/2
	return (u - n*m/2) / math.Sqrt(n*m/12*(total+1-ties/(total*(total-1))))
}
