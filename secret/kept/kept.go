// Package kept is the gateway's own store of secrets, for those who have no other: versioned, changed only by who names the
// version that is replaced, readable only where somebody has allowed it, and with the last use of each on record. It lies in
// the durable store, which seals every value. What it stops: passwords in documents and in files that nobody rotates,
// because nobody knows who reads them.
//
// A secret NAME is the records secret/NAME/head (versions, readers), secret/NAME/000000001 and so on (one value each) and
// secret/NAME/use (the last use). Nothing in head or use is secret.
package kept

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/record"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// What is needed of a durable store.
type (
	Record = record.Record
	Write  = record.Write
	Errors = record.Errors
)

// Records is the part of the durable store that is needed. Its errors are told apart by Errors.
type Records interface {
	Get(ctx context.Context, key string) (Record, error)
	WriteAll(ctx context.Context, all ...Write) error
	List(ctx context.Context, prefix, after string, limit int) ([]Record, error)
}

// Any as the expected version replaces whatever is there: for the operator who says so.
const Any int64 = -1

// Bounds.
const (
	MaxValue   = 64 << 10 // of a secret, in bytes
	MaxReaders = 64
	maxName    = 180
	maxKept    = 100
	page       = 200
)

// What Store answers; compare with errors.Is.
var (
	// ErrConflict: the secret has another version by now.
	ErrConflict = errors.New("the secret has another version by now; look at it with gatehouse secret list and try again")
	// ErrName: not a name.
	ErrName = errors.New("is no name for a secret; write small letters, digits, dots, dashes and underscores, divided by slashes, no part of digits alone, such as shop/password")
)

// Options are how a Store goes about its work.
type Options struct {
	Now  func() time.Time // nil is time.Now
	Rand io.Reader        // for Rotate; required there
	Keep int              // versions kept of each secret, default 10
}

// Store is the secrets of one installation. Safe for use by many goroutines and many nodes.
type Store struct {
	records Records
	errs    Errors
	opt     Options
}

// New makes the store over the durable one.
func New(records Records, errs Errors, opt Options) *Store {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Keep <= 0 {
		opt.Keep = 10
	}
	opt.Keep = min(opt.Keep, maxKept)
	return &Store{records: records, errs: errs, opt: opt}
}

// Version is one version of a secret, without its value.
type Version struct {
	Version int64      `json:"version"`
	Created time.Time  `json:"created"`
	By      string     `json:"by"`
	Removed *time.Time `json:"removed,omitempty"`
	Remover string     `json:"removed_by,omitempty"`
}

// Info is what is known of a secret, without its values.
type Info struct {
	Name     string     `json:"name"`
	Current  int64      `json:"current"` // the version that references without one get; 0: removed
	Latest   int64      `json:"latest"`  // the newest version that ever was
	MayRead  []string   `json:"may_read"`
	Versions []Version  `json:"versions"` // the kept ones and their tombstones, oldest first
	LastUse  *time.Time `json:"last_use,omitempty"`
}

// head is the record of a secret that is no secret.
type head struct {
	Latest   int64     `json:"latest"`
	MayRead  []string  `json:"may_read"`
	Versions []Version `json:"versions"`

	record int64 // version of the record, 0 for none
}

// current is the newest version that was not removed.
func (h head) current() int64 {
	for _, v := range slices.Backward(h.Versions) {
		if v.Removed == nil {
			return v.Version
		}
	}
	return 0
}

func (h head) has(version int64) bool {
	return slices.ContainsFunc(h.Versions, func(v Version) bool { return v.Version == version && v.Removed == nil })
}

// nameForm is the grammar of names. A part is never only digits, so that no name looks like a version.
var (
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$`)
	digits   = regexp.MustCompile(`(?:^|/)[0-9]+(?:/|$)`)
	readers  = regexp.MustCompile(`^(\*|[a-z][A-Za-z0-9_.-]{0,120})$`)
	whoForm  = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]{0,120}[\x21-\x7e])?$`)
)

// CheckName says what is wrong with a name, without repeating it: it may be the secret itself.
func CheckName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) || digits.MatchString(name) {
		return ErrName
	}
	return nil
}

