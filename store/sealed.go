package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrSealed says that a record is not what was sealed under its key and version: it was altered, exchanged with another,
// put back from an earlier time, or the key it was sealed with is no longer there. The message names the record, never its
// value.
var ErrSealed = errors.New("store: the record is not what was sealed")

// Progress is told how far a long operation has come: done of total records, or of an unknown number when total is 0, and
// what is being done.
type Progress func(done, total int64, what string)

// Sealed gives a store whose values are sealed before they reach d and opened when they come back. The seal covers the
// table, the key, the column, the version and the end of a record (row K8): whoever can write to the database can neither
// exchange two values, nor put an old value back under a later version, nor make a record live longer. What it cannot do is
// tell that a record was removed, or that one was put back as it was with its version.
//
// A write that names Any is made by reading the version and writing with it. What ends is kept to the millisecond.
func Sealed(d Durable, s Sealer, purpose string) Durable {
	return &sealed{sealedRecords: sealedRecords{table: "record", inner: d, sealer: s, purpose: purpose}, Durable: d}
}

// SealedRecords does for plain records what Sealed does for durable ones. Neither opens what the other has sealed, though key
// and purpose be the same: what lies on a server that may be less well guarded is not to be moved where it counts for more.
func SealedRecords(r Records, s Sealer, purpose string) Records {
	return &sealedRecords{table: "shared", inner: r, sealer: s, purpose: purpose}
}

type sealedRecords struct {
	table   string
	inner   Records
	sealer  Sealer
	purpose string
}

type sealed struct {
	sealedRecords
	Durable // Ping and Close; everything else is covered
}

// attempts is how often a write with Any begins again because another was quicker.
const attempts = 200

// aad writes what a seal is bound to. Every part has its length before it, so that no two records give the same bytes.
func aad(table, key string, version int64, expires time.Time) []byte {
	b := make([]byte, 0, 64+len(key))
	for _, part := range []string{table, key, "value"} { // table, row, column
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(version))
	if expires.IsZero() {
		return append(b, 0)
	}
	return binary.BigEndian.AppendUint64(append(b, 1), uint64(expires.UnixMilli()))
}

// seal makes the write that the inner store gets. Version is the one that is replaced, never Any.
func (s *sealedRecords) seal(w Write) (Write, error) {
	if w.Value == nil {
		return w, nil
	}
	if len(w.Value) > MaxValue {
		return w, fmt.Errorf("%w: the value of %q has %d bytes, at most %d are kept", ErrInvalid, w.Key, len(w.Value), MaxValue)
	}
	if !w.Expires.IsZero() {
		w.Expires = time.UnixMilli(w.Expires.UnixMilli()).UTC()
	}
	value, err := s.sealer.Seal(s.purpose, w.Value, aad(s.table, w.Key, w.Version+1, w.Expires))
	if err != nil {
		return w, fmt.Errorf("%w: seal %q: %w", ErrUnavailable, w.Key, err)
	}
	w.Value = value
	return w, nil
}

func (s *sealedRecords) open(r Record) (Record, error) {
	value, err := s.sealer.Open(s.purpose, r.Value, aad(s.table, r.Key, r.Version, r.Expires))
	if err != nil {
		return Record{}, fmt.Errorf("%w: %q at version %d: %w; restore it from a backup, and look into who wrote it", ErrSealed, r.Key, r.Version, err)
	}
	if value == nil {
		value = []byte{}
	}
	r.Value = value
	return r, nil
}

func (s *sealedRecords) openAll(list []Record) ([]Record, error) {
	for i, r := range list {
		opened, err := s.open(r)
		if err != nil {
			return nil, err
		}
		list[i] = opened
	}
	return list, nil
}

func (s *sealedRecords) Get(ctx context.Context, key string) (Record, error) {
	r, err := s.inner.Get(ctx, key)
	if err != nil {
		return Record{}, err
	}
	return s.open(r)
}

// version finds what a write with Any replaces.
func (s *sealedRecords) version(ctx context.Context, w Write) (int64, error) {
	r, err := s.inner.Get(ctx, w.Key)
	if errors.Is(err, ErrNone) {
		return 0, nil
	}
	return r.Version, err
}

