package main

import (
	_ "embed"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
)

// manualJSON holds the comments of every section's type; go generate makes it from the source, and
// the pages in docs from it.
//
//go:generate go run ../../config/manual/write -o manual.json ../..
//go:generate sh -c "go run . schema > ../../docs/gatehouse.schema.json"
//go:generate sh -c "go run . schema --reference > ../../docs/reference.md"
//go:embed manual.json
var manualJSON []byte

// manual is the comments by Go name.
func manual() (config.Manual, error) {
	var m config.Manual
	err := json.Unmarshal(manualJSON, &m)
	return m, err
}

func schemaCommand(io stdio) *cobra.Command {
	var reference bool
	c := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the document",
		Example: `  gatehouse schema > gatehouse.schema.json
  # first line of gatehouse.yaml, for editors:
  # yaml-language-server: $schema=gatehouse.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			m, err := manual()
			if err != nil {
				return err
			}
			text := []byte(config.Reference(sections(), m))
			if !reference {
				if text, err = config.Schema(sections(), m); err != nil {
					return err
				}
				text = append(text, '\n')
			}
			_, err = io.out.Write(text)
			return err
		},
	}
	c.Flags().BoolVar(&reference, "reference", false, "print the reference page (Markdown) instead")
	return c
}
