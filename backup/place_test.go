package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// bucket is an object store that we did not write, behind TLS, with a recorder of what it is asked.
type bucket struct {
	*httptest.Server
	cfg S3

	mu       sync.Mutex
	requests []*http.Request
	answer   func(http.Header) // added to every answer to HEAD
	refuse   func(*http.Request) bool
}

const (
	accessKey = "AKIACANARYCANARYCANA"
	secretKey = "canary-secret-key-7c1d"
)

func newBucket(t *testing.T) *bucket {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("vault"); err != nil {
		t.Fatal(err)
	}
	store := gofakes3.New(backend).Server()
	b := &bucket{answer: func(http.Header) {}, refuse: func(*http.Request) bool { return false }}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.requests = append(b.requests, r.Clone(context.Background()))
		refuse, answer := b.refuse(r), b.answer
		b.mu.Unlock()
		if refuse {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
			return
		}
		if r.Method == http.MethodHead {
			answer(w.Header())
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b.cfg = S3{
		Endpoint: b.URL, Region: "eu-test-1", CA: file("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw})),
		AccessKey: reference(t, "file:"+file("access", []byte(accessKey+"\n"))), SecretKey: reference(t, "file:"+file("secret", []byte(secretKey+"\n"))),
	}
	return b
}

func reference(t *testing.T, text string) (r secret.Ref) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *bucket) asked() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

func (b *bucket) open(t *testing.T, now func() time.Time, change ...func(*S3)) *objects {
	t.Helper()
	cfg := b.cfg
	for _, c := range change {
		c(&cfg)
	}
	o, err := newObjects(Target{bucket: "vault", prefix: "gw/a"}, cfg, secret.Ref.Resolve, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Every place keeps the same promises.
func TestPlaces(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) Destination{
		"directory": func(t *testing.T) Destination { return Directory{t.TempDir()} },
		"s3":        func(t *testing.T) Destination { return newBucket(t).open(t, time.Now) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place, ctx := open(t), t.Context()
			if all, err := place.List(ctx); err != nil || len(all) > 0 {
				t.Errorf("an empty place lists %v, %v", all, err)
			}
			big := make([]byte, objectPart+12345) // more than one piece
			_, _ = rand.Read(big)
			put := func(name string, data []byte) {
				t.Helper()
				if err := place.Put(ctx, name, bytes.NewReader(data), int64(len(data))); err != nil {
					t.Fatalf("put %s: %v", name, err)
				}
			}
			get := func(name string) []byte {
				t.Helper()
				file, err := place.Get(ctx, name)
				if err != nil {
					t.Fatalf("get %s: %v", name, err)
				}
				data, err := io.ReadAll(file)
				if err := errors.Join(err, file.Close()); err != nil {
					t.Fatal(err)
				}
				return data
			}
			put("c", []byte("third"))
			put("a", big)
			put("b", []byte("first"))
			put("b", []byte("second"))
			if !bytes.Equal(get("a"), big) || string(get("b")) != "second" {
				t.Error("what is got is not what was put")
			}
			all, err := place.List(ctx)
			if err != nil || len(all) != 3 || all[0].Name != "a" || all[0].Size != int64(len(big)) || all[1].Name != "b" || all[1].Time.IsZero() {
				t.Errorf("%v, %v", all, err)
			}
			// What ends early, or is called off, is not there.
			if err := place.Put(ctx, "short", bytes.NewReader([]byte("abc")), 5); err == nil {
				t.Error("fewer bytes than announced were taken")
			}
			if err := place.Put(ctx, "broken", &breaking{}, 10); err == nil {
				t.Error("a file whose reading fails was taken")
			}
			gone, stop := context.WithCancel(ctx)
			stop()
			if err := place.Put(gone, "off", bytes.NewReader(big), int64(len(big))); err == nil {
				t.Error("put although called off")
			}
			for _, name := range []string{"short", "broken", "off", "none"} {
				if _, err := place.Get(ctx, name); !errors.Is(err, ErrNoBackup) {
					t.Errorf("get %s: %v", name, err)
				}
			}
			for range 2 {
				if err := place.Remove(ctx, "b"); err != nil {
					t.Errorf("remove: %v", err)
				}
			}
			if all, err := place.List(ctx); err != nil || len(all) != 2 {
				t.Errorf("after removing: %v, %v", all, err)
			}
			// No name leaves the place.
			if _, err := place.Get(ctx, "../../../../etc/passwd"); !errors.Is(err, ErrNoBackup) {
				t.Errorf("%v", err)
			}
		})
	}
}

type breaking struct{ n int }

func (b *breaking) Read(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		return 0, errors.New("EIO")
	}
	return copy(p, "abc"), nil
}

func (b *breaking) Seek(int64, int) (int64, error) { b.n = 0; return 0, nil }

