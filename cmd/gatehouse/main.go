// Command gatehouse is the one way in to your APIs, and the proof that it holds.
//
// Rules of its output: what a program would read goes to standard output, everything said to a person to standard error;
// an error says what happened, where, and what to write or run next; colours only on a terminal. Exit codes: 0 done, 1
// refused or gone wrong, 2 check found something open.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// exit is an error that has been told already and only carries an exit code.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, io stdio) int {
	root := commands(io)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exit
	var list mistake.List
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &list):
		_ = config.Print(io.err, list, terminal(io.err))
	default:
		fmt.Fprintf(io.err, "gatehouse: %v\n", strings.TrimRight(err.Error(), "\n"))
	}
	return 1
}

// commands is the list of all commands.
func commands(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:           "gatehouse",
		Short:         "The one way in to your APIs, and the proof that it holds",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		runCommand(io), serveCommand(io), checkCommand(io), initCommand(io), documentCommand(io), schemaCommand(io), explainCommand(io),
		statusCommand(io), tokenCommand(io), keyCommand(io), secretCommand(io), storeCommand(io), patchCommand(io), apikeyCommand(io), sessionCommand(io), userCommand(io), auditCommand(io), backupCommand(io), wafCommand(io), certificatesCommand(io), caCommand(io), healthcheckCommand(io), versionCommand(io),
	)
	return root
}

// flagError adds the flag that was probably meant, and where the others stand.
func flagError(c *cobra.Command, err error) error {
	help := "see: " + c.CommandPath() + " --help"
	word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return fmt.Errorf("%w; %s", err, help)
	}
	var known []string
	for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(c.Flags().FlagUsages(), -1) {
		known = append(known, m[1])
	}
	if near := mistake.Nearest(word, known); near != "" {
		help = "write --" + near + ", or " + help
	}
	return fmt.Errorf("unknown flag --%s; %s", word, help)
}

// terminal tells whether w is one that shows colours.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
