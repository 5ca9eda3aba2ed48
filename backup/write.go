package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// An archive is age over zstd over tar, so that a backup can be opened without this program: age -d | zstd -d | tar -x. A
// part's size is not known before it is written, so it lies there in numbered pieces.
const (
	pieceSize = 1 << 20
	sliceSize = 64 << 10 // of a piece, that is written in one go
	beginName = "manifest.begin.json"
	endName   = "manifest.json"
	partsName = "part/"
)

// Part is one thing that a backup holds: a file of the state directory, or what a file is made of when it is restored.
type Part struct {
	Name  string // path below the state directory, with slashes
	Size  int64  // about how large it is, for progress; 0 when unknown
	Write func(ctx context.Context, to io.Writer) error
}

// writer writes one archive.
type writer struct {
	ctx   context.Context
	tar   *tar.Writer
	pace  *pace
	told  Progress
	done  int64
	total int64
}

// write makes an archive of parts and gives its manifest. It closes nothing of out.
func write(ctx context.Context, out io.Writer, m Manifest, parts []Part, to []age.Recipient, by Signer, p *pace, told Progress) (Manifest, error) {
	closed, err := age.Encrypt(out, to...)
	if err != nil {
		return m, fmt.Errorf("encrypt backup: %w", err)
	}
	packed, err := zstd.NewWriter(closed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return m, err
	}
	w := &writer{ctx: ctx, tar: tar.NewWriter(packed), pace: p, told: told}
	for _, part := range parts {
		w.total += part.Size
	}
	m.Format, m.End, m.Parts = format, false, nil
	err = w.all(&m, parts, by)
	if err != nil {
		packed.Reset(nil) // what is half written stays half written
		return m, err
	}
	return m, errors.Join(w.tar.Close(), packed.Close(), closed.Close())
}

func (w *writer) all(m *Manifest, parts []Part, by Signer) error {
	if err := w.manifest(beginName, *m, by); err != nil {
		return err
	}
	if len(parts) > maxParts {
		return fmt.Errorf("a backup holds at most %d parts", maxParts)
	}
	for _, part := range parts {
		if err := checkName(part.Name); err != nil {
			return err
		}
		sum, err := w.part(part)
		if err != nil {
			return fmt.Errorf("back up %s: %w", part.Name, err)
		}
		m.Parts = append(m.Parts, sum)
	}
	m.End = true
	if err := m.check(); err != nil {
		return err
	}
	return w.manifest(endName, *m, by)
}

func (w *writer) manifest(name string, m Manifest, by Signer) error {
	data, err := m.seal(by)
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		return errors.New("the list of a backup's parts is too long")
	}
	return w.entry(name, data)
}

func (w *writer) entry(name string, data []byte) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	for slice := range slices.Chunk(data, sliceSize) {
		if err := w.pace.take(w.ctx, len(slice)); err != nil {
			return err
		}
		if _, err := w.tar.Write(slice); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) part(p Part) (Sum, error) {
	pieces := &pieceWriter{w: w, name: p.Name, sum: sha256.New(), held: make([]byte, 0, pieceSize)}
	if err := p.Write(w.ctx, pieces); err != nil {
		return Sum{}, err
	}
	if len(pieces.held) > 0 || pieces.n == 0 {
		if err := pieces.put(); err != nil {
			return Sum{}, err
		}
	}
	return Sum{Name: p.Name, Size: pieces.size, SHA256: hex.EncodeToString(pieces.sum.Sum(nil))}, nil
}

// pieceWriter cuts a part into pieces.
type pieceWriter struct {
	w    *writer
	name string
	sum  hash.Hash
	held []byte
	n    int
	size int64
}

func pieceName(part string, n int) string { return fmt.Sprintf("%s%s/%08d", partsName, part, n) }

func (p *pieceWriter) Write(data []byte) (int, error) {
	whole := len(data)
	for len(data) > 0 {
		n := min(len(data), pieceSize-len(p.held))
		p.held = append(p.held, data[:n]...)
		data = data[n:]
		if len(p.held) == pieceSize {
			if err := p.put(); err != nil {
				return whole - len(data), err
			}
		}
	}
	return whole, nil
}

func (p *pieceWriter) put() error {
	p.n++
	if p.n > 99_999_999 {
		return errors.New("it is too large")
	}
	p.sum.Write(p.held)
	p.size += int64(len(p.held))
	err := p.w.entry(pieceName(p.name, p.n), p.held)
	p.w.done += int64(len(p.held))
	p.held = p.held[:0]
	p.w.told(p.w.done, max(p.w.total, p.w.done), p.name)
	return err
}
