package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/guard/identity/session"
	"github.com/gatehouse-sec/gatehouse/guard/rate"
	"github.com/gatehouse-sec/gatehouse/kit/control"
	"github.com/gatehouse-sec/gatehouse/portal"
	"github.com/gatehouse-sec/gatehouse/portal/factor"
	"github.com/gatehouse-sec/gatehouse/portal/user"
	"github.com/gatehouse-sec/gatehouse/store/memory"
)

// counters are where tries to sign in are counted: where the nodes count together, else in this process.
func (o opening) counters(h *held) rate.Counters {
	if h.shared != nil {
		return h.shared.NewCounters(counted, steady())
	}
	return memory.NewCounters(counted, steady())
}

type userAsked struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles,omitempty"`
	Why   string   `json:"why,omitempty"`
	By    string   `json:"by"`
}

// userInvited is an invitation on its way to whoever asked for it: the only time that the link is anywhere.
type userInvited struct {
	Link  string    `json:"link"`
	User  user.User `json:"user"`
	Ended int       `json:"sessions_ended,omitempty"`
	Notes []string  `json:"notes,omitempty"`
}

// Format hides the link from every format.
func (userInvited) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

type userDone struct {
	User  user.User `json:"user"`
	Ended int       `json:"sessions_ended,omitempty"`
	Notes []string  `json:"notes,omitempty"`
}

type userList struct {
	Users []user.User `json:"users"`
}

// userOperations is what can be asked about local users.
func userOperations(o *control.Operations, h *held, n *node) {
	control.Handle(o, "user.invite", func(ctx context.Context, q userAsked, _ control.Progress) (done userInvited, err error) {
		at, err := h.invitesAt(n)
		if err != nil {
			return done, err
		}
		done.User, done.Link, err = h.users.Invite(ctx, q.Name, q.Roles, q.By)
		if err == nil {
			done.Link, done.Notes = at+done.Link, unknownRoles(n, q.Roles)
			h.tellUser(n, "user.invited", done.User, q)
		}
		return done, err
	})
	control.Handle(o, "user.reset", func(ctx context.Context, q userAsked, _ control.Progress) (done userInvited, err error) {
		at, err := h.invitesAt(n)
		if err != nil {
			return done, err
		}
		if done.User, done.Link, err = h.users.Reset(ctx, q.Name); err != nil {
			return done, err
		}
		done.Link = at + done.Link
		h.tellUser(n, "user.reset", done.User, q)
		done.Ended, err = h.endOfUser(ctx, done.User, q)
		return done, err
	})
	control.Handle(o, "user.roles", func(ctx context.Context, q userAsked, _ control.Progress) (done userDone, err error) {
		if done.User, err = h.users.SetRoles(ctx, q.Name, q.Roles); err != nil {
			return done, err
		}
		done.Notes = unknownRoles(n, q.Roles)
		h.tellUser(n, "user.roles", done.User, q)
		done.Ended, err = h.endOfUser(ctx, done.User, q)
		return done, err
	})
	control.Handle(o, "user.remove", func(ctx context.Context, q userAsked, _ control.Progress) (done userDone, err error) {
		if done.User, err = h.users.Remove(ctx, q.Name); err != nil {
			return done, err
		}
		h.tellUser(n, "user.removed", done.User, q)
		if at := h.vouchers.Load(); at != nil { // nobody else gets the id, so that nothing hangs on it
			_ = h.factors.Remove(ctx, factor.Whose{Issuer: (*at)[portal.LocalName], Subject: done.User.ID})
		}
		done.Ended, err = h.endOfUser(ctx, done.User, q)
		return done, err
	})
	control.Handle(o, "user.factor", func(ctx context.Context, q factorAsked, _ control.Progress) (factorDone, error) {
		return h.changeFactor(ctx, n, q)
	})
	control.Handle(o, "user.list", func(ctx context.Context, _ nothing, _ control.Progress) (l userList, err error) {
		l.Users, err = h.users.List(ctx)
		return l, err
	})
}

// factorAsked is a change of a user's second factors.
type factorAsked struct {
	Name     string        `json:"name"`     // of a local user, or the subject at a provider
	Provider string        `json:"provider"` // local, or a provider of the document
	Remove   bool          `json:"remove,omitempty"`
	Allow    time.Duration `json:"allow,omitempty"`
	Why      string        `json:"why,omitempty"`
	By       string        `json:"by"`
}

