package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tour is one walk: good requests, attacks, open holes, good requests again.
type tour struct {
	shop      shop
	gateway   *target // nil: only the direct half
	gatehouse gatehouse
	message   message
	without   []string // guards that are switched off: what is credited to them must succeed
	only      []string // hole ids; empty means all
	done      func(step)
}

// step is one line of the tour, and one element of its JSON form.
type step struct {
	Part    string `json:"part"` // good, attack, open, good again
	Hole    string `json:"hole,omitempty"`
	Name    string `json:"name"`
	Service string `json:"service"`
	Guard   string `json:"guard,omitempty"`
	Direct  *side  `json:"direct,omitempty"`
	Gateway *side  `json:"gateway,omitempty"`
	Words   string `json:"explained,omitempty"` // what `gatehouse explain` says of the denial, in one line
	Claimed bool   `json:"as_claimed"`
	Note    string `json:"note,omitempty"` // what is not as claimed, or why it was not tried
}

// side is what happened at the service, or through the gateway.
type side struct {
	Status int    `json:"status"`
	Code   string `json:"code,omitempty"`
	Event  string `json:"event,omitempty"`
	Effect bool   `json:"effect"` // the attacker got it; for a good request: it was served as it should be
}

// walk does everything and tells whether all was as claimed.
func (t tour) walk() (bool, error) {
	all := true
	take := func(s step, err error) error {
		if err == nil {
			all = all && s.Claimed
			t.done(s)
		}
		return err
	}
	if err := t.goodDay("good", take); err != nil {
		return false, err
	}
	for _, a := range attacks() {
		if err := t.each("attack", a, take); err != nil {
			return false, err
		}
	}
	for _, a := range open() {
		if err := t.each("open", a, take); err != nil {
			return false, err
		}
	}
	err := t.goodDay("good again", take)
	return all, errors.Join(err, t.shop.reset())
}

func (t tour) each(part string, a attack, take func(step, error) error) error {
	if len(t.only) > 0 && !slices.Contains(t.only, a.Hole) {
		return nil
	}
	s, err := t.attack(part, a)
	return take(s, err)
}

// goodDay sends every good request, through the gateway when there is one.
func (t tour) goodDay(part string, take func(step, error) error) error {
	if err := t.shop.reset(); err != nil {
		return err
	}
	for _, g := range goods() {
		raw, err := g.write(t.message)
		if err != nil {
			return err
		}
		at, s := t.service(g.Service), step{Part: part, Name: g.Name, Service: g.Service}
		if t.gateway != nil {
			at = *t.gateway
		}
		a := patiently(func() answer { return at.send(raw, "") })
		seen := sideOf(a)
		seen.Effect = a.Status == g.Status && strings.Contains(a.Body, g.Want)
		s.Claimed = seen.Effect
		if !seen.Effect {
			s.Note = fmt.Sprintf("want %d and %q in the answer, got %s", g.Status, g.Want, said(a))
		}
		if s.Direct = seen; t.gateway != nil {
			s.Direct, s.Gateway = nil, seen
		}
		if err := take(s, nil); err != nil {
			return err
		}
	}
	return nil
}

// patiently does what a good client does when it is told to wait: it waits, up to three times.
func patiently(send func() answer) answer {
	a := send()
	for range 3 {
		if a.Status != http.StatusTooManyRequests {
			return a
		}
		time.Sleep(pause(a))
		a = send()
	}
	return a
}

// pause is how long a 429 asks to wait, at least one second and at most five.
func pause(a answer) time.Duration {
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		seconds = 1
	}
	return time.Duration(min(seconds, 5)) * time.Second
}

func (t tour) service(name string) target { return target{address: t.shop[name]} }

