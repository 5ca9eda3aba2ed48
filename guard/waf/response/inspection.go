package response

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// inspection looks into one answer.
type inspection struct {
	inspector *Inspector
	x         *gate.Exchange
	status    int
	fields    http.Header
	unsure    bool // whether the body is text shows when it comes
	off       bool // it isn't, or all was said

	scanner scanner
	score   int // of rules that matched in pieces
	noted   []gate.Would
}

// most is how many finds of one answer are recorded.
const most = 8

// Hold says how much waits for Begin, and how long. Of what is perhaps no text only enough to tell is held.
func (n *inspection) Hold() (bytes int, wait time.Duration) {
	if n.unsure {
		return sniffed, n.inspector.cfg.Wait
	}
	return int(n.inspector.cfg.Exact), n.inspector.cfg.Wait
}

// Begin judges what is held. Whole says that nothing comes after.
func (n *inspection) Begin(ctx context.Context, body []byte, whole bool) gate.Verdict {
	if err := n.inspector.rules.Ready(); err != nil {
		return n.unread("the rules: %v", err)
	}
	if n.unsure && !looksLikeText(body) {
		n.off = true
		return gate.Allow()
	}
	if !n.unsure && isWide(n.fields, body) {
		n.off = true
		return n.unread("its characters are those of UTF-16 or UTF-32")
	}
	leaks, matched := n.scanner.read(body, whole)
	if v := n.leaks(leaks); !v.Allowed() {
		return v
	}
	if n.inspector.rules.mustAsk(matched) {
		if v := n.judge(ctx, string(body), matched); !v.Allowed() {
			return v
		}
	}
	return n.unspent()
}

// Next judges what follows, in order. Last says that nothing comes after.
func (n *inspection) Next(_ context.Context, body []byte, last bool) gate.Verdict {
	if n.off {
		return gate.Allow()
	}
	leaks, matched := n.scanner.read(body, last)
	if v := n.leaks(leaks); !v.Allowed() {
		return v
	}
	for _, r := range matched {
		id := strconv.Itoa(r.id)
		if n.scanner.except[id] {
			continue
		}
		n.score += r.score
		v := gate.Deny(gate.BadServer, ReasonRule, "the server's answer, looked at in pieces: rule %d", r.id).At("crs " + id).Fixed(n.fix(id))
		if v = n.say(id, v, n.score >= n.inspector.cfg.Threshold); !v.Allowed() {
			return v
		}
	}
	return n.unspent()
}

// Unread judges an answer that can't be looked into from here on.
func (n *inspection) Unread(why string) gate.Verdict {
	if n.off {
		return gate.Allow()
	}
	n.off = true
	return n.unread("%s", why)
}

func (n *inspection) unread(format string, args ...any) gate.Verdict {
	return n.say("", gate.Deny(gate.BadServer, ReasonUnread, "the server's answer can't be looked into: "+format, args...).At("guards.waf.responses"), true)
}

// unspent tells, once, that not everything was looked at.
func (n *inspection) unspent() gate.Verdict {
	if !n.scanner.spent || n.off {
		return gate.Allow()
	}
	n.off = true
	return n.unread("more of it looks suspicious than there is time for")
}

// Pending is how many of the last bytes look like the beginning of what would be refused, and are not certain yet.
func (n *inspection) Pending() int {
	if n.off {
		return 0
	}
	return n.scanner.pending
}

// Noted gives, once, what was found and not refused.
func (n *inspection) Noted() []gate.Would {
	noted := n.noted
	n.noted = nil
	return noted
}

func (n *inspection) leaks(list []finding) gate.Verdict {
	for _, f := range list {
		name := strings.ReplaceAll(strings.TrimPrefix(f.kind, "leak."), "_", " ")
		v := gate.Deny(gate.BadServer, ReasonLeak, "the server's answer of status %d holds, from byte %d on, a %s", n.status, f.at, name).At(f.kind).Showing(f.shown).Fixed(n.fix(f.kind))
		if v = n.say(f.kind, v, true); !v.Allowed() {
			return v
		}
	}
	return gate.Allow()
}

// say refuses, or notes what would be refused in another mode. Enough says that it would be.
func (n *inspection) say(kind string, v gate.Verdict, enough bool) gate.Verdict {
	if enough && n.inspector.refuses(kind, n.status) {
		return v
	}
	if len(n.noted) < most {
		n.noted = append(n.noted, gate.Would{Code: v.Code, Reason: v.Reason, Rule: v.Rule, Detail: v.Detail})
	}
	return gate.Allow()
}

func (n *inspection) fix(kind string) string {
	return fmt.Sprintf("responses: {except: [{rule: %s, operation: %s}]}  # guards.waf", kind, n.x.Operation.Key)
}
