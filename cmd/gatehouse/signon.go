package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/guard/identity"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	sessions "github.com/gatehouse-sec/gatehouse/guard/identity/session/kept"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/pipeline"
	"github.com/gatehouse-sec/gatehouse/portal"
	"github.com/gatehouse-sec/gatehouse/portal/factor"
	"github.com/gatehouse-sec/gatehouse/portal/user"
	"github.com/gatehouse-sec/gatehouse/store"
)

// openSessions reads the sessions, before any request comes.
func (o opening) openSessions(ctx context.Context, h *held) (err error) {
	if h.signing, err = h.ring.Derive(forFleet, "sign-on"); err != nil {
		return err
	}
	mark, err := h.ring.Derive(forFleet, "ids of sessions")
	if err != nil {
		return err
	}
	names, err := h.ring.Derive(forFleet, "names of users")
	if err != nil {
		return err
	}
	h.users, err = user.New(store.Parts{In: h.durable}, store.PartErrors, user.Options{Digest: names, Rand: random(), Now: o.now, Counters: o.counters(h)})
	if err != nil {
		return err
	}
	owners, err := h.ring.Derive(forFleet, "names of factors")
	if err != nil {
		return err
	}
	h.factors, err = factor.New(store.Parts{In: h.durable}, store.PartErrors, factor.Options{Digest: owners, Rand: random(), Now: o.now, Counters: o.counters(h)})
	if err != nil {
		return err
	}
	h.sessions = sessions.New(store.Parts{In: h.durable}, store.PartErrors, sessions.Options{Key: mark, Rand: random(), Now: o.now, Log: o.log})
	if err := h.sessions.Load(ctx); err != nil {
		return err
	}
	return h.sessions.LoadUses(ctx)
}

// signOn is what a document's portal brings along.
type signOn struct {
	providers map[string]session.Voucher // by their names
	apis      []pipeline.Own
}

// portal makes what the section of that name asks for. Without an opened state, as in check, it is only looked at.
func (n *node) portal(l *loaded, longest time.Duration, m *mistake.List) (own signOn) {
	c, _, err := config.Section[portal.Config](l.document, "portal")
	if err == nil {
		err = l.document.Place(c.Check(n.now(), longest), "portal")
	}
	m.Under("", err)
	own.providers = c.Vouchers()
	if err != nil || !c.On() {
		return own
	}
	atOrigin, atHost := http.NotFoundHandler(), http.NotFoundHandler()
	if h := n.held; h != nil {
		l.portal, err = portal.New(c, portal.Tools{
			Now: func() time.Time { return n.now() }, Rand: random(), Log: n.log, Key: h.signing, Once: n.kept.once, Sessions: h.sessions, Users: h.users, Factors: h.factors, Keys: n.kept.keys,
			Secret:    n.resolver("portal"),
			Providers: func(host string, segments []string) []string { return l.gateway.Providers(host, segments) },
			Report:    n.system, Event: identity.DefaultHeaders().Event,
		})
		if err != nil {
			m.Under("", l.document.Place(err, "portal"))
			return own
		}
		atOrigin, atHost = l.portal.AtOrigin(), l.portal.AtHost()
	}
	own.apis = []pipeline.Own{
		{Name: "portal", Contract: portal.OriginContract, Hosts: []string{c.Host()}, Handler: atOrigin},
		{Name: "portal.host", Contract: portal.HostContract, Base: portal.HostBase, Handler: atHost},
	}
	return own
}

// signOn has a document's portal say how sessions are kept; nil is a document without one, in which no session opens anything.
func (h *held) signOn(p *portal.Portal) {
	if p != nil {
		h.sessions.Set(p.Limits(), p.Confirm)
		h.invites.Store(p.Invites())
		issuers := p.Issuers()
		h.vouchers.Store(&issuers)
		return
	}
	h.invites.Store(nil)
	h.vouchers.Store(nil)
}

type sessionQuestion struct {
	All  bool   `json:"all,omitempty"`
	User string `json:"user,omitempty"`
}

type sessionList struct {
	Sessions []sessions.Listed `json:"sessions"`
}

// sessionEnding names sessions that are to end.
type sessionEnding struct {
	ID       string `json:"id,omitempty"`
	User     string `json:"user,omitempty"`
	Provider string `json:"provider,omitempty"`
	All      bool   `json:"all,omitempty"`
	Why      string `json:"why,omitempty"`
	By       string `json:"by"`
}

// chosen tells that some sessions are named.
func (q sessionEnding) chosen() bool { return q.ID != "" || q.User != "" || q.Provider != "" }

var (
	errWhichSessions = errors.New("which sessions? write an id, --user NAME, --provider NAME, or --all by itself; gatehouse session list shows them")
	errNoSession     = errors.New("no session that lives was meant by that, and nothing was ended; gatehouse session list shows those that live")
)

type sessionsEnded struct {
	Ended []session.Session `json:"ended"`
}

// sessionOperations is what can be asked about sessions.
func sessionOperations(o *control.Operations, h *held, n *node) {
	control.Handle(o, "session.list", func(ctx context.Context, q sessionQuestion, _ control.Progress) (sessionList, error) {
		if err := cmp.Or(h.sessions.Load(ctx), h.sessions.LoadUses(ctx)); err != nil {
			return sessionList{}, err
		}
		l := sessionList{Sessions: []sessions.Listed{}}
		for _, one := range h.sessions.List(q.All) {
			if q.User == "" || isOf(one.Session, q.User) {
				l.Sessions = append(l.Sessions, one)
			}
		}
		return l, nil
	})
	control.Handle(o, "session.end", func(ctx context.Context, q sessionEnding, _ control.Progress) (sessionsEnded, error) {
		return h.endSessions(ctx, n, q)
	})
}