func (s *sealedRecords) Write(ctx context.Context, w Write) (int64, error) {
	if err := CheckWrites(w); err != nil {
		return 0, err
	}
	loop := w.Version == Any && w.Value != nil
	for range attempts {
		if loop {
			var err error
			if w.Version, err = s.version(ctx, w); err != nil {
				return 0, err
			}
		}
		sealed, err := s.seal(w)
		if err != nil {
			return 0, err
		}
		version, err := s.inner.Write(ctx, sealed)
		if !loop || !errors.Is(err, ErrConflict) {
			return version, err
		}
	}
	return 0, busy(w.Key)
}

func busy(key string) error {
	return fmt.Errorf("%w: %q was changed by others %d times while it was being written", ErrUnavailable, key, attempts)
}

func (s *sealed) Get(ctx context.Context, key string) (Record, error) {
	return s.sealedRecords.Get(ctx, key)
}

func (s *sealed) Write(ctx context.Context, w Write) (int64, error) {
	return s.sealedRecords.Write(ctx, w)
}

// WriteAll seals each change. When it conflicts and a change names Any, it begins again as long as the versions that
// were named are still those that are there.
func (s *sealed) WriteAll(ctx context.Context, all ...Write) error {
	if err := CheckWrites(all...); err != nil {
		return err
	}
	for range attempts {
		batch := make([]Write, len(all))
		loop := false
		for i, w := range all {
			if w.Version == Any && w.Value != nil {
				var err error
				if w.Version, err = s.version(ctx, w); err != nil {
					return err
				}
				loop = true
			}
			var err error
			if batch[i], err = s.seal(w); err != nil {
				return err
			}
		}
		err := s.Durable.WriteAll(ctx, batch...)
		if !loop || !errors.Is(err, ErrConflict) {
			return err
		}
		if named := s.named(ctx, all); named != nil {
			return named
		}
	}
	return busy(all[0].Key)
}

// named tells whether a version that the caller named is another by now.
func (s *sealed) named(ctx context.Context, all []Write) error {
	for _, w := range all {
		if w.Version == Any {
			continue
		}
		version, err := s.version(ctx, w)
		if err != nil {
			return err
		}
		if version != w.Version {
			return fmt.Errorf("%w: %q is at %d, not %d", ErrConflict, w.Key, version, w.Version)
		}
	}
	return nil
}

func (s *sealed) List(ctx context.Context, prefix, after string, limit int) ([]Record, error) {
	list, err := s.Durable.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, err
	}
	return s.openAll(list)
}

func (s *sealed) Since(ctx context.Context, prefix, mark string) ([]Record, string, error) {
	list, next, err := s.Durable.Since(ctx, prefix, mark)
	if err != nil {
		return nil, "", err
	}
	list, err = s.openAll(list)
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// page is how many records a walk over a whole store holds at once.
const page = 64

// Reseal seals every record of d, which Sealed made, with the newest key of its purpose, and gives how many it sealed again.
// Each is one write with its version: a writer that comes between wins, and a crash leaves each record readable, so that the
// next call goes on with what is left. It passes over the store until it finds nothing old, since nodes that have not heard
// of the new key may still be sealing with the old one. A record that can't be opened ends it: its key must not be
// destroyed. The version of what is sealed again goes up by one.
func Reseal(ctx context.Context, d Durable, progress Progress) (resealed int64, err error) {
	s, ok := d.(*sealed)
	if !ok {
		return 0, errors.New("reseal: this store was not made by store.Sealed")
	}
	for range attempts {
		n, left, err := s.reseal(ctx, resealed, progress)
		resealed += n
		if err != nil || left == 0 && n == 0 {
			return resealed, err
		}
	}
	return resealed, fmt.Errorf("%w: reseal: records are still being written with an earlier key; see that every node has the new one", ErrUnavailable)
}

// reseal passes over the store once, and gives how many it sealed, and how many others were quicker at.
func (s *sealed) reseal(ctx context.Context, before int64, progress Progress) (done, left int64, err error) {
	for after := ""; ; {
		list, err := s.Durable.List(ctx, "", after, page)
		if err != nil || len(list) == 0 {
			return done, left, err
		}
		after = list[len(list)-1].Key
		for _, r := range list {
			if s.sealer.Current(s.purpose, r.Value) {
				continue
			}
			opened, err := s.open(r)
			if err != nil {
				return done, left, err
			}
			_, err = s.Write(ctx, Write{Key: r.Key, Value: opened.Value, Version: r.Version, Expires: r.Expires})
			switch {
			case err == nil:
				done++
			case errors.Is(err, ErrConflict):
				left++
			default:
				return done, left, err
			}
		}
		if progress != nil {
			progress(before+done, 0, "seal again")
		}
	}
}
