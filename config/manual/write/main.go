// Command write puts the comments of the document's types into a JSON file, which the program embeds.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatehouse-sec/gatehouse/config/manual"
)

// folders hold types that stand in the document, below the module's root.
var folders = []string{"audit", "gate", "guard/*", "guard/identity/*", "listen", "pipeline", "upstream"}

func main() {
	out := flag.String("o", "manual.json", "file to write")
	flag.Parse()
	if err := write(flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, "write manual:", err)
		os.Exit(1)
	}
}

func write(root, out string) error {
	var dirs []string
	for _, f := range folders {
		found, err := filepath.Glob(filepath.Join(root, f))
		if err != nil {
			return err
		}
		for _, d := range found {
			if info, err := os.Stat(d); err == nil && info.IsDir() {
				dirs = append(dirs, d)
			}
		}
	}
	comments, err := manual.Extract(dirs...)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(comments, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}
