package source_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-sec/gatehouse/config"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
	"github.com/gatehouse-sec/gatehouse/secret/kept"
	"github.com/gatehouse-sec/gatehouse/secret/kubernetes"
	"github.com/gatehouse-sec/gatehouse/secret/source"
	"github.com/gatehouse-sec/gatehouse/secret/vault"
)

// The section as an operator writes it is read by the package that reads every document.
func TestTheSectionIsRead(t *testing.T) {
	d, err := config.Parse("gatehouse.yaml", []byte(`
secret:
  max_stale: 12h
  poll: 1m
  vault:
    address: https://vault.example.com:8200
    ca: /etc/gatehouse/vault-ca.pem
    namespace: team/shop
    auth:
      approle: {role_id: gatehouse, secret_id: "credential:vault-secret-id", mount: machines}
    mounts: {secret: kv2, database: dynamic}
  kubernetes: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Section[source.Config](d, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MaxStale != 12*time.Hour || cfg.Vault.Auth.AppRole.SecretID.String() != "credential:vault-secret-id" || cfg.Vault.Mounts["secret"] != vault.KV2 || cfg.Kubernetes == nil {
		t.Errorf("%+v", cfg)
	}
	if o := cfg.Options(); o.MaxStale != 12*time.Hour || o.Poll != time.Minute {
		t.Errorf("%+v", o)
	}
}

func TestMistakesHavePlaces(t *testing.T) {
	_, err := source.New(source.Config{MaxStale: time.Second, Poll: 2 * time.Hour, Vault: &vault.Config{Address: "https://v"}, Kubernetes: &kubernetes.Config{Address: "x"}}, source.Deps{})
	var list mistake.List
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	var paths []string
	for _, m := range list {
		paths = append(paths, m.Path)
	}
	slices.Sort(paths)
	if got := strings.Join(slices.Compact(paths), " "); got != "kubernetes.address kubernetes.ca kubernetes.token_file max_stale poll vault.auth" {
		t.Errorf("%s\n%v", got, err)
	}
}

func TestWhatIsThereByDefault(t *testing.T) {
	all, err := source.New(source.Config{}, source.Deps{})
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(all)), []string{secret.Credential, secret.Env, secret.File}) {
		t.Errorf("%v, %v", all, err)
	}
	all, err = source.New(source.Config{}, source.Deps{Kept: kept.New(nil, kept.Errors{}, kept.Options{}).Source()})
	if err != nil || all[secret.Kept] == nil {
		t.Errorf("%v, %v", all, err)
	}
	k := secret.NewKeeper(all, secret.Options{})
	var ref secret.Ref
	_ = ref.UnmarshalText([]byte("vault:a/b#c"))
	if _, err := k.Live(t.Context(), ref, "listen"); err == nil || !strings.Contains(err.Error(), "write the section secret.vault") {
		t.Error(err)
	}
}