// attack sends the same bytes to the service and through the gateway, each on the shop's first day.
func (t tour) attack(part string, a attack) (step, error) {
	s := step{Part: part, Hole: a.Hole, Name: a.Name, Service: a.Service, Guard: a.Guard}
	messages, err := a.Write(t.message)
	if err != nil {
		return s, fmt.Errorf("%s: %w", a.Hole, err)
	}
	direct, o, err := t.strike(t.service(a.Service), a, messages)
	if err != nil {
		return s, err
	}
	if errors.Is(o.last().Err, syscall.EADDRNOTAVAIL) {
		s.Claimed, s.Note = true, "not tried: this machine has no address "+a.From
		return s, nil
	}
	s.Direct = direct
	if s.Claimed = direct.Effect; !direct.Effect {
		s.Note = "has no effect on the service itself: " + said(o.last())
		return s, nil
	}
	if t.gateway == nil {
		return s, nil
	}
	if s.Gateway, o, err = t.strikePatiently(*t.gateway, a, messages); err != nil {
		return s, err
	}
	s.Note = t.judge(a, s.Gateway, o)
	switch s.Words, err = t.gatehouse.words(s.Gateway.Event); {
	case err != nil:
		s.Note = err.Error()
	case s.Note == "" && s.Words != "" && !slices.Contains(t.without, a.Guard) && !credits(a.Guard, s.Words):
		s.Note = "credited to " + a.Guard + ", but explained as: " + oneLine(s.Words)
	}
	s.Claimed = s.Note == ""
	return s, nil
}

// strike brings back the first day, sends, and looks at what is left behind.
func (t tour) strike(at target, a attack, messages [][]byte) (*side, outcome, error) {
	if err := t.shop.reset(); err != nil {
		return nil, outcome{}, err
	}
	before, err := t.shop.state()
	if err != nil {
		return nil, outcome{}, err
	}
	answers := at.sendAll(messages, a.Workers, a.From)
	after, err := t.shop.state()
	if err != nil {
		return nil, outcome{}, err
	}
	o := outcome{answers: answers, before: before, after: after}
	seen := sideOf(o.telling(a.Expect))
	seen.Effect = a.Effect(o)
	return seen, o, nil
}

// strikePatiently waits when the attacks before have used up the address's rate, so that each is stopped by its own guard.
func (t tour) strikePatiently(at target, a attack, messages [][]byte) (seen *side, o outcome, err error) {
	for range 4 {
		seen, o, err = t.strike(at, a, messages)
		if err != nil || a.Guard == "rate" || seen.Status != http.StatusTooManyRequests {
			break
		}
		time.Sleep(pause(o.last()))
	}
	return seen, o, err
}

// credits tells whether the words of explain name the guard. A body is read, within the limits, when the first guard needs
// it: then that guard is named, and the reason tells that the body was the matter.
func credits(guard, words string) bool {
	_, decided, found := strings.Cut(words, "denied by ")
	if guard == "" || !found {
		return guard == ""
	}
	by, rest, _ := strings.Cut(decided, ":")
	reason := strings.TrimSpace(rest)
	aboutBody := strings.HasPrefix(reason, "body.") || strings.HasPrefix(reason, "coding.") || strings.HasPrefix(reason, "contract.media_type")
	return by == guard || aboutBody && (guard == "body" || guard == "limits")
}

// judge says what of the claim is not true; "" when all is.
func (t tour) judge(a attack, seen *side, o outcome) string {
	switch {
	case a.Guard == "" || slices.Contains(t.without, a.Guard):
		if !seen.Effect {
			return "claimed to work through the gateway, but it does not: " + said(o.last())
		}
	case seen.Effect:
		return "got through: " + said(o.last())
	case !slices.Contains(a.Expect, seen.Status):
		return fmt.Sprintf("want status %v, got %s", a.Expect, said(o.last()))
	case seen.Status >= 400 && seen.Event == "":
		return "the denial has no event id: " + said(o.last())
	}
	return ""
}

func sideOf(a answer) *side {
	s := &side{Status: a.Status}
	if a.Status >= 400 {
		s.Code, s.Event = a.problem()
	}
	return s
}

// said is an answer in a few words.
func said(a answer) string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return fmt.Sprintf("%d %.120s", a.Status, strings.Join(strings.Fields(a.Body), " "))
}

// newTour prepares a walk through a shop. Host is what requests carry as Host.
func newTour(s shop, gateway *target, host string, g gatehouse, done func(step)) (tour, error) {
	_, inside, err := net.SplitHostPort(s["catalogue"])
	if err != nil {
		return tour{}, fmt.Errorf("address of the catalogue: %w", err)
	}
	m := message{host: host, token: g.tokens(), inside: inside}
	return tour{shop: s, gateway: gateway, gatehouse: g, message: m, done: done}, nil
}
