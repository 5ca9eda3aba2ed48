package user

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/throttled/throttled/v2"

	"github.com/gatehouse-sec/gatehouse/kit/record"
)

// Records is the part of the durable store that is needed.
type Records interface {
	Get(ctx context.Context, key string) (record.Record, error)
	Write(ctx context.Context, w record.Write) (int64, error)
	List(ctx context.Context, prefix, after string, limit int) ([]record.Record, error)
}

const (
	prefix    = "user/"
	LinkTime  = 72 * time.Hour // for which an invitation is good
	page      = 200
	tries     = 8 // of a change that another one came before
	mostRoles = 64
)

// How fast guessing may go. Each try counts, right or wrong. Somebody's own browser, which has signed in before, has tries of its
// own: whoever guesses a name's password slows down all other browsers, and shuts nobody out for good (row E19).
var (
	ownTries     = throttled.RateQuota{MaxRate: throttled.PerHour(60), MaxBurst: 4}   // five in five minutes
	nameTries    = throttled.RateQuota{MaxRate: throttled.PerHour(60), MaxBurst: 9}   // ten, of all browsers that are not known
	addressTries = throttled.RateQuota{MaxRate: throttled.PerHour(240), MaxBurst: 29} // thirty, of a network, whatever the names
)

// Options is what Users need from outside.
type Options struct {
	Digest   []byte // secret of the digests in names of records, which are not encrypted
	Rand     io.Reader
	Now      func() time.Time
	Cost     Cost                   // of a hash; zero: FullCost
	Counters throttled.GCRAStoreCtx // of tries; those that nodes share
}

// Users are the local users. Make one for each process.
type Users struct {
	in      Records
	errors  record.Errors
	options Options
	hasher  *hasher
	limits  map[string]*throttled.GCRARateLimiterCtx
}

// stored is the form of a record.
type stored struct {
	User
	Hash string `json:"hash,omitempty"`
	Link []byte `json:"link,omitempty"` // digest of the invitation's secret
}

// New makes one.
func New(in Records, e record.Errors, o Options) (*Users, error) {
	if o.Cost == (Cost{}) {
		o.Cost = FullCost
	}
	u := &Users{in: in, errors: e, options: o, limits: map[string]*throttled.GCRARateLimiterCtx{}}
	for name, quota := range map[string]throttled.RateQuota{"own": ownTries, "name": nameTries, "address": addressTries} {
		limiter, err := throttled.NewGCRARateLimiterCtx(o.Counters, quota)
		if err != nil {
			return nil, err
		}
		u.limits[name] = limiter
	}
	var err error
	u.hasher, err = newHasher(o.Cost)
	return u, err
}

func (u *Users) key(name string) string {
	h := hmac.New(sha256.New, u.options.Digest)
	h.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Invite makes a user who has no password yet, and the end of the link with which one is chosen; it is shown this once.
func (u *Users) Invite(ctx context.Context, name string, roles []string, by string) (q User, link string, err error) {
	name, ok := Canonical(name)
	if !ok {
		return q, "", fmt.Errorf("%.70q is not a name of letters, digits and . _ @ + -, at most 64", name)
	}
	if roles, err = checkRoles(roles); err != nil {
		return q, "", err
	}
	id, err := u.random(15)
	if err != nil {
		return q, "", err
	}
	s := stored{User: User{ID: id, Name: name, Roles: roles, Created: u.now(), By: by}}
	if link, err = u.link(&s); err != nil {
		return q, "", err
	}
	err = u.write(ctx, s, 0)
	if errors.Is(err, u.errors.Conflict) {
		err = ErrExists
	}
	return s.User, link, err
}

// Reset takes a user's password away, and makes a link with which another is chosen. Whoever asked ends the user's sessions.
func (u *Users) Reset(ctx context.Context, name string) (q User, link string, err error) {
	q, err = u.change(ctx, name, func(s *stored) (err error) {
		s.Hash, s.Chosen = "", time.Time{}
		link, err = u.link(s)
		return err
	})
	return q, link, err
}

// SetRoles gives a user other roles.
func (u *Users) SetRoles(ctx context.Context, name string, roles []string) (User, error) {
	roles, err := checkRoles(roles)
	if err != nil {
		return User{}, err
	}
	return u.change(ctx, name, func(s *stored) error {
		s.Roles = roles
		return nil
	})
}

// Remove takes a user away. Another who gets the same name one day has another ID.
func (u *Users) Remove(ctx context.Context, name string) (User, error) {
	for range tries {
		s, version, err := u.get(ctx, name)
		if err != nil {
			return s.User, err
		}
		_, err = u.in.Write(ctx, record.Write{Key: prefix + u.key(s.Name), Version: version})
		if !errors.Is(err, u.errors.Conflict) {
			return s.User, err
		}
	}
	return User{}, ErrChanged
}

// List gives all users, by name.
func (u *Users) List(ctx context.Context) (list []User, err error) {
	for after := ""; ; {
		records, err := u.in.List(ctx, prefix, after, page)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			var s stored
			if err := json.Unmarshal(r.Value, &s); err != nil {
				return nil, errors.New("a user is kept in a form that this program cannot read; is another version running?")
			}
			if after = r.Key; after != prefix+decoy {
				list = append(list, s.User)
			}
		}
		if len(records) < page {
			slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
			return list, nil
		}
	}
}

