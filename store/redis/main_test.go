package redis

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run at once than there are cores: they wait most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
