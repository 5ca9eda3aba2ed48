package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// Once tells whether key comes for the first time before until: of any number of callers on any nodes exactly one is told
// true. It stops a token or an assertion that may be used once (jti) from being used again. The key may be any text and is
// kept as a hash, under once/. The time must lie after the last moment at which the key would be accepted, leeway included: from
// then on it counts as new. An error means that nobody knows: deny then.
func Once(ctx context.Context, r Records, key string, until time.Time) (first bool, err error) {
	if until.IsZero() {
		return false, fmt.Errorf("%w: something that may be used once needs a time until which that is remembered", ErrInvalid)
	}
	sum := sha256.Sum256([]byte(key))
	name := "once/" + base64.RawURLEncoding.EncodeToString(sum[:])
	_, err = r.Write(ctx, Write{Key: name, Value: []byte{}, Expires: until})
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}