type factorDone struct {
	Has   bool       `json:"has"`
	Until *time.Time `json:"may_enrol_until,omitempty"`
	Ended int        `json:"sessions_ended,omitempty"`
}

// changeFactor takes a user's second factors away, and lets one be enrolled: the one road for who has lost them.
func (h *held) changeFactor(ctx context.Context, n *node, q factorAsked) (done factorDone, err error) {
	if !q.Remove && q.Allow == 0 {
		return done, errors.New("what is to be done? write --allow 24h, so that a first factor may be added, or --remove for who has lost theirs, or both")
	}
	if q.Allow < 0 || q.Allow > 7*24*time.Hour {
		return done, errors.New("--allow: write for how long a factor may be added, such as 24h, at most 168h")
	}
	issuers := h.vouchers.Load()
	if issuers == nil {
		return done, errors.New("the gateway doesn't run, or its document has no section portal: it alone knows who vouches for users")
	}
	issuer, known := (*issuers)[q.Provider]
	if !known {
		return done, fmt.Errorf("--provider: there is none named %.40q in the document in force", q.Provider)
	}
	whose := factor.Whose{Issuer: issuer, Subject: q.Name}
	if q.Provider == portal.LocalName {
		u, err := h.users.Get(ctx, q.Name)
		if err != nil {
			return done, err
		}
		whose.Subject = u.ID
	}
	if q.Remove {
		if err := h.factors.Remove(ctx, whose); err != nil {
			return done, fmt.Errorf("%s of %s: %w; nothing was changed", whose.Subject, q.Provider, err)
		}
		ended, err := h.sessions.EndAll(ctx, func(one session.Session) bool { return one.Issuer == whose.Issuer && one.Subject == whose.Subject }, q.By, cmp.Or(q.Why, "the second factor was removed"))
		if done.Ended = len(ended); err != nil {
			return done, err
		}
	}
	if q.Allow > 0 {
		if err := h.factors.Permit(ctx, whose, q.Allow); err != nil {
			return done, err
		}
		until := h.now().Add(q.Allow).UTC()
		done.Until = &until
	}
	if n != nil {
		n.system("factor.changed", fmt.Sprintf("of %s of %s: removed %t, one may be added for %s; asked by %s, because: %s", whose.Subject, whose.Issuer, q.Remove, q.Allow, q.By, cmp.Or(q.Why, "no reason given")))
	}
	done.Has, _, err = h.factors.Has(ctx, whose)
	return done, err
}

func userFactorCommand(std stdio) *cobra.Command {
	var q factorAsked
	c := &cobra.Command{
		Use: "factor NAME --allow TIME [--remove]", Short: "Let a user add a second factor, or take away one that is lost",
		Long: `Let a user add a first second factor for a time, or take away those that are lost; with both, the user adds another. Nobody gets a first
factor by a password alone: who stole that would add their own. A local user who has just chosen a password may add one for fifteen minutes.

With --provider, NAME is the subject at that provider, as gatehouse session list shows it.`,
		Example: `  gatehouse user factor alice --allow 24h
  gatehouse user factor alice --remove --allow 24h --why "phone lost; seen in person"
  gatehouse user factor 248289761001 --provider corp --allow 1h`,
		Args: oneUser,
	}
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q.Name, q.By = args[0], whoAsks()
		done, err := ask[factorDone](ctx, a, "user.factor", q)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) {
			if q.Remove {
				fmt.Fprintf(w, "%s has no second factor now; %s ended\n", q.Name, count(done.Ended, "session"))
			}
			if done.Until != nil {
				fmt.Fprintf(w, "%s may add one until %s, on the portal's page\n", q.Name, done.Until.Local().Format("2006-01-02 15:04"))
			}
		})
	})
	f := c.Flags()
	f.DurationVar(&q.Allow, "allow", 0, "for how long a first factor may be added, such as 24h")
	f.BoolVar(&q.Remove, "remove", false, "take away the factors that there are, and end the sessions")
	f.StringVar(&q.Provider, "provider", portal.LocalName, "who vouches for the user")
	f.StringVar(&q.Why, "why", "", "the reason, for the record")
	return c
}

