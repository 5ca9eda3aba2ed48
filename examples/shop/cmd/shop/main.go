// Command shop starts the six careless services of the example shop in one process, each on its own loopback port:
//
//	shop --data DIR [--catalogue 127.0.0.1:7001] [--orders ...] [--paycard ...] [--paybank ...] [--logistics ...] [--invoice ...]
//
// It prints one line per service and then "ready", writes the addresses to DIR/addresses.json, and stays until it is
// interrupted. A service that is not named gets its usual port; port 0 means any free one.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatehouse-sec/gatehouse/examples/shop/service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run starts the shop and returns when ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	data := flags.String("data", "", "folder for databases, logs and addresses.json (required; created when missing)")
	addresses := map[string]*string{}
	for i, name := range service.Names() {
		addresses[name] = flags.String(name, fmt.Sprintf("127.0.0.1:%d", 7001+i), "loopback address of the "+name+" service")
	}
	addresses[service.Control] = flags.String(service.Control, "127.0.0.1:7000", "loopback address where the tour reads and resets the databases")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *data == "" {
		return fmt.Errorf("no data folder: add --data DIR")
	}
	chosen := map[string]string{}
	for name, a := range addresses {
		chosen[name] = *a
	}
	shop, err := service.Open(*data)
	if err != nil {
		return err
	}
	defer shop.Close()
	if err := shop.Start(chosen); err != nil {
		return err
	}
	for _, name := range service.Names() {
		fmt.Fprintf(out, "%-10s http://%s%s\n", name, shop.Addresses()[name], shop.Base(name))
	}
	fmt.Fprintln(out, "ready")
	<-ctx.Done()
	return nil
}
