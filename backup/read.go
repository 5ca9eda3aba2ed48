package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// ageIntro is how every file of age begins.
const ageIntro = "age-encryption.org/"

// reader reads one archive from its beginning to its end, and believes nothing before it is checked.
type reader struct {
	ctx  context.Context
	ids  []age.Identity
	size int64 // of the archive, as its name says; -1 when nobody knows
	// trust judges the key that has signed a manifest.
	trust func(ed25519.PublicKey, Manifest) error
	// create gives what a part is written to; nil to check it only.
	create func(name string) (io.WriteCloser, error)
	pace   *pace
	told   Progress

	begin Manifest
	sums  []Sum
	part  *partReader
}

// partReader is the part that is being read.
type partReader struct {
	sum  Sum
	hash hash.Hash
	n    int
	to   io.WriteCloser // nil to check only
}

// read gives the manifest of a whole archive, or a *Flaw, or the error of a reader or writer.
func (r *reader) read(in io.Reader) (Manifest, error) {
	raw := &source{from: in, told: func(n int64) { r.told(n, max(r.size, 0), "read") }}
	m, err := r.open(raw)
	if r.part != nil && r.part.to != nil {
		err = errors.Join(err, r.part.to.Close())
	}
	switch {
	case err == nil && r.size >= 0 && raw.n != r.size:
		return m, flaw(Damaged, "", "it has %d bytes, and %d were written", raw.n, r.size)
	case err == nil:
		return m, nil
	case raw.err != nil: // its place could not be read: that says nothing about the backup
		return m, fmt.Errorf("read backup: %w", raw.err)
	case r.ctx.Err() != nil:
		return m, r.ctx.Err()
	case raw.n == 0:
		return m, flaw(Empty, "", "it has no bytes")
	}
	var f *Flaw
	if errors.As(err, &f) && f.Kind != Damaged {
		return m, err
	}
	var w *writeError
	if errors.As(err, &w) {
		return m, w.error
	}
	rest, drain := io.Copy(io.Discard, raw)
	if short := r.size >= 0 && raw.n < r.size; drain == nil && (short || r.size < 0 && rest == 0 && errors.Is(err, io.ErrUnexpectedEOF)) {
		return m, flaw(Truncated, "", "it ends after %d bytes%s", raw.n, of(r.size))
	}
	if f != nil {
		return m, f
	}
	return m, flaw(Damaged, "", "byte %d or one shortly before it is not what was written (%v)", raw.n-rest, err)
}

func of(size int64) string {
	if size < 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", size)
}

