package sqlite

import (
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// blocks lies under the cipher, which knows whole blocks only. A disk that was full, or a crash, may leave part of a block
// at the end of the log; SQLite would count it, ask for it, be told that it can't be read, and refuse the file. Here
// such a part doesn't count: it was never acknowledged, and is written over.
type blocks struct{ vfs.VFS }

func (b *blocks) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, flags, err := vfsutil.WrapOpen(b.VFS, name, flags)
	return wholeBlocks(file, flags, err)
}

// OpenFilename opens a file by its name, nil for a temporary one.
func (b *blocks) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, flags, err := vfsutil.WrapOpenFilename(b.VFS, name, flags)
	return wholeBlocks(file, flags, err)
}

func wholeBlocks(file vfs.File, flags vfs.OpenFlag, err error) (vfs.File, vfs.OpenFlag, error) {
	if err != nil || file == nil {
		return nil, flags, err
	}
	return &blockFile{file}, flags, nil
}

type blockFile struct{ vfs.File }

// Size counts whole blocks.
func (f *blockFile) Size() (int64, error) {
	size, err := f.File.Size()
	return size &^ (blockSize - 1), err
}

// The rest hands on what the cipher asks its files for.

func (f *blockFile) Unwrap() vfs.File               { return f.File }
func (f *blockFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f *blockFile) LockState() vfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f *blockFile) PersistWAL() bool               { return vfsutil.WrapPersistWAL(f.File) }
func (f *blockFile) SetPersistWAL(keep bool)        { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *blockFile) ChunkSize(size int)             { vfsutil.WrapChunkSize(f.File, size) }
func (f *blockFile) SizeHint(size int64) error      { return vfsutil.WrapSizeHint(f.File, size) }
func (f *blockFile) HasMoved() (bool, error)        { return vfsutil.WrapHasMoved(f.File) }

var (
	_ vfs.VFSFilename      = (*blocks)(nil)
	_ vfs.FileSharedMemory = (*blockFile)(nil)
)
