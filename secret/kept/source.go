package kept

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// pace is how often each secret in use is looked at: one small record. Refresh of the Keeper is quicker.
const pace = 5 * time.Second

// Source gives the source of store: references.
func (s *Store) Source() *Source { return &Source{store: s} }

// Source reads secrets of a Store for a Keeper.
type Source struct{ store *Store }

// Pace is how often the store is looked at.
func (*Source) Pace() time.Duration { return pace }

// Fetch reads NAME or NAME@VERSION. The value itself is only read when the version is another than the known one.
func (s *Source) Fetch(ctx context.Context, place, known string) (secret.Answer, error) {
	name, version, err := split(place)
	if err != nil {
		return secret.Answer{}, fmt.Errorf("%w: %w", secret.ErrGone, err)
	}
	h, err := s.store.head(ctx, name)
	if err != nil {
		return secret.Answer{}, err
	}
	wanted := version
	if wanted == 0 {
		wanted = h.current()
	}
	if wanted != 0 && h.has(wanted) && known == strconv.FormatInt(wanted, 10) {
		return secret.Answer{Version: known}, nil
	}
	v, got, err := s.store.Get(ctx, name, version)
	if err != nil {
		return secret.Answer{}, err
	}
	return secret.Answer{Fields: map[string]secret.Value{"": v}, Version: strconv.FormatInt(got, 10)}, nil
}

// MayRead refuses a reader that nobody has allowed; nobody is allowed by default.
func (s *Source) MayRead(ctx context.Context, place, reader string) error {
	name, _, err := split(place)
	if err != nil {
		return err
	}
	h, err := s.store.head(ctx, name)
	if err != nil {
		return err
	}
	if h.current() == 0 {
		return s.store.missing(name, 0)
	}
	if slices.Contains(h.MayRead, "*") || reader != "" && slices.Contains(h.MayRead, reader) {
		return nil
	}
	may := "nobody"
	if len(h.MayRead) > 0 {
		may = strings.Join(h.MayRead, ", ")
	}
	all := strings.Join(append(slices.Clone(h.MayRead), orElse(reader, "PART")), ",")
	return fmt.Errorf("%s may not read it, only %s; to allow it: gatehouse secret allow %s --reader %s", orElse(reader, "this part of the document"), may, name, all)
}

func orElse(text, standard string) string {
	if text == "" {
		return standard
	}
	return text
}

// RecordUse notes when secrets were used last. It doesn't touch their heads, so that it stands in nobody's way.
func (s *Source) RecordUse(ctx context.Context, used map[string]time.Time) error {
	latest := map[string]time.Time{}
	for place, at := range used {
		if name, _, err := split(place); err == nil && at.After(latest[name]) {
			latest[name] = at
		}
	}
	var errs []error
	for name, at := range latest {
		errs = append(errs, s.store.records.WriteAll(ctx, Write{Key: useKey(name), Value: []byte(at.UTC().Format(time.RFC3339)), Version: Any}))
	}
	return errors.Join(errs...)
}
