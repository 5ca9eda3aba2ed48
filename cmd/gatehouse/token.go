package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/guard/identity/dev"
)

func tokenCommand(io stdio) *cobra.Command {
	var subject string
	var roles, scopes []string
	var life time.Duration
	c := &cobra.Command{
		Use:   "token --as NAME",
		Short: "Print a token of the development issuer",
		Long: `Print a token of this installation's development issuer.

Only a gateway of the same installation takes it, and only where the development issuer is on: in gatehouse run without
--issuer, or by a document that accepts the risk.`,
		Example: `  gatehouse token --as alice --role customer
  curl -H "Authorization: Bearer $(gatehouse token --as alice --scope orders:read)" ...`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if subject == "" {
				return errors.New("whose token? add --as NAME")
			}
			if life <= 0 || life > time.Hour {
				return fmt.Errorf("a development token lives at most an hour; write --life 15m instead of %s", life)
			}
			state, err := stateDirectory()
			if err != nil {
				return err
			}
			issuer, err := dev.Open(state, random())
			if err != nil {
				return err
			}
			token, err := issuer.Token(subject, roles, scopes, time.Now(), life)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(io.out, token)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&subject, "as", "", "the caller's name (subject)")
	f.StringSliceVar(&roles, "role", nil, "a role of the caller; again, or comma-separated, for more")
	f.StringSliceVar(&scopes, "scope", nil, "a scope of the token; again, or comma-separated, for more")
	f.DurationVar(&life, "life", 15*time.Minute, "how long the token is valid")
	c.AddCommand(revokeCommand(io))
	return c
}