// CheckReaders says what is wrong with a list of readers.
func CheckReaders(parts []string) error {
	if len(parts) > MaxReaders {
		return fmt.Errorf("at most %d readers", MaxReaders)
	}
	for i, p := range parts {
		if !readers.MatchString(p) {
			return fmt.Errorf("reader %d is no part of the document; write listen, guards, apis.NAME, or * for all", i+1)
		}
	}
	return nil
}

func headKey(name string) string { return "secret/" + name + "/head" }
func useKey(name string) string  { return "secret/" + name + "/use" }
func valueKey(name string, version int64) string {
	return fmt.Sprintf("secret/%s/%09d", name, version)
}

// head reads the head of a secret; one that never was is empty.
func (s *Store) head(ctx context.Context, name string) (head, error) {
	if err := CheckName(name); err != nil {
		return head{}, err
	}
	r, err := s.records.Get(ctx, headKey(name))
	if errors.Is(err, s.errs.None) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("read secret %s: %w", name, err)
	}
	return headOf(r, name)
}

func headOf(r Record, name string) (head, error) {
	var h head
	if err := json.Unmarshal(r.Value, &h); err != nil || h.Latest <= 0 {
		return head{}, fmt.Errorf("the record of secret %s is damaged", name)
	}
	h.record = r.Version
	return h, nil
}

// change writes a head, and other records, in one transaction that only succeeds when nobody was faster.
func (s *Store) change(ctx context.Context, name string, h head, more ...Write) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	err = s.records.WriteAll(ctx, append(more, Write{Key: headKey(name), Value: text, Version: h.record})...)
	if errors.Is(err, s.errs.Conflict) {
		return fmt.Errorf("secret %s: %w", name, ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("write secret %s: %w", name, err)
	}
	return nil
}

// Set writes a new version and gives its number. Expected is the current version that it replaces, 0 for a secret that
// must not be there, or Any. Who is written beside it. A new secret may be read by nobody until MayRead says otherwise.
func (s *Store) Set(ctx context.Context, name string, value []byte, expected int64, who string) (int64, error) {
	switch {
	case len(value) == 0:
		return 0, errors.New("an empty secret protects nothing")
	case len(value) > MaxValue:
		return 0, fmt.Errorf("a secret has at most %d bytes", MaxValue)
	case !whoForm.MatchString(who):
		return 0, errors.New("say who changes it: visible ASCII, at most 120 characters")
	}
	for try := 0; ; try++ {
		h, err := s.head(ctx, name)
		if err != nil {
			return 0, err
		}
		if expected != Any && expected != h.current() {
			return 0, fmt.Errorf("secret %s: %w", name, ErrConflict)
		}
		version, err := s.add(ctx, name, h, value, who)
		if err == nil || !errors.Is(err, ErrConflict) || expected != Any || try == 8 {
			return version, err
		}
	}
}

func (s *Store) add(ctx context.Context, name string, h head, value []byte, who string) (int64, error) {
	h.Latest++
	h.Versions = append(slices.Clone(h.Versions), Version{Version: h.Latest, Created: s.opt.Now().UTC(), By: who})
	more := []Write{{Key: valueKey(name, h.Latest), Value: slices.Clone(value), Version: 0}}
	for len(h.Versions) > s.opt.Keep {
		more = append(more, Write{Key: valueKey(name, h.Versions[0].Version), Version: Any})
		h.Versions = h.Versions[1:]
	}
	if err := s.change(ctx, name, h, more...); err != nil {
		return 0, err
	}
	return h.Latest, nil
}

