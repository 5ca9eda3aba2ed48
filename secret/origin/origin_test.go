package origin

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/vault"
)

func TestSection(t *testing.T) {
	for name, c := range map[string]Config{"poll": {Poll: time.Millisecond}, "max_stale": {MaxStale: -1}, "vault": {Vault: &vault.Config{Address: "ftp://x"}}} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := Config{}.Sources()
	if err != nil || all[secret.File] == nil || all[secret.Vault] != nil {
		t.Error(all, err)
	}
}