// source tells errors of a place from those of what lies there, and counts.
type source struct {
	from io.Reader
	n    int64
	err  error
	told func(int64)
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	s.n += int64(n)
	s.told(s.n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// writeError is an error of where parts are written to.
type writeError struct{ error }

func (r *reader) open(raw io.Reader) (Manifest, error) {
	buffered := bufio.NewReaderSize(raw, 64<<10)
	intro, err := buffered.Peek(len(ageIntro))
	if err == nil && string(intro) != ageIntro {
		return Manifest{}, flaw(NoBackup, "", "it is not encrypted with age, as every backup is")
	}
	if err != nil && !strings.HasPrefix(ageIntro, string(intro)) {
		return Manifest{}, flaw(NoBackup, "", "it is no backup")
	}
	opened, err := age.Decrypt(buffered, r.ids...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return Manifest{}, flaw(NoKey, "", "none of the %d given keys opens it, or its head was changed", len(r.ids))
	}
	if err != nil {
		return Manifest{}, err
	}
	unpacked, err := zstd.NewReader(opened, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return Manifest{}, err
	}
	defer unpacked.Close()
	m, err := r.entries(tar.NewReader(pacedReader{r.ctx, unpacked, r.pace})) // what is unpacked costs, however small it was
	if err != nil {
		return m, err
	}
	return m, ends(unpacked)
}

// ends reads what follows the last entry: nothing but the zeros that fill up a tar. Its end is authenticated.
func ends(in io.Reader) error {
	buffer := make([]byte, 4096)
	for total := 0; total < 1<<20; {
		n, err := in.Read(buffer)
		total += n
		for _, b := range buffer[:n] {
			if b != 0 {
				return flaw(Unwanted, "", "something follows its end")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return flaw(Unwanted, "", "much follows its end")
}

// entries reads the manifests and what stands between them.
func (r *reader) entries(in *tar.Reader) (Manifest, error) {
	for first := true; ; first = false {
		if err := r.ctx.Err(); err != nil {
			return r.begin, err
		}
		head, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return r.begin, flaw(Missing, endName, "the list at its end is not there: it was never finished")
		case err != nil:
			return r.begin, err
		case head.Typeflag != tar.TypeReg:
			return r.begin, flaw(Unwanted, "", "it holds something that is no file")
		case first != (head.Name == beginName):
			return r.begin, flaw(Missing, beginName, "it does not begin with the list of what it is")
		case first:
			if r.begin, err = r.manifest(in, head.Size, beginName); err != nil {
				return r.begin, err
			}
			if r.begin.End || len(r.begin.Parts) > 0 {
				return r.begin, flaw(Unwanted, beginName, "it is the list of the end")
			}
		case head.Name == endName:
			return r.end(in, head.Size)
		default:
			if err := r.piece(in, head); err != nil {
				return r.begin, err
			}
		}
	}
}

func (r *reader) manifest(in io.Reader, size int64, name string) (Manifest, error) {
	if size > maxManifest {
		return Manifest{}, flaw(Unwanted, name, "it is larger than a list of parts")
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return Manifest{}, err
	}
	m, key, err := readManifest(data)
	if err != nil {
		return Manifest{}, flaw(Foreign, name, "%v", err)
	}
	if err := r.trust(key, m); err != nil {
		return Manifest{}, flaw(Foreign, name, "%v", err)
	}
	return m, nil
}

// piece takes the next piece of a part, or the first one of the next.
func (r *reader) piece(in io.Reader, head *tar.Header) error {
	rest, ok := strings.CutPrefix(head.Name, partsName)
	at := strings.LastIndexByte(rest, '/')
	if !ok || at < 0 || head.Size > pieceSize {
		return flaw(Unwanted, "", "it holds %q, which is no piece of a part", head.Name)
	}
	name := rest[:at]
	if r.part == nil || r.part.sum.Name != name {
		if err := r.next(name); err != nil {
			return err
		}
	}
	r.part.n++
	if head.Name != pieceName(name, r.part.n) {
		return flaw(Missing, name, "its piece %d is not there", r.part.n)
	}
	var to io.Writer = r.part.hash
	if r.part.to != nil {
		to = io.MultiWriter(r.part.hash, marked{r.part.to})
	}
	n, err := io.Copy(to, in)
	r.part.sum.Size += n
	return err
}

// marked tells errors of writing from those of reading.
type marked struct{ io.Writer }

func (m marked) Write(b []byte) (int, error) {
	n, err := m.Writer.Write(b)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

func (r *reader) next(name string) error {
	if err := r.finish(); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return flaw(Unwanted, "", "%v", err)
	}
	if len(r.sums) >= maxParts {
		return flaw(Unwanted, name, "it holds more than %d parts", maxParts)
	}
	r.part = &partReader{sum: Sum{Name: name}, hash: sha256.New()}
	if r.create == nil {
		return nil
	}
	to, err := r.create(name)
	if err != nil {
		return &writeError{err}
	}
	r.part.to = to
	return nil
}

func (r *reader) finish() error {
	p := r.part
	if p == nil {
		return nil
	}
	r.part = nil
	p.sum.SHA256 = hex.EncodeToString(p.hash.Sum(nil))
	r.sums = append(r.sums, p.sum)
	if p.to != nil {
		if err := p.to.Close(); err != nil {
			return &writeError{err}
		}
	}
	return nil
}

// end holds the list at the end against the one at the beginning and against what was read.
func (r *reader) end(in *tar.Reader, size int64) (Manifest, error) {
	if err := r.finish(); err != nil {
		return r.begin, err
	}
	m, err := r.manifest(in, size, endName)
	if err != nil {
		return r.begin, err
	}
	if !m.End || !sameBackup(r.begin, m) {
		return m, flaw(Unwanted, endName, "its two lists are not of one backup")
	}
	for i, want := range m.Parts {
		switch {
		case i >= len(r.sums) || r.sums[i].Name != want.Name:
			return m, flaw(Missing, want.Name, "it is listed and not there")
		case r.sums[i] != want:
			return m, flaw(Damaged, want.Name, "it is not what was written")
		}
	}
	if len(r.sums) > len(m.Parts) {
		return m, flaw(Unwanted, r.sums[len(m.Parts)].Name, "it is there and not listed")
	}
	if _, err := in.Next(); err != io.EOF {
		return m, flaw(Unwanted, "", "something follows the list at its end")
	}
	return m, nil
}

// sameBackup tells that two lists differ in nothing but the parts.
func sameBackup(begin, end Manifest) bool {
	end.End, end.Parts = false, nil
	a, err := json.Marshal(begin)
	b, err2 := json.Marshal(end)
	return err == nil && err2 == nil && string(a) == string(b)
}
