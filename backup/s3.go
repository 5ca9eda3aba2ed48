package backup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/gatehouse-sec/gatehouse/secret"
)

// objectPart is how large the pieces are in which a file is sent; ten thousand of them are the largest file.
const objectPart = 32 << 20

// Dial opens connections; net.Dialer.DialContext is one.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Resolve gives the present value of a secret.
type Resolve func(secret.Ref) (secret.Value, error)

// objects is a place in an object store that speaks S3.
type objects struct {
	client *minio.Client
	to     Target
	lock   Lock
	now    func() time.Time
}

// newObjects opens nothing yet. Credentials come from the section's references and from nowhere else; they are read for
// every request, so that one that is exchanged works at once.
func newObjects(to Target, cfg S3, resolve Resolve, dial Dial, now func() time.Time) (*objects, error) {
	roots, err := rootsOf(cfg.CA)
	if err != nil {
		return nil, err
	}
	endpoint, lookup := "s3."+cfg.Region+".amazonaws.com", minio.BucketLookupDNS
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Scheme != "https" {
			return nil, errors.New("place of backups: an object store is reached by https")
		}
		endpoint, lookup = u.Host, minio.BucketLookupPath
	}
	client, err := minio.New(endpoint, &minio.Options{
		Creds:  credentials.New(&references{cfg: cfg, resolve: resolve}),
		Secure: true, Region: cfg.Region, BucketLookup: lookup, MaxRetries: 2,
		Transport: &http.Transport{
			Proxy: nil, DialContext: dial, ForceAttemptHTTP2: false, DisableCompression: true,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("place of backups: %w", err)
	}
	return &objects{client: client, to: to, lock: cfg.ObjectLock, now: now}, nil
}

func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // those of the system
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("place of backups: s3.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("place of backups: s3.ca: %s holds no certificate", file)
	}
	return pool, nil
}

// references gives the credentials that the section names.
type references struct {
	cfg     S3
	resolve Resolve
}

// RetrieveWithCredContext reads both.
func (r *references) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return r.Retrieve()
}

// Retrieve reads both.
func (r *references) Retrieve() (credentials.Value, error) {
	name, err := r.resolve(r.cfg.AccessKey)
	if err != nil {
		return credentials.Value{}, err
	}
	value, err := r.resolve(r.cfg.SecretKey)
	if err != nil {
		return credentials.Value{}, err
	}
	return credentials.Value{AccessKeyID: string(name.Reveal()), SecretAccessKey: string(value.Reveal()), SignerType: credentials.SignatureV4}, nil
}

// IsExpired has them read anew each time.
func (r *references) IsExpired() bool { return true }

// String is the URL.
func (o *objects) String() string { return o.to.String() }

func (o *objects) key(name string) string { return path.Join(o.to.prefix, path.Base(name)) }

// Put sends a file; the store shows it when it has all of it.
func (o *objects) Put(ctx context.Context, name string, from io.ReadSeeker, size int64) error {
	options := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: objectPart, NumThreads: 1, SendContentMd5: true}
	if o.lock.Mode != "" {
		options.Mode = minio.RetentionMode(strings.ToUpper(string(o.lock.Mode)))
		options.RetainUntilDate = o.now().UTC().AddDate(0, 0, o.lock.Days).Truncate(time.Second)
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	o.sweep(ctx)
	info, err := o.client.PutObject(ctx, o.to.bucket, o.key(name), from, size, options)
	if err != nil {
		return o.failed("put backup", err)
	}
	if info.Size != size {
		return fmt.Errorf("put backup: %s has taken %d of %d bytes", o, info.Size, size)
	}
	return nil
}

// sweep ends uploads that a crash has left begun: nobody sees them, but they are paid for. A key that may not do this does
// without.
func (o *objects) sweep(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for begun := range o.client.ListIncompleteUploads(ctx, o.to.bucket, o.key(namePrefix), true) {
		if begun.Err != nil {
			return
		}
		if o.now().Sub(begun.Initiated) > 24*time.Hour {
			_ = o.client.RemoveIncompleteUpload(ctx, o.to.bucket, begun.Key)
		}
	}
}

// Get opens an object; what is missing shows at once.
func (o *objects) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := o.client.GetObject(ctx, o.to.bucket, o.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, o.failed("get backup", err)
	}
	if _, err := object.Stat(); err != nil {
		return nil, errors.Join(o.named("get backup", name, err), object.Close())
	}
	return object, nil
}

// List gives the objects directly under the prefix.
func (o *objects) List(ctx context.Context) ([]Object, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	prefix := o.to.prefix
	if prefix != "" {
		prefix += "/"
	}
	var all []Object
	for info := range o.client.ListObjectsIter(ctx, o.to.bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if info.Err != nil {
			return nil, o.failed("list backups", info.Err)
		}
		if name := strings.TrimPrefix(info.Key, prefix); name != "" && !strings.Contains(name, "/") {
			all = append(all, Object{Name: name, Size: info.Size, Time: info.LastModified})
		}
	}
	return all, nil
}

// Remove asks first whether the object is locked, since a store with versions would hide a locked one and call that
// removed. A permission to break a lock is never used.
func (o *objects) Remove(ctx context.Context, name string) error {
	info, err := o.client.StatObject(ctx, o.to.bucket, o.key(name), minio.StatObjectOptions{})
	if err := o.named("remove backup", name, err); errors.Is(err, ErrNoBackup) {
		return nil
	} else if err != nil {
		return err
	}
	hold, until := info.Metadata.Get("X-Amz-Object-Lock-Legal-Hold"), info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")
	if strings.EqualFold(hold, "ON") {
		return fmt.Errorf("%s: %w: somebody holds it", name, ErrLocked)
	}
	if until != "" {
		if when, err := time.Parse(time.RFC3339, until); err != nil || o.now().Before(when) {
			return fmt.Errorf("%s: %w until %s", name, ErrLocked, until)
		}
	}
	err = o.client.RemoveObject(ctx, o.to.bucket, o.key(name), minio.RemoveObjectOptions{VersionID: info.VersionID})
	if minio.ToErrorResponse(err).Code == "AccessDenied" && until != "" {
		return fmt.Errorf("%s: %w, says the store", name, ErrLocked)
	}
	if err != nil {
		return o.failed("remove backup", err)
	}
	return nil
}

// named is failed, but for a file that is not there.
func (o *objects) named(what, name string, err error) error {
	if err == nil {
		return nil
	}
	if r := minio.ToErrorResponse(err); r.Code == minio.NoSuchKey || r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket {
		return fmt.Errorf("%s: %w", name, ErrNoBackup)
	}
	return o.failed(what, err)
}

// failed says what went wrong and what to do about it.
func (o *objects) failed(what string, err error) error {
	remedy := ""
	switch minio.ToErrorResponse(err).Code {
	case minio.NoSuchBucket:
		remedy = " (make the bucket)"
	case minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch":
		remedy = " (see s3.access_key and s3.secret_key, and what that key may do)"
	}
	return fmt.Errorf("%s: %s: %w%s", what, o, err, remedy)
}
