package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/listen/devca"
)

func caCommand(std stdio) *cobra.Command {
	internal := false
	c := &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate of the development CA, or of the internal authority",
		Long: `Print the certificate (PEM) of this installation's development CA, which signs for localhost only. Its key never leaves the
state directory. Trust it for one command, not for your whole system.

With --internal print the internal authority instead, which vouches for the gateway alone: a server that shall answer to
nobody else trusts it for clients (and the API says upstream: {tls: {client: internal}}). Once a year the authority has a
successor, which is printed beside it from 30 days before it signs: servers must trust both, so fetch them every week.`,
		Example: `  curl --cacert <(gatehouse ca) https://localhost:8443/...
  gatehouse ca > gatehouse-ca.pem
  gatehouse ca --internal > /etc/nginx/gatehouse.pem      # ssl_client_certificate; ssl_verify_client on;`,
		Args: cobra.NoArgs,
	}
	asking(std, c, func(ctx context.Context, a *asker, _ []string) error {
		if internal {
			bundle, err := ask[authorityBundle](ctx, a, "ca.internal", nothing{})
			if err == nil {
				err = a.printPEM(bundle)
			}
			return err
		}
		state, err := stateDirectory()
		if err != nil {
			return err
		}
		ca, err := devca.Open(state, time.Now, random())
		if err != nil {
			return err
		}
		return a.printPEM(authorityBundle{string(ca.PEM())})
	})
	c.Flags().BoolVar(&internal, "internal", false, "the authority that vouches for the gateway at the servers behind")
	return c
}

// authorityBundle is what others are told to trust.
type authorityBundle struct {
	PEM string `json:"pem"`
}

func (a *asker) printPEM(b authorityBundle) error {
	if a.json {
		return a.print(b, nil)
	}
	_, err := a.io.out.Write([]byte(b.PEM))
	return err
}
