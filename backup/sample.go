package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/store"
)

// markKey is the record that tells how far a store has come. Every backup writes it, so that a copy that was taken before,
// or that lacks the end of the store's log, is found out (K11).
const markKey = "backup/mark"

// sampleFact is how the facts are named that a Sample gives: the prefix and a record's key.
const sampleFact = "record "

// samples is how many records of one prefix are looked at.
const samples = 32

// Mark writes the mark and gives its version, for Content.Revision. It comes before the store is copied.
func Mark(ctx context.Context, s store.Records) (int64, error) {
	version, err := s.Write(ctx, store.Write{Key: markKey, Value: []byte("a backup is made"), Version: store.Any})
	if err != nil {
		return 0, fmt.Errorf("mark the store: %w", err)
	}
	return version, nil
}

// Sample gives facts about some records under each prefix, for Content.Facts: a hash of what a record holds, and its version.
func Sample(ctx context.Context, s store.Durable, prefixes ...string) (map[string]string, error) {
	facts := map[string]string{}
	for _, prefix := range prefixes {
		page, err := s.List(ctx, prefix, "", samples)
		if err != nil {
			return nil, fmt.Errorf("take samples of the store: %w", err)
		}
		for _, r := range page {
			facts[sampleFact+r.Key] = factOf(r)
		}
	}
	return facts, nil
}

func factOf(r store.Record) string {
	sum := sha256.Sum256(r.Value)
	return fmt.Sprintf("%d %s", r.Version, hex.EncodeToString(sum[:]))
}

// Compare holds a restored store against the mark and the samples of its manifest. A record that was changed or removed
// between the sample and the copy is no flaw; one that has the sampled version and another value is.
func Compare(ctx context.Context, s store.Durable, m Manifest) (string, error) {
	mark, err := s.Get(ctx, markKey)
	if err != nil && !errors.Is(err, store.ErrNone) {
		return "", err
	}
	if mark.Version < m.Revision {
		return "", flaw(Older, "store", "it has come to mark %d, and stood at %d before it was copied: the end of it is missing", mark.Version, m.Revision)
	}
	same, sampled := 0, 0
	for _, fact := range slices.Sorted(maps.Keys(m.Facts)) {
		key, ok := strings.CutPrefix(fact, sampleFact)
		if !ok {
			continue
		}
		sampled++
		r, err := s.Get(ctx, key)
		if errors.Is(err, store.ErrNone) {
			continue
		}
		if err != nil {
			return "", err
		}
		version, _, _ := strings.Cut(m.Facts[fact], " ")
		switch {
		case factOf(r) == m.Facts[fact]:
			same++
		case fmt.Sprint(r.Version) == version:
			return "", flaw(Damaged, "store", "record %s is not what it was when the backup was made", key)
		}
	}
	if sampled > 0 && same == 0 {
		return "", flaw(Unsound, "store", "none of %d sampled records is what it was", sampled)
	}
	return fmt.Sprintf("mark %d, %d of %d sampled records are what they were", mark.Version, same, sampled), nil
}
