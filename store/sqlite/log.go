package sqlite

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"lukechampine.com/adiantum/hbsh"
)

// The write-ahead log is encrypted in the pieces in which SQLite writes it: its head, then for each page the page's head and
// the page. The cipher of the other files works in blocks of 4 KiB, which a page of the log, 24 bytes longer, always
// straddles: writing the next page would write a block again that holds the end of the one before, and a reader that
// looks at that moment, or a loss of power, would find neither. Here no byte that was written once is touched by the next
// write, which is what SQLite relies on when it lets readers and a writer work at once.
const (
	logHead   = 32
	pageHead  = 24
	logFrame  = pageHead + blockSize
	logDomain = "log" // no piece of the log is encrypted like a block of the file at the same place
)

// layer is the file layer that SQLite sees: the cipher's, with the log apart.
type layer struct {
	vfs.VFS         // encrypts blocks
	below   vfs.VFS // of the cipher
	cipher  *cipher
}

// OpenFilename opens a file by its name, nil for a temporary one.
func (l *layer) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if flags&vfs.OPEN_WAL == 0 {
		file, out, err := vfsutil.WrapOpenFilename(l.VFS, name, flags)
		if err == nil && flags&vfs.OPEN_MAIN_DB != 0 {
			file = &mainFile{blockFile{file}}
		}
		return file, out, err
	}
	code := l.cipher.HBSH([]byte(name.URIParameter("key")))
	if code == nil {
		return nil, flags, sqlite3.IOERR_BADKEY
	}
	file, out, err := vfsutil.WrapOpenFilename(l.below, name, flags)
	if err != nil {
		return nil, out, err
	}
	return &logFile{File: file, code: code}, out, nil
}

// mainFile tells SQLite that what is next to a write is left alone, which holds for whole pages and for the log above. It
// then needn't fill the log up to a block's end after each commit.
type mainFile struct{ blockFile }

func (f *mainFile) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return f.File.DeviceCharacteristics() | vfs.IOCAP_POWERSAFE_OVERWRITE
}

type logFile struct {
	vfs.File
	code  *hbsh.HBSH
	piece [blockSize]byte
}

// pieceAt gives the bounds of the piece in which off lies.
func pieceAt(off int64) (from, to int64) {
	if off < logHead {
		return 0, logHead
	}
	frame := logHead + (off-logHead)/logFrame*logFrame
	if off < frame+pageHead {
		return frame, frame + pageHead
	}
	return frame + pageHead, frame + logFrame
}

func tweak(at int64) []byte {
	return append(binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(logDomain)), uint64(at)), logDomain...)
}

// read decrypts the piece at from. A piece that isn't there whole is as good as not there: io.EOF.
func (f *logFile) read(from, to int64) ([]byte, error) {
	piece := f.piece[:to-from]
	n, err := f.File.ReadAt(piece, from)
	if n == len(piece) {
		return f.code.Decrypt(piece, tweak(from)), nil
	}
	if err == nil {
		err = io.EOF
	}
	return nil, err
}

// ReadAt reads whole pieces, and gives what was asked of them.
func (f *logFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		from, to := pieceAt(off + int64(n))
		piece, err := f.read(from, to)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], piece[off+int64(n)-from:])
	}
	return n, nil
}

// WriteAt writes whole pieces. SQLite never writes a part of one; if it did, the rest is kept.
func (f *logFile) WriteAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		from, to := pieceAt(off + int64(n))
		piece := f.piece[:to-from]
		if off+int64(n) != from || int64(len(p)-n) < to-from {
			if _, err := f.read(from, to); errors.Is(err, io.EOF) {
				clear(piece)
			} else if err != nil {
				return n, err
			}
		}
		taken := copy(piece[off+int64(n)-from:], p[n:])
		if m, err := f.File.WriteAt(f.code.Encrypt(piece, tweak(from)), from); m < len(piece) {
			if err == nil {
				err = io.ErrShortWrite
			}
			return n, err
		}
		n += taken
	}
	return n, nil
}

// Unwrap gives the file below.
func (f *logFile) Unwrap() vfs.File { return f.File }