// Try is somebody who wants to sign in.
type Try struct {
	Name, Password string
	From           netip.Addr
	Known          Device // what a browser that has signed in before says of that
}

// Device is a browser that has signed in before: its own id, as whom, and by a password that was chosen when. It has tries of its own
// only while all of that holds.
type Device struct {
	ID, User string
	Chosen   time.Time
}

// SignIn gives the user whose name and password these are. The error is ErrWrong, ErrSlow, ErrBusy, or the store's.
func (u *Users) SignIn(ctx context.Context, t Try) (User, time.Duration, error) {
	name, named := Canonical(t.Name)
	if !named {
		name = nobody // who isn't there either
	}
	s, version, err := u.evenly(ctx, name)
	if err != nil {
		return User{}, 0, err
	}
	if t.Known.User != s.ID || !t.Known.Chosen.Equal(s.Chosen) {
		t.Known = Device{}
	}
	if wait, err := u.slow(ctx, t, name); err != nil || wait > 0 {
		return User{}, wait, cmp.Or(err, ErrSlow)
	}
	if len(t.Password) > Longest {
		t.Password = ""
	}
	fits, old, err := u.hasher.fits(ctx, t.Password, s.Hash)
	if err != nil {
		return User{}, 0, err
	}
	if !fits {
		return User{}, 0, ErrWrong
	}
	was := s.Hash
	s.Last = u.now()
	if old {
		if s.Hash, err = u.hasher.hash(ctx, t.Password); err != nil {
			return User{}, 0, err
		}
	}
	// Somebody who was removed, or whose password was reset a moment ago, doesn't come in: the version says so.
	if err := u.write(ctx, s, version); err != nil {
		if errors.Is(err, u.errors.Conflict) {
			s.Hash = was
			return u.again(ctx, s)
		}
		return User{}, 0, err
	}
	return s.User, 0, nil
}

// Nobody is a name that no user can have.
const nobody = "-"

// evenly reads the record of a name, the zero stored when there is none. It takes one look at a record that is there and one at a
// record that isn't, whichever the name is: the time doesn't tell (row E35).
func (u *Users) evenly(ctx context.Context, name string) (stored, int64, error) {
	s, version, err := u.read(ctx, u.key(name))
	there := err == nil
	if err != nil && !errors.Is(err, ErrNone) {
		return stored{}, 0, err
	}
	other := u.key(nobody)
	if !there {
		other = decoy
	}
	_, _, err = u.read(ctx, other)
	if errors.Is(err, ErrNone) && !there { // the first time
		s := stored{User: User{ID: decoy, Name: nobody, Roles: []string{"customer"}, Created: u.now(), By: "gatehouse", Chosen: u.now(), Last: u.now()}, Hash: u.hasher.none}
		var value []byte
		if value, err = json.Marshal(s); err == nil {
			_, err = u.in.Write(ctx, record.Write{Key: prefix + decoy, Value: value, Version: -1})
		}
	}
	if err != nil && !errors.Is(err, ErrNone) {
		return stored{}, 0, err
	}
	if !there {
		return stored{}, 0, nil
	}
	return s, version, nil
}

// decoy is where the record of nobody lies, which is read in the place of one that isn't there.
const decoy = "decoy"

// again lets somebody in whose record was changed while the password was compared, if it is the same password still: two
// browsers of one user sign in at once.
func (u *Users) again(ctx context.Context, s stored) (User, time.Duration, error) {
	now, _, err := u.get(ctx, s.Name)
	switch {
	case errors.Is(err, ErrNone):
		return User{}, 0, ErrWrong
	case err != nil:
		return User{}, 0, err
	case now.ID != s.ID || now.Hash != s.Hash:
		return User{}, 0, ErrWrong
	}
	return now.User, 0, nil
}

