package response

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
)

// transaction is what is used of Coraza's beyond its published interface; the version is pinned.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(id int)
	RemoveRuleByIDRange(start, end int)
}

// mustAsk tells that only the engine can say what the rules make of an answer.
func (r *Rules) mustAsk(matched []*rule) bool {
	return r.all || len(matched) > 0 || slices.ContainsFunc(r.rules, func(k *rule) bool { return k.always })
}

// judge asks the engine. Rules that were shown not to match are left out: what they would cost on this text is most of the
// price, and none of them stands where rules are counted.
func (n *inspection) judge(_ context.Context, body string, matched []*rule) gate.Verdict {
	r := n.inspector.rules
	tx, ok := r.waf.NewTransactionWithID(n.x.ID).(transaction)
	if !ok {
		return n.unread("this version of the engine is not the one that is known")
	}
	defer tx.Close()
	tx.RemoveRuleByIDRange(910000, 949999) // they look at requests
	for _, k := range r.rules {
		if !k.always && !slices.Contains(matched, k) {
			tx.RemoveRuleByID(k.id)
		}
	}
	for name := range n.scanner.except {
		if id, err := strconv.Atoi(name); err == nil {
			tx.RemoveRuleByID(id)
		}
	}
	n.feed(tx)
	it := tx.ProcessResponseHeaders(n.status, "HTTP/1.1")
	if it == nil {
		if v, settable := tx.Variables().ResponseBody().(interface{ Set(string) }); settable {
			v.Set(body)
		}
		var err error
		if it, err = tx.ProcessResponseBody(); err != nil {
			return n.unread("%v", err)
		}
	}
	return n.verdict(tx, it)
}

// feed sets what the rules read beside the body. A coding was taken off before anybody looked.
func (n *inspection) feed(tx transaction) {
	vars, level := tx.Variables().TX(), strconv.Itoa(n.inspector.paranoia)
	vars.Set("blocking_paranoia_level", []string{level})
	vars.Set("detection_paranoia_level", []string{level})
	vars.Set("outbound_anomaly_score_threshold", []string{strconv.Itoa(n.inspector.cfg.Threshold)})
	tx.ProcessConnection(n.x.Source.Client.String(), 0, "", 0)
	if q := n.x.Request; q != nil {
		uri := q.Path
		if query := canon.EncodeQuery(q.Query); query != "" {
			uri += "?" + query
		}
		tx.ProcessURI(uri, q.Method, "HTTP/1.1")
		tx.AddRequestHeader("Host", q.Host)
	}
	tx.ProcessRequestHeaders()
	for name, values := range n.fields {
		if name == "Content-Encoding" {
			continue
		}
		for _, v := range values {
			tx.AddResponseHeader(name, v)
		}
	}
}

// verdict names the rules that matched, and where.
func (n *inspection) verdict(tx transaction, it *types.Interruption) gate.Verdict {
	var words []string
	var first, shown string
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if id >= 959000 && id <= 980999 || m.Message() == "" || m.Rule().Phase() < types.PhaseResponseHeaders {
			continue
		}
		words = append(words, fmt.Sprintf("%d %s", id, m.Message()))
		if first == "" {
			first = strconv.Itoa(id)
			for _, d := range m.MatchedDatas() {
				shown = gate.Mask(tx0(d))
				break
			}
		}
	}
	if len(words) == 0 && it == nil {
		return gate.Allow()
	}
	if first == "" {
		first = strconv.Itoa(it.RuleID)
	}
	v := gate.Deny(gate.BadServer, ReasonRule, "the server's answer of status %d: %s", n.status, strings.Join(words, "; ")).At("crs " + first).Showing(shown).Fixed(n.fix(first))
	return n.say(first, v, it != nil)
}

// tx0 is what an expression has matched, as far as the engine remembers it: the words behind "Matched Data: ".
func tx0(d types.MatchData) string {
	if text, ok := strings.CutPrefix(d.Data(), "Matched Data: "); ok {
		if i := strings.LastIndex(text, " found within "); i >= 0 {
			return text[:i]
		}
	}
	return ""
}
