package fleet

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// nearShards is how many maps share a table. A change copies one of them: with a million revocations, some 250 entries.
const nearShards = 4096

// near holds what was called back in a form that a request can look at without waiting for anybody: maps behind atomic
// pointers, which a change replaces. Names are kept as 128-bit digests with random seeds.
type near struct {
	seeds    [2]maphash.Seed
	tokens   table
	subjects table
	issuers  atomic.Pointer[map[string]mark] // "": every issuer
	held     atomic.Int64
	mu       sync.Mutex // writers
}

type (
	digest [2]uint64
	table  [nearShards]atomic.Pointer[map[digest]mark]
	// mark is what is known under a digest, in nanoseconds since 1970.
	mark struct{ before, until int64 }
)

func newNear() *near { return &near{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}} }

// revoked looks a token up. A token that does not say when it was issued counts as issued before everything.
func (n *near) revoked(issuer, subject, id string, issued time.Time) bool {
	if n.held.Load() == 0 {
		return false
	}
	at := int64(-1 << 63)
	if !issued.IsZero() {
		at = issued.UnixNano()
	}
	if all := n.issuers.Load(); all != nil {
		if m, ok := (*all)[""]; ok && at < m.before {
			return true
		}
		if m, ok := (*all)[issuer]; ok && at < m.before {
			return true
		}
	}
	if id != "" {
		if _, ok := n.tokens.get(n.digest(issuer, id)); ok {
			return true
		}
	}
	m, ok := n.subjects.get(n.digest(issuer, subject))
	return ok && at < m.before
}

func (n *near) digest(issuer, word string) digest {
	return digest{sum(n.seeds[0], issuer, word), sum(n.seeds[1], issuer, word)}
}

// sum hashes two words; the length of the first keeps pairs apart.
func sum(seed maphash.Seed, issuer, word string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for l := len(issuer); l > 0; l >>= 7 {
		_ = h.WriteByte(byte(l) | 0x80)
	}
	_ = h.WriteByte(0)
	_, _ = h.WriteString(issuer)
	_, _ = h.WriteString(word)
	return h.Sum64()
}

func (t *table) get(d digest) (mark, bool) {
	shard := t[d[0]%nearShards].Load()
	if shard == nil {
		return mark{}, false
	}
	m, ok := (*shard)[d]
	return m, ok
}

// add makes revocations known and tells how many of them say something new.
func (n *near) add(all []Revocation) (news int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes := map[*atomic.Pointer[map[digest]mark]]map[digest]mark{}
	for _, v := range all {
		m := mark{until: v.Until.UnixNano()}
		if v.Kind != ByToken {
			m.before = v.Before.UnixNano()
		}
		switch v.Kind {
		case ByTime:
			news += n.addIssuer(v.Issuer, m)
			continue
		case ByToken:
			stage(changes, &n.tokens, n.digest(v.Issuer, v.Token), m)
		case BySubject:
			stage(changes, &n.subjects, n.digest(v.Issuer, v.Subject), m)
		}
	}
	for place, change := range changes {
		news += n.replace(place, change)
	}
	return news
}

func stage(changes map[*atomic.Pointer[map[digest]mark]]map[digest]mark, t *table, d digest, m mark) {
	place := &t[d[0]%nearShards]
	if changes[place] == nil {
		changes[place] = map[digest]mark{}
	}
	changes[place][d] = changes[place][d].join(m)
}

func (m mark) join(other mark) mark {
	return mark{max(m.before, other.before), max(m.until, other.until)}
}

// replace puts a changed copy in the place of one map.
func (n *near) replace(place *atomic.Pointer[map[digest]mark], change map[digest]mark) (news int) {
	old := map[digest]mark{}
	if p := place.Load(); p != nil {
		old = *p
	}
	var changed map[digest]mark
	for d, m := range change {
		was, known := old[d]
		if m = m.join(was); known && m == was {
			continue
		}
		if changed == nil {
			changed = maps.Clone(old)
		}
		changed[d] = m
		news++
	}
	if changed != nil {
		n.held.Add(int64(len(changed) - len(old)))
		place.Store(&changed)
	}
	return news
}

func (n *near) addIssuer(issuer string, m mark) int {
	changed := map[string]mark{}
	if p := n.issuers.Load(); p != nil {
		changed = maps.Clone(*p)
	}
	was, known := changed[issuer]
	if m = m.join(was); known && m == was {
		return 0
	}
	if !known {
		n.held.Add(1)
	}
	changed[issuer] = m
	n.issuers.Store(&changed)
	return 1
}

// prune forgets what has ended.
func (n *near) prune(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := now.UnixNano()
	for _, t := range []*table{&n.tokens, &n.subjects} {
		for i := range t {
			if p := t[i].Load(); p != nil {
				if kept, gone := living(*p, at); gone > 0 {
					n.held.Add(-int64(gone))
					t[i].Store(&kept)
				}
			}
		}
	}
	if p := n.issuers.Load(); p != nil {
		if kept, gone := living(*p, at); gone > 0 {
			n.held.Add(-int64(gone))
			n.issuers.Store(&kept)
		}
	}
}

// living copies what has not ended, when anything has.
func living[K comparable](all map[K]mark, at int64) (kept map[K]mark, gone int) {
	for _, m := range all {
		if m.until <= at {
			gone++
		}
	}
	if gone == 0 {
		return all, 0
	}
	kept = make(map[K]mark, len(all)-gone)
	for k, m := range all {
		if m.until > at {
			kept[k] = m
		}
	}
	return kept, gone
}