// slow counts a try, and tells how long to wait when there were too many.
func (u *Users) slow(ctx context.Context, t Try, name string) (time.Duration, error) {
	keys := [][2]string{{"address", network(t.From)}, {"name", name}}
	if t.Known.ID != "" {
		keys = [][2]string{{"own", t.Known.ID}}
	}
	for _, k := range keys {
		limited, result, err := u.limits[k[0]].RateLimitCtx(ctx, "sign-on/"+k[0]+"/"+u.key(k[1]), 1)
		switch {
		case err != nil:
			return 0, err
		case limited:
			return max(result.RetryAfter, time.Second), nil
		}
	}
	return 0, nil
}

// network is what one customer of a provider has: an IPv4 address, or a /64.
func network(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// Get gives a user by name.
func (u *Users) Get(ctx context.Context, name string) (User, error) {
	s, _, err := u.get(ctx, name)
	return s.User, err
}

// Invited gives whom a link is for, while it is good.
func (u *Users) Invited(ctx context.Context, link string) (User, error) {
	s, _, err := u.invited(ctx, link)
	return s.User, err
}

// Choose sets the password of whom a link is for. The link is good for nothing afterwards.
func (u *Users) Choose(ctx context.Context, link, password string) (User, error) {
	s, version, err := u.invited(ctx, link)
	if err != nil {
		return User{}, err
	}
	if wrong := CheckPassword(s.Name, password); wrong != "" {
		return User{}, errors.New(wrong)
	}
	if s.Hash, err = u.hasher.hash(ctx, password); err != nil {
		return User{}, err
	}
	s.Link, s.Invited, s.Chosen, s.Last = nil, nil, u.now(), u.now()
	err = u.write(ctx, s, version)
	if errors.Is(err, u.errors.Conflict) {
		err = ErrLink
	}
	return s.User, err
}

// A link's end is the name of the record, a dot, and a secret of 256 bits.
func (u *Users) link(s *stored) (string, error) {
	secret, err := u.random(32)
	if err != nil {
		return "", err
	}
	d, until := sha256.Sum256([]byte(secret)), u.now().Add(LinkTime)
	s.Link, s.Invited = d[:], &until
	return u.key(s.Name) + "." + secret, nil
}

func (u *Users) invited(ctx context.Context, link string) (s stored, version int64, err error) {
	key, secret, dot := strings.Cut(link, ".")
	if !dot || len(key) != 43 || len(secret) != 43 {
		return s, 0, ErrLink
	}
	s, version, err = u.read(ctx, key)
	if errors.Is(err, ErrNone) {
		return s, 0, ErrLink
	}
	d := sha256.Sum256([]byte(secret))
	if err == nil && (subtle.ConstantTimeCompare(d[:], s.Link) != 1 || s.Invited == nil || !u.now().Before(*s.Invited)) {
		return stored{}, 0, ErrLink
	}
	return s, version, err
}

func (u *Users) get(ctx context.Context, name string) (stored, int64, error) {
	canonical, ok := Canonical(name)
	if !ok {
		return stored{}, 0, ErrNone
	}
	return u.read(ctx, u.key(canonical))
}

func (u *Users) read(ctx context.Context, key string) (s stored, version int64, err error) {
	r, err := u.in.Get(ctx, prefix+key)
	if errors.Is(err, u.errors.None) {
		return s, 0, ErrNone
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &s)
	}
	return s, r.Version, err
}

func (u *Users) write(ctx context.Context, s stored, version int64) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = u.in.Write(ctx, record.Write{Key: prefix + u.key(s.Name), Value: value, Version: version})
	return err
}

// change changes a user as often as others come before.
func (u *Users) change(ctx context.Context, name string, do func(*stored) error) (User, error) {
	for range tries {
		s, version, err := u.get(ctx, name)
		if err != nil {
			return s.User, err
		}
		if err := do(&s); err != nil {
			return s.User, err
		}
		if err = u.write(ctx, s, version); !errors.Is(err, u.errors.Conflict) {
			return s.User, err
		}
	}
	return User{}, ErrChanged
}

func checkRoles(roles []string) ([]string, error) {
	if len(roles) > mostRoles {
		return nil, fmt.Errorf("%d roles are more than %d", len(roles), mostRoles)
	}
	for _, r := range roles {
		if r == "" || len(r) > 128 || strings.ContainsFunc(r, func(c rune) bool { return c <= ' ' || c > '~' || c == ',' }) {
			return nil, fmt.Errorf("%.140q is not the name of a role: visible characters without comma", r)
		}
	}
	roles = slices.Clone(roles)
	slices.Sort(roles)
	return slices.Compact(roles), nil
}

func (u *Users) now() time.Time { return u.options.Now().UTC().Truncate(time.Second) }

func (u *Users) random(bytes int) (string, error) {
	raw := make([]byte, bytes)
	if _, err := io.ReadFull(u.options.Rand, raw); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}
