package key

import "context"

// Move takes the keyring to another place, which must be empty, and uses it there from then on: what nodes share instead of
// what lies on one machine. The old copy still opens everything that there is now; whoever asked puts it away.
func (r *Ring) Move(ctx context.Context, to Place) error {
	r.change.Lock()
	defer r.change.Unlock()
	if _, err := r.refresh(ctx); err != nil {
		return err
	}
	n := r.state.Load().next()
	n.placed = 0
	if err := n.save(ctx, to); err != nil {
		return err
	}
	r.place = to
	r.state.Store(n)
	return nil
}
