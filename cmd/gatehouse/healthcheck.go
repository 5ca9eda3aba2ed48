package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func healthcheckCommand(std stdio) *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Tell whether the gateway on this machine is ready",
		Long:  "Tell whether the gateway on this machine is ready: exit code 0 when it is, 1 when it is not. Made for containers.",
		Example: `  gatehouse healthcheck
  HEALTHCHECK CMD ["/gatehouse", "healthcheck"]`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{Proxy: nil}}
			request, err := http.NewRequestWithContext(c.Context(), http.MethodGet, strings.TrimSuffix(address, "/")+"/readyz", nil)
			if err != nil {
				return err
			}
			response, err := client.Do(request)
			if err != nil {
				return fmt.Errorf("not reachable: %w; is --admin the document's listen.admin?", err)
			}
			defer response.Body.Close()
			said, err := io.ReadAll(io.LimitReader(response.Body, 1024))
			if err == nil && response.StatusCode != http.StatusOK {
				err = fmt.Errorf("not ready: %s", strings.TrimSpace(string(said)))
			}
			if err == nil {
				_, err = fmt.Fprintln(std.out, "ready")
			}
			return err
		},
	}
	c.Flags().StringVar(&address, "admin", "http://127.0.0.1:9090", "URL of the admin address")
	return c
}