// invitesAt is where people who are invited choose a password.
func (h *held) invitesAt(n *node) (string, error) {
	if at := h.invites.Load(); at != nil {
		return *at, nil
	}
	if n == nil {
		return "", errors.New("the gateway doesn't run, and only it knows by its document where people choose a password; start it and ask again")
	}
	return "", errors.New("the document in force has no local users: write portal: {origin: https://login.example.com, local: {}}, and providers: [local] under guards.identity.sessions")
}

// unknownRoles names roles that no operation asks for.
func unknownRoles(n *node, roles []string) (notes []string) {
	if n == nil {
		return nil
	}
	asked := map[string]bool{}
	for _, api := range n.gateway.Load().APIs() {
		for _, op := range api.Operations {
			for _, rule := range op.Access.Rules {
				for _, need := range rule.AnyOf {
					for _, r := range need.Roles {
						asked[r] = true
					}
				}
			}
		}
	}
	for _, r := range roles {
		if !asked[r] {
			notes = append(notes, fmt.Sprintf("no operation asks for the role %s", r))
		}
	}
	return notes
}

func (h *held) tellUser(n *node, reason string, u user.User, q userAsked) {
	if n != nil {
		n.system(gate.Reason(reason), fmt.Sprintf("%s (%s), roles %s; asked by %s, because: %s", u.Name, u.ID, cmp.Or(strings.Join(u.Roles, ", "), "none"), q.By, cmp.Or(q.Why, "no reason given")))
	}
}

// endOfUser ends the sessions of a user who is not who they were.
func (h *held) endOfUser(ctx context.Context, u user.User, q userAsked) (int, error) {
	done, err := h.sessions.EndAll(ctx, func(one session.Session) bool { return one.Provider == portal.LocalName && one.Subject == u.ID }, q.By, cmp.Or(q.Why, "the user was changed"))
	if err != nil {
		err = fmt.Errorf("the user was changed, but sessions may go on with what the user had before: %w; end them: gatehouse session end --user %s", err, u.Name)
	}
	return len(done), err
}

func userCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "Invite local users, whom no provider vouches for, and change or remove them",
		Long: `Invite local users, whom no provider vouches for, and change or remove them. Nobody has a password that somebody else has
chosen: who is invited chooses one, by a link that is good once and for three days.`,
		Example: `  gatehouse user invite alice --role support
  gatehouse user list
  gatehouse user reset alice --why "lost the password"
  gatehouse user remove alice --why "left"`,
	}
	c.AddCommand(userInviteCommand(std), userListCommand(std), userRolesCommand(std), userResetCommand(std), userFactorCommand(std), userRemoveCommand(std))
	return c
}

const onlyLinkOut = `The link is printed on standard output, this once and alone; everything else goes to standard error. Whoever has it can choose
the password: hand it over by a way that nobody else reads.`

func oneUser(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("which user? write one name; gatehouse user list shows all")
	}
	return nil
}

// aboutUser makes a command that changes one user, and prints what was done.
func aboutUser[A any](std stdio, c *cobra.Command, operation string, q *userAsked, show func(a *asker, done A) error) *cobra.Command {
	c.Args = oneUser
	asking(std, c, func(ctx context.Context, a *asker, args []string) error {
		q.Name, q.By = args[0], whoAsks()
		done, err := ask[A](ctx, a, operation, *q)
		if err != nil {
			return err
		}
		return show(a, done)
	})
	c.Flags().StringVar(&q.Why, "why", "", "the reason, for the record")
	return c
}

func userInviteCommand(std stdio) *cobra.Command {
	var q userAsked
	c := &cobra.Command{
		Use: "invite NAME [--role ROLE]", Short: "Make a user, and print the link with which a password is chosen, this once",
		Long:    "Make a user, and print the link with which a password is chosen, this once.\n\n" + onlyLinkOut,
		Example: "  gatehouse user invite alice --role support\n  gatehouse user invite bob --role customer,support --json | jq -r .link",
	}
	c.Flags().StringSliceVar(&q.Roles, "role", nil, "a role; again, or comma-separated, for more")
	return aboutUser(std, c, "user.invite", &q, func(a *asker, done userInvited) error { return done.print(a, "invited") })
}

