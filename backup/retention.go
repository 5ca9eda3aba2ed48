package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Pruned is what Prune has done.
type Pruned struct {
	Removed []string `json:"removed,omitempty"`
	Locked  []string `json:"locked,omitempty"` // due, but their place does not let them go yet
	Kept    int      `json:"kept"`
}

// Prune removes the backups that the section keep no longer keeps. The newest one that is proven stays, and so do those
// that their place has locked.
func (b *Backups) Prune(ctx context.Context) (Pruned, error) {
	var done Pruned
	all, err := b.List(ctx)
	if err != nil {
		return done, err
	}
	all = slices.DeleteFunc(all, func(l Listed) bool { return l.Waiting })
	keep := kept(all, b.cfg.Keep)
	for _, l := range all {
		if keep[l.Name] {
			done.Kept++
			continue
		}
		err := b.place.Remove(ctx, l.Name)
		if errors.Is(err, ErrLocked) {
			done.Locked = append(done.Locked, l.Name)
			done.Kept++
			continue
		}
		if err == nil {
			err = b.tools.Book.Forget(ctx, l.Name)
		}
		if err != nil {
			return done, fmt.Errorf("remove backup %s: %w", l.Name, err)
		}
		done.Removed = append(done.Removed, l.Name)
	}
	if len(done.Removed) > 0 {
		b.tools.Notify(Notice{Kind: "pruned", Text: fmt.Sprintf("%d backups removed, %d kept", len(done.Removed), done.Kept)})
	}
	return done, nil
}

// kept says which of the backups stay; they are given oldest first.
func kept(all []Listed, k Keep) map[string]bool {
	stay := map[string]bool{}
	days, weeks, proven := map[string]bool{}, map[string]bool{}, false
	for i, l := range slices.Backward(all) {
		year, week := l.Time.UTC().ISOWeek()
		day, of := l.Time.UTC().Format("2006-01-02"), fmt.Sprint(year, week)
		newest := len(all)-1-i < max(k.Last, 1)
		daily := !days[day] && len(days) < k.Daily
		weekly := !weeks[of] && len(weeks) < k.Weekly
		if daily {
			days[day] = true
		}
		if weekly {
			weeks[of] = true
		}
		anchor := !proven && l.Proof != nil && l.Proof.OK
		proven = proven || anchor
		stay[l.Name] = newest || daily || weekly || anchor
	}
	return stay
}

func sortListed(all []Listed) {
	slices.SortStableFunc(all, func(a, b Listed) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}
