// Command write puts the comments of the document's types into a JSON file, which the program embeds.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/gatehouse-sec/gatehouse/config/manual"
)

func main() {
	out := flag.String("o", "manual.json", "file to write")
	flag.Parse()
	text, err := manual.Document(flag.Arg(0))
	if err == nil {
		err = os.WriteFile(*out, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "write manual:", err)
		os.Exit(1)
	}
}
