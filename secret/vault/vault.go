// Package vault reads secrets from OpenBao or Vault over their HTTP API: key-value engines of both versions, and engines
// that make credentials with a lease, such as database users that live for an hour. It logs in by itself, prolongs what it
// holds, and takes nothing from the environment: only what the document says. What it stops: passwords that live for ever
// in files, and credentials that outlive the gateway that used them.
//
// The published API that it is written from: https://openbao.org/api-docs/ (secret/kv, auth/approle, auth/kubernetes,
// auth/token, system/leases, system/internal-ui-mounts).
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/secret"
)

// Deps is what a Source needs from outside. The zero Deps are good for production.
type Deps struct {
	Now  func() time.Time                                                     // nil is time.Now
	Dial func(ctx context.Context, network, address string) (net.Conn, error) // nil is net.Dialer
}

// Source is one server, and one login to it.
type Source struct {
	cfg    Config
	client *client
	now    func() time.Time

	turn    turnstile // guards current, over the network as well
	current session

	mu     sync.Mutex
	mounts map[string]Engine // by mount, as the server told
}

// New makes the source of vault: references. It asks nothing yet. The error is a mistake.List whose paths lie in the
// section.
func New(cfg Config, deps Deps) (*Source, error) {
	cfg = cfg.withDefaults()
	base, wrong := cfg.check()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Dial == nil {
		deps.Dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	c, err := newClient(base, cfg.Namespace, cfg.CA, deps.Dial)
	if err != nil {
		return nil, mistake.List{{Path: "ca", What: err.Error()}}
	}
	return &Source{cfg: cfg, client: c, now: deps.Now, turn: make(turnstile, 1), mounts: map[string]Engine{}}, nil
}

// Fetch reads what lies at MOUNT/PATH.
func (s *Source) Fetch(ctx context.Context, place, _ string) (secret.Answer, error) {
	mount, engine, err := s.engine(ctx, place)
	if err != nil {
		return secret.Answer{}, err
	}
	path := place
	if engine == KV2 {
		path = mount + "/data/" + strings.TrimPrefix(place, mount+"/")
	}
	asked := s.now()
	r, used, err := s.ask(ctx, http.MethodGet, path, nil)
	if statusOf(err) == http.StatusNotFound {
		s.unlearn(mount) // it may have become another engine
		if rest, doubled := strings.CutPrefix(place, mount+"/data/"); engine == KV2 && doubled {
			err = fmt.Errorf("%w; write vault:%s/%s without data/", err, mount, rest)
		}
		return secret.Answer{}, fmt.Errorf("%w: %w", secret.ErrGone, err)
	}
	if err != nil {
		return secret.Answer{}, err
	}
	if engine == KV2 {
		answer, err := versioned(r.Data)
		if err != nil && !errors.Is(err, secret.ErrGone) {
			s.unlearn(mount)
		}
		return answer, err
	}
	fields, err := fieldsOf(r.Data)
	if err != nil {
		return secret.Answer{}, err
	}
	answer := secret.Answer{Fields: fields}
	if engine == KV1 {
		return answer, nil // its lease_duration is advice, not a lease: there is no lease_id
	}
	if r.LeaseID == "" || r.LeaseDuration <= 0 {
		return secret.Answer{}, fmt.Errorf("what lies at %s has no lease; if %s is a key-value engine, say so: mounts: {%s: kv1}", place, mount, mount)
	}
	answer.Version = asked.UTC().Format(time.RFC3339)
	answer.Lease = &secret.Lease{ID: leaseID(used, r.LeaseID), TTL: s.within(used, seconds(r.LeaseDuration)), Full: seconds(r.LeaseDuration), Renewable: r.Renewable}
	return answer, nil
}

// leaseID puts the login that a lease hangs on before the server's name for it.
func leaseID(used session, id string) string { return strconv.Itoa(used.generation) + " " + id }

// within bounds a lease by the life of the token that it hangs on: the server ends both together.
func (s *Source) within(used session, ttl time.Duration) time.Duration {
	if used.ends.IsZero() {
		return ttl
	}
	return min(ttl, used.ends.Sub(s.now()))
}

// ask asks with a token. One that the server no longer takes is replaced, once; a denial by policy is not taken for that.
func (s *Source) ask(ctx context.Context, method, path string, body any) (reply, session, error) {
	for try := 0; ; try++ {
		used, err := s.session(ctx)
		if err != nil {
			return reply{}, session{}, err
		}
		r, err := s.client.call(ctx, method, path, used.token, body)
		if statusOf(err) != http.StatusForbidden || try > 0 {
			return r, used, err
		}
		if _, dead := s.client.call(ctx, http.MethodGet, "auth/token/lookup-self", used.token, nil); statusOf(dead) != http.StatusForbidden {
			return r, used, err
		}
		s.forget(ctx, used)
	}
}

// engine finds the mount of a place and what lies below it: as the document says, else as the server does.
func (s *Source) engine(ctx context.Context, place string) (mount string, engine Engine, err error) {
	for prefix := place; prefix != ""; {
		cut := strings.LastIndexByte(prefix, '/')
		if cut < 0 {
			break
		}
		prefix = prefix[:cut]
		if e, ok := s.cfg.Mounts[prefix]; ok {
			return prefix, e, nil
		}
		s.mu.Lock()
		e, ok := s.mounts[prefix]
		s.mu.Unlock()
		if ok {
			return prefix, e, nil
		}
	}
	r, _, err := s.ask(ctx, http.MethodGet, "sys/internal/ui/mounts/"+place, nil)
	if err != nil {
		first, _, _ := strings.Cut(place, "/")
		return "", "", fmt.Errorf("ask what is mounted at %s: %w; or say it: mounts: {%s: kv2}", place, err, first)
	}
	var told struct {
		Path    string            `json:"path"`
		Type    string            `json:"type"`
		Options map[string]string `json:"options"`
	}
	if err := json.Unmarshal(r.Data, &told); err != nil || told.Path == "" || !strings.HasPrefix(place+"/", strings.TrimSuffix(told.Path, "/")+"/") {
		return "", "", errors.New("the server doesn't say what is mounted there; say it: mounts: {NAME: kv2}")
	}
	mount, engine = strings.TrimSuffix(told.Path, "/"), Dynamic
	if told.Type == "kv" || told.Type == "generic" {
		engine = KV1
		if told.Options["version"] == "2" {
			engine = KV2
		}
	}
	s.mu.Lock()
	s.mounts[mount] = engine
	s.mu.Unlock()
	return mount, engine, nil
}

func (s *Source) unlearn(mount string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mounts, mount)
}