// isOf tells that a user is meant: by subject, or by the name that people read.
func isOf(q session.Session, user string) bool { return q.Subject == user || q.Name == user }

func (h *held) endSessions(ctx context.Context, n *node, q sessionEnding) (done sessionsEnded, err error) {
	if q.chosen() == q.All {
		return done, errWhichSessions
	}
	done.Ended, err = h.sessions.EndAll(ctx, func(one session.Session) bool {
		return (q.ID == "" || one.ID == q.ID) && (q.User == "" || isOf(one, q.User)) && (q.Provider == "" || one.Provider == q.Provider)
	}, q.By, q.Why)
	for _, one := range done.Ended {
		if n != nil {
			n.system("session.ended", fmt.Sprintf("session %s of %s of %s; asked by %s, because: %s", one.ID, one.Subject, one.Issuer, q.By, cmp.Or(q.Why, "no reason given")))
		}
	}
	if err == nil && q.ID != "" && len(done.Ended) == 0 {
		err = sessions.ErrGone
	}
	if err == nil && q.chosen() && len(done.Ended) == 0 {
		err = errNoSession
	}
	return done, err
}

// revokeSessions ends the sessions that a revocation of tokens names.
func (h *held) revokeSessions(ctx context.Context, r fleet.Revocation) (int, error) {
	ended, err := h.sessions.EndAll(ctx, func(q session.Session) bool {
		return (r.Issuer == "" || r.Issuer == q.Issuer) && (r.Token == "" || r.Token == q.ID) && (r.Subject == "" || r.Subject == q.Subject) &&
			(r.Before.IsZero() || q.Created.Before(r.Before))
	}, cmp.Or(r.By, "unknown"), r.Why)
	return len(ended), err
}

func sessionCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "session",
		Short: "See who has signed in with a browser, and end sessions",
		Long:  "See who has signed in with a browser, and end sessions. What is ended is refused on every node within a second, and what it has open is closed.",
		Example: `  gatehouse session list
  gatehouse session end --user alice --why "laptop stolen"`,
	}
	c.AddCommand(sessionListCommand(std), sessionEndCommand(std))
	return c
}

func sessionListCommand(std stdio) *cobra.Command {
	var q sessionQuestion
	c := &cobra.Command{
		Use: "list", Short: "List the sessions: whose, since when, from where, and when they were used last",
		Long: `List the sessions that live, the newest first: whose they are, since when, from where, and when they were used last. With --all
also those that have ended lately, and by whom.`,
		Example: "  gatehouse session list\n  gatehouse session list --user alice --json | jq -r '.sessions[].id'", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		l, err := ask[sessionList](ctx, a, "session.list", q)
		if err != nil {
			return err
		}
		return a.print(l, func(w io.Writer) { printSessions(w, l, time.Now()) })
	})
	c.Flags().BoolVar(&q.All, "all", false, "also those that have ended")
	c.Flags().StringVar(&q.User, "user", "", "only this user's: the subject, or the name that is shown")
	return c
}

func printSessions(w io.Writer, l sessionList, now time.Time) {
	if len(l.Sessions) == 0 {
		fmt.Fprintln(w, "Nobody has a session.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUSER\tPROVIDER\tROLES\tFROM\tSINCE\tUSED\tSTATE")
	for _, s := range l.Sessions {
		state := "lives until " + s.Ends.Local().Format("2006-01-02 15:04")
		switch {
		case s.Ended != nil:
			state = "ended by " + s.Ended.By
			if s.Ended.Why != "" {
				state += ": " + s.Ended.Why
			}
		case !now.Before(s.Ends):
			state = "over"
		}
		user := s.Subject
		if s.Name != "" && s.Name != s.Subject {
			user = s.Name + " (" + s.Subject + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, user, s.Provider, cmp.Or(strings.Join(s.Roles, ","), "-"), s.Address,
			s.Created.Local().Format("2006-01-02 15:04"), s.Used.Local().Format("15:04:05"), state)
	}
	_ = t.Flush() // to a terminal that is gone
}

func sessionEndCommand(std stdio) *cobra.Command {
	var q sessionEnding
	c := &cobra.Command{
		Use:   "end [ID] [--user NAME] [--provider NAME] [--all]",
		Short: "End a session, all of a user's, all that a provider has vouched for, or all",
		Long: `End a session, all of a user's, all that a provider has vouched for, or all. Who signs in again gets a new one: to keep
somebody out, end the account at the provider first.

Exit codes: 0 ended; 1 nothing was ended, or not all that was meant.`,
		Example: `  gatehouse session end ID --why "left open in the library"
  gatehouse session end --user alice --why "laptop stolen"
  gatehouse session end --all --why "signing key of the provider leaked"`,
		Args: cobra.MaximumNArgs(1),
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		if len(args) == 1 {
			q.ID = args[0]
		}
		if q.chosen() == q.All {
			return errWhichSessions
		}
		q.By = whoAsks()
		done, err := ask[sessionsEnded](ctx, a, "session.end", q)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) {
			for _, s := range done.Ended {
				fmt.Fprintf(w, "ended %s of %s\n", s.ID, cmp.Or(s.Name, s.Subject))
			}
			if len(done.Ended) == 0 {
				fmt.Fprintln(w, "Nobody has a session; nothing was ended.")
			}
		})
	})
	f := c.Flags()
	f.StringVar(&q.User, "user", "", "all sessions of this user: the subject, or the name that is shown")
	f.StringVar(&q.Provider, "provider", "", "all sessions that this provider has vouched for")
	f.BoolVar(&q.All, "all", false, "all sessions")
	f.StringVar(&q.Why, "why", "", "the reason, for the record")
	return c
}