func TestAPlaceThatIsNotThere(t *testing.T) {
	d := Directory{filepath.Join(t.TempDir(), "unmounted")}
	if err := d.Put(t.Context(), "a", strings.NewReader("a"), 1); err == nil || !strings.Contains(err.Error(), "mount it") {
		t.Errorf("%v", err)
	}
	if _, err := d.List(t.Context()); err == nil {
		t.Error("it lists")
	}
}

// Half-written files of a process that is gone are removed; those of another that lives are not.
func TestHalfWrittenFilesAreSwept(t *testing.T) {
	d := Directory{t.TempDir()}
	_ = os.WriteFile(filepath.Join(d.Path, partial+"old"), []byte("half"), 0o600)
	held, err := openHeld(filepath.Join(d.Path, partial+"live"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := d.Put(t.Context(), "a", strings.NewReader("a"), 1); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(d.Path)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{partial + "live", "a"}) {
		t.Errorf("%v", names)
	}
}

// What an object store is asked, and what it is not: the lock is in the request that puts, the key's value is nowhere.
func TestWhatAnObjectStoreIsAsked(t *testing.T) {
	b := newBucket(t)
	now := func() time.Time { return time.Now().UTC().Truncate(time.Second) }
	o := b.open(t, now, func(c *S3) { c.ObjectLock = Lock{Mode: "compliance", Days: 30} })
	began := now()
	if err := o.Put(t.Context(), "x", strings.NewReader("content"), 7); err != nil {
		t.Fatal(err)
	}
	var put *http.Request
	for _, r := range b.asked() {
		if r.Method == http.MethodPut {
			put = r
		}
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, ""), secretKey) {
				t.Errorf("%s shows the key", name)
			}
		}
		if !strings.Contains(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+accessKey+"/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-test-1/s3/aws4_request") {
			t.Errorf("signed by %s", r.Header.Get("Authorization"))
		}
	}
	if put == nil {
		t.Fatal("nothing was put")
	}
	if put.URL.Path != "/vault/gw/a/x" || put.URL.RawQuery != "" {
		t.Errorf("put %s", put.URL)
	}
	if mode := put.Header["X-Amz-Object-Lock-Mode"]; !slices.Equal(mode, []string{"COMPLIANCE"}) {
		t.Errorf("mode %q", mode)
	}
	until, err := time.Parse(time.RFC3339, put.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if early := began.AddDate(0, 0, 30); err != nil || until.Before(early) || until.After(early.Add(time.Minute)) {
		t.Errorf("until %s, %v", put.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"), err)
	}
	if !strings.Contains(put.Header.Get("Authorization"), "x-amz-object-lock-retain-until-date") {
		t.Error("the lock is not signed")
	}
	if put.Header.Get("Content-Md5") == "" && put.Header.Get("X-Amz-Checksum-Crc32c") == "" && put.Header.Get("X-Amz-Trailer") == "" {
		t.Errorf("a store with object lock wants a checksum: %v", put.Header)
	}
	for _, r := range b.asked() {
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "bypass-governance") {
				t.Error("a permission to break the lock is used")
			}
		}
	}
	plain := newBucket(t)
	if err := plain.open(t, now).Put(t.Context(), "x", strings.NewReader("content"), 7); err != nil {
		t.Fatal(err)
	}
	for _, r := range plain.asked() {
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "object-lock") {
				t.Errorf("without a lock %s is sent", name)
			}
		}
	}
}

// A large file is locked when its upload begins; no piece says so again.
func TestALargeFileIsLocked(t *testing.T) {
	b := newBucket(t)
	o := b.open(t, time.Now, func(c *S3) { c.ObjectLock = Lock{Mode: "governance", Days: 1} })
	if err := o.Put(t.Context(), "x", bytes.NewReader(make([]byte, objectPart+1)), objectPart+1); err != nil {
		t.Fatal(err)
	}
	begun := 0
	for _, r := range b.asked() {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
			begun++
			if r.Header.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" || r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date") == "" {
				t.Errorf("%v", r.Header)
			}
		}
	}
	if begun != 1 {
		t.Errorf("%d uploads were begun", begun)
	}
}

