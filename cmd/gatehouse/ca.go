package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/listen/devca"
)

func caCommand(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "ca",
		Short: "Print the development CA's certificate",
		Long: `Print the certificate (PEM) of this installation's development CA, which signs for localhost only.

Its key never leaves the state directory. Trust it for one command, not for your whole system.`,
		Example: `  curl --cacert <(gatehouse ca) https://localhost:8443/...
  gatehouse ca > gatehouse-ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			state, err := stateDirectory()
			if err != nil {
				return err
			}
			ca, err := devca.Open(state, time.Now, random())
			if err != nil {
				return err
			}
			_, err = io.out.Write(ca.PEM())
			return err
		},
	}
}
