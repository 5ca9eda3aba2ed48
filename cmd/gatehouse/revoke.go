package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/guard/identity/apikey"
	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
)

func revokeCommand(std stdio) *cobra.Command {
	var r fleet.Revocation
	var before, ends string
	c := &cobra.Command{
		Use:   "revoke --id ID | --subject NAME | --before TIME",
		Short: "Call tokens back before they end; every node refuses them within a second",
		Long: `Call tokens back before they end by themselves. Every node refuses them within a second, streams that they opened end,
and it stays so over restarts.

--id names one token by its jti, --subject every token of one caller, --before every token issued before a time. The first
two mean one issuer, which must be said when the document names several; --before without one means every issuer, and
API keys too: those that were made before are revoked for good. --issuer leaves them alone.

One token is remembered until every token has ended by fleet.revocations.longest_token. Of one that lives longer and has
no iat, say when it ends: --ends.`,
		Example: `  gatehouse token revoke --issuer https://idp.example.com --id 7f3c9a
  gatehouse token revoke --issuer https://idp.example.com --subject alice --why "laptop stolen"
  gatehouse token revoke --before now`,
		Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		var err error
		if r.Before, err = timeOf(before, time.Now()); err != nil {
			return err
		}
		if r.Kind, err = kindOf(r, before); err != nil {
			return err
		}
		if r.Until, err = endOf(ends, r.Kind); err != nil {
			return err
		}
		r.By = whoAsks()
		done, err := ask[fleet.Revoked](ctx, a, "token.revoke", r)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { printRevoked(w, done) })
	})
	f := c.Flags()
	f.StringVar(&r.Token, "id", "", "the token's id (jti)")
	f.StringVar(&r.Subject, "subject", "", "the caller (sub)")
	f.StringVar(&before, "before", "", `tokens issued before this time: now, a duration ago such as 1h, or 2006-01-02T15:04:05Z`)
	f.StringVar(&ends, "ends", "", "with --id: when the token ends (exp), 2006-01-02T15:04:05Z or seconds since 1970; default: by fleet.revocations.longest_token")
	f.StringVar(&r.Issuer, "issuer", "", "the issuer, as it stands in the tokens (iss)")
	f.StringVar(&r.Why, "why", "", "the reason, for the record")
	return c
}

// timeOf reads a time: now, how long ago, or a date.
func timeOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if text == "now" {
		return now, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("--before: %q is no time; write now, how long ago such as 1h30m, or %s", text, now.UTC().Format(time.RFC3339))
}

// endOf reads when a token ends, as a date or as it stands in the token.
func endOf(text string, kind fleet.Kind) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if kind != fleet.ByToken {
		return time.Time{}, errors.New("--ends is of one token; write it with --id")
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return time.Unix(n, 0).Add(clocks), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--ends: %q is no time; write exp of the token, such as %d, or 2006-01-02T15:04:05Z", text, time.Now().Add(time.Hour).Unix())
	}
	return t.Add(clocks), nil
}

// clocks is by how much a token may outlive its end: its issuer's clock may be ahead and a node's behind, each by clock_skew.
const clocks = 2 * time.Minute

// kindOf tells what is meant from the flags that were given.
func kindOf(r fleet.Revocation, before string) (fleet.Kind, error) {
	switch {
	case r.Token != "" && (r.Subject != "" || before != ""), r.Token == "" && r.Subject == "" && before == "":
		return "", errors.New("which tokens? write --id ID, --subject NAME or --before TIME; --subject and --before may stand together")
	case r.Token != "":
		return fleet.ByToken, nil
	case r.Subject != "":
		return fleet.BySubject, nil
	}
	return fleet.ByTime, nil
}

// revoke calls tokens back, and writes down which, by whom and why.
func revoke(ctx context.Context, h *held, n *node, q fleet.Revocation) (fleet.Revoked, error) {
	if n == nil {
		issuers, err := issuersIn(ctx, h.places, h.at)
		if err == nil && len(issuers) > 0 {
			err = named(issuers, &q)
		}
		if err != nil {
			return fleet.Revoked{}, err
		}
		return h.callTokensBack(ctx, q)
	}
	if err := named(n.gateway.Load().Issuers(), &q); err != nil {
		return fleet.Revoked{}, err
	}
	done, err := h.callTokensBack(ctx, q)
	if err == nil || errors.Is(err, fleet.ErrNotKept) {
		also := ""
		if done.Keys > 0 {
			also = fmt.Sprintf(" and %d API keys, for good", done.Keys)
		}
		n.system("token.revoked", fmt.Sprintf("%s%s; asked by %s, because: %s", what(done), also, done.By, cmp.Or(done.Why, "no reason given")))
	}
	if errors.Is(err, fleet.ErrNotKept) {
		err = fmt.Errorf("%w; this gateway goes on trying to write it down: don't stop it while gatehouse status says that the store has not got it", err)
	}
	return done, err
}