// Get gives a version, or the current one for 0, with its number. What is not there is secret.ErrGone.
func (s *Store) Get(ctx context.Context, name string, version int64) (secret.Value, int64, error) {
	for try := 0; ; try++ {
		h, err := s.head(ctx, name)
		if err != nil {
			return secret.Value{}, 0, err
		}
		wanted := version
		if wanted == 0 {
			wanted = h.current()
		}
		if !h.has(wanted) {
			return secret.Value{}, 0, s.missing(name, version)
		}
		r, err := s.records.Get(ctx, valueKey(name, wanted))
		if errors.Is(err, s.errs.None) && try < 3 {
			continue // removed between the two reads
		}
		if errors.Is(err, s.errs.None) {
			return secret.Value{}, 0, fmt.Errorf("secret %s: version %d is listed but not there; restore a backup or set it anew", name, wanted)
		}
		if err != nil {
			return secret.Value{}, 0, fmt.Errorf("read secret %s: %w", name, err)
		}
		v, err := secret.New(r.Value, "store:"+name)
		return v, wanted, err
	}
}

func (s *Store) missing(name string, version int64) error {
	if version != 0 {
		return fmt.Errorf("%w: no version %d of %s is kept", secret.ErrGone, version, name)
	}
	return fmt.Errorf("%w: write it with gatehouse secret set %s", secret.ErrGone, name)
}

// Remove takes a version out of the world, or all for 0. Their numbers stay taken. Expected is as with Set.
func (s *Store) Remove(ctx context.Context, name string, version, expected int64, who string) error {
	if !whoForm.MatchString(who) {
		return errors.New("say who removes it: visible ASCII, at most 120 characters")
	}
	h, err := s.head(ctx, name)
	if err != nil {
		return err
	}
	if expected != Any && expected != h.current() {
		return fmt.Errorf("secret %s: %w", name, ErrConflict)
	}
	now := s.opt.Now().UTC()
	var more []Write
	h.Versions = slices.Clone(h.Versions)
	for i := range h.Versions {
		if v := &h.Versions[i]; v.Removed == nil && (version == 0 || v.Version == version) {
			v.Removed, v.Remover = &now, who
			more = append(more, Write{Key: valueKey(name, v.Version), Version: Any})
		}
	}
	if len(more) == 0 {
		return s.missing(name, version)
	}
	return s.change(ctx, name, h, more...)
}

// MayRead says which parts of the document may refer to a secret, instead of those before: "listen", "apis.shop", or "*"
// for all. None means nobody.
func (s *Store) MayRead(ctx context.Context, name string, parts []string) error {
	if err := CheckReaders(parts); err != nil {
		return err
	}
	for try := 0; ; try++ {
		h, err := s.head(ctx, name)
		if err != nil {
			return err
		}
		if h.record == 0 {
			return s.missing(name, 0)
		}
		h.MayRead = slices.Clone(parts)
		slices.Sort(h.MayRead)
		h.MayRead = slices.Compact(h.MayRead)
		if err = s.change(ctx, name, h); !errors.Is(err, ErrConflict) || try == 8 {
			return err
		}
	}
}

// List gives every secret in the order of names, without values. Removed ones stay as tombstones.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	all := map[string]*Info{}
	uses := map[string]time.Time{}
	for after := ""; ; {
		records, err := s.records.List(ctx, "secret/", after, page)
		if err != nil {
			return nil, fmt.Errorf("list secrets: %w", err)
		}
		for _, r := range records {
			after = r.Key
			at := strings.LastIndexByte(r.Key, '/')
			name := strings.TrimPrefix(r.Key[:at], "secret/")
			switch r.Key[at+1:] {
			case "head":
				h, err := headOf(r, name)
				if err != nil {
					return nil, err
				}
				all[name] = &Info{Name: name, Current: h.current(), Latest: h.Latest, MayRead: h.MayRead, Versions: h.Versions}
			case "use":
				if at, err := time.Parse(time.RFC3339, string(r.Value)); err == nil {
					uses[name] = at
				}
			}
		}
		if len(records) < page {
			break
		}
	}
	list := make([]Info, 0, len(all))
	for name, info := range all {
		if at, ok := uses[name]; ok {
			info.LastUse = &at
		}
		list = append(list, *info)
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// split divides what stands behind "store:" into name and version, 0 for the current one.
func split(place string) (name string, version int64, err error) {
	name, number, pinned := strings.Cut(place, "@")
	if pinned {
		if version, err = strconv.ParseInt(number, 10, 64); err != nil || version <= 0 {
			return "", 0, ErrName
		}
	}
	return name, version, CheckName(name)
}