// versioned reads an answer of the key-value engine, version 2.
func versioned(data json.RawMessage) (secret.Answer, error) {
	var two struct {
		Data     json.RawMessage `json:"data"`
		Metadata struct {
			Version      int64  `json:"version"`
			DeletionTime string `json:"deletion_time"`
			Destroyed    bool   `json:"destroyed"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(data, &two); err != nil || two.Metadata.Version == 0 {
		return secret.Answer{}, errors.New("the server's answer is not that of a key-value engine, version 2")
	}
	if two.Metadata.Destroyed || len(two.Data) == 0 || string(two.Data) == "null" {
		return secret.Answer{}, fmt.Errorf("%w: version %d was deleted", secret.ErrGone, two.Metadata.Version)
	}
	fields, err := fieldsOf(two.Data)
	return secret.Answer{Fields: fields, Version: strconv.FormatInt(two.Metadata.Version, 10)}, err
}

// fieldsOf gives the texts and numbers of a mapping; other fields can't be a secret, and neither can an empty text.
func fieldsOf(data json.RawMessage) (map[string]secret.Value, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil || all == nil {
		return nil, errors.New("what lies there is no mapping of fields")
	}
	fields := map[string]secret.Value{}
	for name, raw := range all {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			var number json.Number
			if json.Unmarshal(raw, &number) != nil {
				continue
			}
			text = number.String()
		}
		if v, err := secret.New([]byte(text), name); err == nil {
			fields[name] = v
		}
	}
	return fields, nil
}

// Renew prolongs a lease.
func (s *Source) Renew(ctx context.Context, lease secret.Lease) (secret.Lease, error) {
	generation, id, _ := strings.Cut(lease.ID, " ")
	used, err := s.session(ctx)
	if err != nil {
		return secret.Lease{}, err
	}
	if strconv.Itoa(used.generation) != generation {
		return secret.Lease{}, fmt.Errorf("%w: it ends with the login that it was taken with", secret.ErrLost)
	}
	r, used, err := s.ask(ctx, http.MethodPost, "sys/leases/renew", map[string]any{"lease_id": id, "increment": int64(lease.Full / time.Second)})
	switch statusOf(err) {
	case 0:
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return secret.Lease{}, fmt.Errorf("%w: %w", secret.ErrLost, withoutID(err, id))
	default:
		return secret.Lease{}, withoutID(err, id)
	}
	if err != nil {
		return secret.Lease{}, err
	}
	if r.LeaseDuration <= 0 {
		return secret.Lease{}, secret.ErrLost
	}
	return secret.Lease{ID: lease.ID, TTL: s.within(used, seconds(r.LeaseDuration)), Full: seconds(r.LeaseDuration), Renewable: r.Renewable}, nil
}

// withoutID takes the lease's name out of a server's words: with a token, it would be enough to end it.
func withoutID(err error, id string) error {
	var r refused
	if errors.As(err, &r) && id != "" {
		r.words = strings.ReplaceAll(r.words, id, "[lease]")
		return r
	}
	return err
}

// Revoke ends a lease.
func (s *Source) Revoke(ctx context.Context, lease secret.Lease) error {
	_, id, _ := strings.Cut(lease.ID, " ")
	_, _, err := s.ask(ctx, http.MethodPost, "sys/leases/revoke", map[string]any{"lease_id": id})
	return withoutID(err, id)
}

// End logs out, which ends everything that hangs on the login. A token that somebody else made is left alone.
func (s *Source) End(ctx context.Context) (all bool, err error) {
	if err := s.turn.take(ctx); err != nil {
		return false, err
	}
	defer s.turn.give()
	have := s.current
	if have.token == "" || !have.own {
		return false, nil
	}
	if _, err = s.client.call(ctx, http.MethodPost, "auth/token/revoke-self", have.token, map[string]any{}); err != nil {
		return false, err
	}
	s.current = session{generation: have.generation}
	return true, nil
}