// What is locked is not even asked to be removed.
func TestWhatIsLockedStays(t *testing.T) {
	for name, c := range map[string]struct {
		head    map[string]string
		refuse  bool
		removed bool
		locked  bool
	}{
		"locked":          {map[string]string{"X-Amz-Object-Lock-Retain-Until-Date": noon.Add(time.Hour).Format(time.RFC3339)}, false, false, true},
		"held":            {map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}, false, false, true},
		"held and free":   {map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON", "X-Amz-Object-Lock-Retain-Until-Date": noon.Add(-time.Hour).Format(time.RFC3339)}, false, false, true},
		"unreadable":      {map[string]string{"X-Amz-Object-Lock-Retain-Until-Date": "tomorrow"}, false, false, true},
		"free by now":     {map[string]string{"X-Amz-Object-Lock-Retain-Until-Date": noon.Add(-time.Hour).Format(time.RFC3339)}, false, true, false},
		"not held":        {map[string]string{"X-Amz-Object-Lock-Legal-Hold": "OFF"}, false, true, false},
		"never locked":    {nil, false, true, false},
		"the store knows": {map[string]string{"X-Amz-Object-Lock-Retain-Until-Date": noon.Add(-time.Hour).Format(time.RFC3339)}, true, true, true},
	} {
		b := newBucket(t)
		o := b.open(t, func() time.Time { return noon })
		if err := o.Put(t.Context(), "x", strings.NewReader("content"), 7); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		b.answer = func(h http.Header) {
			for k, v := range c.head {
				h.Set(k, v)
			}
		}
		b.refuse = func(r *http.Request) bool { return c.refuse && r.Method == http.MethodDelete }
		b.mu.Unlock()
		err := o.Remove(t.Context(), "x")
		asked := slices.ContainsFunc(b.asked(), func(r *http.Request) bool { return r.Method == http.MethodDelete })
		if errors.Is(err, ErrLocked) != c.locked || asked != c.removed || err != nil && !c.locked {
			t.Errorf("%s: %v, asked %v", name, err, asked)
		}
	}
}

// A certificate from nobody known is refused, and so is a store without TLS.
func TestAnObjectStoreIsKnownByItsCertificate(t *testing.T) {
	b := newBucket(t)
	o := b.open(t, time.Now, func(c *S3) { c.CA = "" })
	if _, err := o.List(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	for _, change := range []func(*S3){
		func(c *S3) { c.Endpoint = "http://" + strings.TrimPrefix(b.URL, "https://") },
		func(c *S3) { c.CA = "/none" },
		func(c *S3) { c.CA = strings.TrimPrefix(c.AccessKey.String(), "file:") },
	} {
		cfg := b.cfg
		change(&cfg)
		if _, err := newObjects(Target{bucket: "vault"}, cfg, secret.Ref.Resolve, nil, time.Now); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

// Credentials come from the document's references and nowhere else; errors do not repeat them; a rotated one is used at once.
func TestCredentialsOfAnObjectStore(t *testing.T) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "environment", "MINIO_ACCESS_KEY": "x", "MINIO_SECRET_KEY": "y", "HTTPS_PROXY": "http://127.0.0.1:1"} {
		t.Setenv(name, value)
	}
	b := newBucket(t)
	dialled := map[string]bool{}
	var mu sync.Mutex
	o, err := newObjects(Target{bucket: "vault"}, b.cfg, secret.Ref.Resolve, func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialled[address] = true
		mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(b.cfg.AccessKey.Path())
	_, err = o.List(t.Context())
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("without a key: %v", err)
	}
	if err := os.WriteFile(b.cfg.AccessKey.Path(), []byte("AKIAROTATED"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := b.asked()
	if last := all[len(all)-1].Header.Get("Authorization"); !strings.Contains(last, "Credential=AKIAROTATED/") {
		t.Errorf("signed by %s", last)
	}
	if len(dialled) != 1 || !dialled[strings.TrimPrefix(b.URL, "https://")] {
		t.Errorf("dialled %v", dialled)
	}
	b.mu.Lock()
	b.refuse = func(*http.Request) bool { return true }
	b.mu.Unlock()
	if _, err := o.List(t.Context()); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "s3.access_key") {
		t.Errorf("refused: %v", err)
	}
}

func TestABackupInAnObjectStore(t *testing.T) {
	b := newBucket(t)
	r := newRig(t, func(c *Config) { c.To, c.S3 = Target{bucket: "vault", prefix: "gw"}, b.cfg })
	r.tools.Resolve = secret.Ref.Resolve
	r.reopen()
	made := r.create()
	if made.Waiting || !made.Proof.OK || made.Place != "s3://vault/gw" {
		t.Errorf("%+v", made)
	}
	into := filepath.Join(r.root, "new")
	if _, err := r.Restore(t.Context(), made.Name, into, RestoreOptions{Now: r.tools.Now, After: r.options().After}); err != nil || r.holds(into) != nil {
		t.Errorf("%v, %v", err, r.holds(into))
	}
}

// On the same disk a waiting backup gets a second name and is not copied.
func TestABackupIsLinkedOnTheSameDisk(t *testing.T) {
	d, spool := Directory{t.TempDir()}, t.TempDir()
	path := filepath.Join(spool, "x")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	from := pacedSeeker{pacedReader{t.Context(), file, &pace{rate: 1 << 40, now: time.Now, sleep: sleep}}, file}
	if err := d.Put(t.Context(), "wrong", from, 6); err == nil {
		t.Error("a file of another size was taken")
	}
	if err := d.Put(t.Context(), "x", from, 7); err != nil {
		t.Fatal(err)
	}
	a, _ := os.Stat(path)
	if b, err := os.Stat(filepath.Join(d.Path, "x")); err != nil || !os.SameFile(a, b) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(d.Path, "x")); err != nil || string(data) != "content" {
		t.Errorf("%s, %v", data, err)
	}
}
