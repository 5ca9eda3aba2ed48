package main

import (
	"context"

	"github.com/gatehouse-sec/gatehouse/fleet"
	"github.com/gatehouse-sec/gatehouse/key"
	"github.com/gatehouse-sec/gatehouse/kit/control"
)

// operations is everything that can be asked of a gateway on its own machine, in one list. n is nil in a command that opened
// the state itself, since no gateway runs.
func operations(h *held, n *node) *control.Operations {
	var o control.Operations
	control.Handle(&o, "token.revoke", func(ctx context.Context, q fleet.Revocation, _ control.Progress) (fleet.Revoked, error) {
		return revoke(ctx, h, n, q)
	})
	control.Handle(&o, "status", h.status)
	control.Handle(&o, "key.status", func(context.Context, nothing, control.Progress) (key.Status, error) { return h.ring.Status(), nil })
	control.Handle(&o, "key.rotate", one(h, h.rotateKeys))
	control.Handle(&o, "key.rekey", one(h, h.rekey))
	control.Handle(&o, "store.status", h.storeStatus)
	control.Handle(&o, "store.migrate", one(h, h.migrate))
	secretOperations(&o, h, n)
	patchOperations(&o, h, n)
	apikeyOperations(&o, h, n)
	sessionOperations(&o, h, n)
	userOperations(&o, h, n)
	control.Handle(&o, "ca.internal", func(context.Context, nothing, control.Progress) (authorityBundle, error) {
		return authorityBundle{string(h.authority.Bundle())}, nil
	})
	if n != nil {
		control.Handle(&o, "certificates", n.certificates)
		control.Handle(&o, "waf.learned", n.learned)
	}
	control.Handle(&o, "audit.verify", h.verifyAudit(n))
	control.Handle(&o, "audit.settle", h.settleAudit(n))
	control.Handle(&o, "backup.create", h.copies.create)
	control.Handle(&o, "backup.list", h.copies.list)
	control.Handle(&o, "backup.verify", h.copies.verify)
	return &o
}