func userResetCommand(std stdio) *cobra.Command {
	var q userAsked
	c := &cobra.Command{
		Use: "reset NAME", Short: "Take a user's password away, end the sessions, and print the link with which another is chosen",
		Long:    "Take a user's password away, end the user's sessions, and print the link with which another password is chosen, this once.\n\n" + onlyLinkOut,
		Example: `  gatehouse user reset alice --why "lost the password"`,
	}
	return aboutUser(std, c, "user.reset", &q, func(a *asker, done userInvited) error { return done.print(a, "reset") })
}

func userRolesCommand(std stdio) *cobra.Command {
	var q userAsked
	c := &cobra.Command{
		Use: "roles NAME [--role ROLE]", Short: "Give a user other roles in place of those there are, and end the sessions",
		Long:    "Give a user other roles in place of those there are, and end the user's sessions: who signs in again has the new ones. Without --role the user has none.",
		Example: "  gatehouse user roles alice --role customer,support",
	}
	c.Flags().StringSliceVar(&q.Roles, "role", nil, "a role; again, or comma-separated, for more")
	return aboutUser(std, c, "user.roles", &q, func(a *asker, done userDone) error {
		return done.print(a, "has the roles "+cmp.Or(strings.Join(done.User.Roles, ", "), "(none)")+" now")
	})
}

func userRemoveCommand(std stdio) *cobra.Command {
	var q userAsked
	c := &cobra.Command{
		Use: "remove NAME", Short: "Take a user away, and end the sessions",
		Long:    "Take a user away, and end the user's sessions. Somebody who gets the same name one day is somebody else to the servers behind.",
		Example: `  gatehouse user remove alice --why "left"`,
	}
	return aboutUser(std, c, "user.remove", &q, func(a *asker, done userDone) error { return done.print(a, "removed") })
}

func (d userInvited) print(a *asker, what string) error {
	if a.json {
		return a.print(struct { // what is shown is meant to be
			Link  string    `json:"link"`
			User  user.User `json:"user"`
			Ended int       `json:"sessions_ended,omitempty"`
			Notes []string  `json:"notes,omitempty"`
		}(d), nil)
	}
	fmt.Fprintf(a.io.err, "%s %s; the link is good once, until %s\n", what, d.User.Name, d.User.Invited.Local().Format("2006-01-02 15:04"))
	tellEnded(a.io.err, d.Ended, d.Notes)
	fmt.Fprintln(a.io.out, d.Link)
	return nil
}

func (d userDone) print(a *asker, what string) error {
	return a.print(d, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\n", d.User.Name, what)
		tellEnded(w, d.Ended, d.Notes)
	})
}

func tellEnded(w io.Writer, ended int, notes []string) {
	if ended > 0 {
		fmt.Fprintf(w, "%s ended\n", count(ended, "session"))
	}
	for _, n := range notes {
		fmt.Fprintln(w, "note: "+n)
	}
}

func userListCommand(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the local users: roles, when they signed in last, and who has no password yet",
		Long:    "List the local users: their roles, when they signed in last, and who has no password yet.",
		Example: "  gatehouse user list\n  gatehouse user list --json | jq -r '.users[].name'", Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		l, err := ask[userList](ctx, a, "user.list", nothing{})
		if err != nil {
			return err
		}
		return a.print(l, func(w io.Writer) { printUsers(w, l, time.Now()) })
	})
	return c
}

func printUsers(w io.Writer, l userList, now time.Time) {
	if len(l.Users) == 0 {
		fmt.Fprintln(w, "There are no local users. To invite one: gatehouse user invite NAME")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tROLES\tINVITED BY\tLAST SIGN-IN\tSTATE")
	for _, u := range l.Users {
		state, last := "in use", "never"
		if !u.Last.IsZero() {
			last = u.Last.Local().Format("2006-01-02 15:04")
		}
		switch {
		case u.Invited != nil && now.Before(*u.Invited):
			state = "invited until " + u.Invited.Local().Format("2006-01-02 15:04")
		case u.Chosen.IsZero():
			state = "INVITATION OVER: gatehouse user reset " + u.Name
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", u.Name, cmp.Or(strings.Join(u.Roles, ","), "-"), u.By, last, state)
	}
	_ = t.Flush() // to a terminal that is gone
}
