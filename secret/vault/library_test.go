package vault_test

import (
	"context"
	"testing"
	"time"

	bao "github.com/openbao/openbao/api/v2"

	"github.com/gatehouse-sec/gatehouse/secret/vault"
	"github.com/gatehouse-sec/gatehouse/secret/vault/baotest"
)

// The stand-in is judged by a client that we did not write: OpenBao's own library does with it what the gateway does, and
// the stand-in finds nothing strange in what it asks.
func TestTheStandInServesOpenBaosOwnClient(t *testing.T) {
	w := open(t, func(s *baotest.Server, c *vault.Config) { s.LeaseTTL = 10 * time.Minute })
	w.server.Put("secret/shop/db", map[string]any{"password": canary})
	w.server.Put("old/kv/db", map[string]any{"password": canary})
	cfg := bao.DefaultConfig()
	cfg.Address, cfg.MaxRetries = w.cfg.Address, 0
	if err := cfg.ConfigureTLS(&bao.TLSConfig{CACert: w.cfg.CA}); err != nil {
		t.Fatal(err)
	}
	c, err := bao.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.ClearToken()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	login, err := c.Logical().WriteWithContext(ctx, "auth/approle/login", map[string]any{"role_id": "gatehouse", "secret_id": canary + "-secret-id"})
	if err != nil || login.Auth == nil || login.Auth.LeaseDuration != 3600 || !login.Auth.Renewable {
		t.Fatalf("%+v, %v", login, err)
	}
	c.SetToken(login.Auth.ClientToken)
	two, err := c.KVv2("secret").Get(ctx, "shop/db")
	if err != nil || two.Data["password"] != canary || two.VersionMetadata.Version != 1 {
		t.Errorf("%+v, %v", two, err)
	}
	one, err := c.KVv1("old/kv").Get(ctx, "db")
	if err != nil || one.Data["password"] != canary {
		t.Errorf("%+v, %v", one, err)
	}
	made, err := c.Logical().ReadWithContext(ctx, "database/creds/shop")
	if err != nil || made.LeaseDuration != 600 || made.LeaseID == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	w.clock.pass(5 * time.Minute)
	if renewed, err := c.Sys().RenewWithContext(ctx, made.LeaseID, 600); err != nil || renewed.LeaseDuration != 600 {
		t.Errorf("%+v, %v", renewed, err)
	}
	if about, err := c.Auth().Token().LookupSelfWithContext(ctx); err != nil || about.Data["renewable"] != true {
		t.Errorf("%+v, %v", about, err)
	}
	if r, err := c.Auth().Token().RenewSelfWithContext(ctx, 0); err != nil || r.Auth.LeaseDuration != 3600 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := c.Sys().RevokeWithContext(ctx, made.LeaseID); err != nil || len(w.server.Users()) != 0 {
		t.Errorf("%v, %v", err, w.server.Users())
	}
	w.server.Delete("secret/shop/db")
	if gone, err := c.KVv2("secret").Get(ctx, "shop/db"); err == nil && gone.Data != nil {
		t.Errorf("%+v", gone)
	}
	if err := c.Auth().Token().RevokeSelfWithContext(ctx, ""); err != nil || w.server.Tokens() != 0 {
		t.Errorf("%v, %d", err, w.server.Tokens())
	}
}