// callTokensBack calls tokens back, and ends the API keys and sessions among them for good.
func (h *held) callTokensBack(ctx context.Context, q fleet.Revocation) (fleet.Revoked, error) {
	done, err := h.revocations.Revoke(ctx, q)
	if done.Kind == "" {
		return done, err // it is no revocation
	}
	var problem error
	if done.Keys, problem = h.revokeKeys(ctx, done.Revocation); problem != nil {
		err = errors.Join(err, fmt.Errorf("API keys that it names are refused until %s, but not for good: %w; say it again when the store is there", done.Until.Local().Format(time.DateTime), problem))
	}
	if done.Sessions, problem = h.revokeSessions(ctx, done.Revocation); problem != nil {
		err = errors.Join(err, fmt.Errorf("sessions that it names are refused, but the list still shows them: %w; say it again when the store is there", problem))
	}
	return done, err
}

// issuersIn lists who vouches for callers by a document, for a command that serves nothing by it; nobody when there is no
// document, as with gatehouse run.
func issuersIn(ctx context.Context, at places, file string) (list []string, err error) {
	b, err := readDocument(ctx, at, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := config.Parse(b.File, b.Data)
	if err != nil {
		return nil, err
	}
	add := func(section string) {
		if d.Value(section+".development") != nil {
			list = append(list, dev.Name)
		}
		if d.Value(section+".api_keys.header") != nil {
			list = append(list, apikey.Issuer)
		}
		for i := range d.Len(section + ".issuers") {
			if name, ok := d.Value(fmt.Sprintf("%s.issuers[%d].issuer", section, i)).(string); ok {
				list = append(list, name)
			}
		}
	}
	add("guards.identity")
	for i := range d.Len("apis") {
		add(fmt.Sprintf("apis[%d].guards.identity", i))
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// named fills in the issuer where only one can be meant, and refuses one whose tokens nobody takes: a slip of the pen would
// look like a token called back.
func named(issuers []string, r *fleet.Revocation) error {
	switch {
	case r.Issuer == "" && r.Kind == fleet.ByTime:
	case r.Issuer == "" && len(issuers) == 1:
		r.Issuer = issuers[0]
	case r.Issuer == "":
		return fmt.Errorf("whose tokens? the same name means another caller at another issuer; add --issuer with one of: %s", strings.Join(issuers, ", "))
	case !slices.Contains(issuers, r.Issuer):
		return fmt.Errorf("no API takes tokens of %q; write --issuer with one of: %s", r.Issuer, strings.Join(issuers, ", "))
	}
	return nil
}

// what tells in words which tokens were called back.
func what(done fleet.Revoked) string {
	text := "token " + tame(done.Token)
	switch done.Kind {
	case fleet.BySubject:
		text = "every token of " + tame(done.Subject) + " issued before " + done.Before.Local().Format(time.DateTime)
	case fleet.ByTime:
		text = "every token issued before " + done.Before.Local().Format(time.DateTime)
	}
	if done.Issuer != "" {
		text += " by " + tame(done.Issuer)
	}
	return text
}

func printRevoked(w io.Writer, done fleet.Revoked) {
	entry(w, "revoked", what(done))
	if !done.Until.IsZero() {
		entry(w, "kept", "until "+done.Until.Local().Format(time.DateTime)+", when all of them have ended")
	}
	if done.Keys > 0 {
		entry(w, "API keys", fmt.Sprintf("%d revoked with them, for good; to replace one: gatehouse apikey create", done.Keys))
	}
	if done.Sessions > 0 {
		entry(w, "sessions", fmt.Sprintf("%d ended with them", done.Sessions))
	}
	if !done.Told {
		entry(w, "nodes", "learn it from the store, within a second")
	}
}

// whoAsks names the account that runs this command, for the record.
func whoAsks() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
