package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxFile bounds a file that holds a secret, in bytes.
const maxFile = 1 << 20

// filePace is how often files are looked at.
const filePace = 2 * time.Second

// readWhole reads a file that holds one secret.
func readWhole(path, source string) (Value, error) {
	data, _, err := readFile(path)
	if err != nil {
		return Value{}, fmt.Errorf("read secret %s: %w", source, err)
	}
	return New(withoutLineEnd(data), source)
}

func withoutLineEnd(data []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
}

// readFile reads a regular file of bounded size, and refuses one that changes meanwhile. A pipe would be empty the second
// time, and could keep its reader waiting for ever.
func readFile(path string) ([]byte, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, errors.New("it is no regular file; put the secret into a file of its own")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !sameFile(before, after) || after.Size() != int64(len(data)) {
		return nil, nil, errors.New("it is being written just now")
	}
	return data, after, nil
}

// sameFile tells that nothing was written between two looks, as far as a file system tells.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// FileSource reads secrets from files and follows them. A file that was put in the place of another, by renaming or by the
// swap of a link as Kubernetes does it, counts at once; one that is written in place counts when two looks in succession
// find it the same, since the first may have come in the middle.
type FileSource struct {
	folder string // "" for paths as they are
	unset  string // the mistake when folder is needed and unknown

	mu   sync.Mutex
	seen map[string]look
}

// look is what was found at a path.
type look struct {
	info    os.FileInfo
	answer  Answer
	pending Value // what was found in the same file last time, perhaps in the middle of being written
}

// Files gives the source of file: references.
func Files() *FileSource { return &FileSource{seen: map[string]look{}} }

// Credentials gives the source of credential: references, which lie in the folder that systemd names in
// $CREDENTIALS_DIRECTORY; "" when there is none.
func Credentials(folder string) *FileSource {
	s := Files()
	if s.folder = folder; folder == "" {
		s.unset = "the service was started without credentials; add LoadCredential=NAME:/path/to/it to its unit"
	}
	return s
}

// Pace is how often files are looked at.
func (s *FileSource) Pace() time.Duration { return filePace }

// Fetch reads a file. The version is the time when it was written.
func (s *FileSource) Fetch(_ context.Context, place, _ string) (Answer, error) {
	if s.unset != "" {
		return Answer{}, errors.New(s.unset)
	}
	path := place
	if s.folder != "" {
		path = filepath.Join(s.folder, place)
	}
	data, info, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.mu.Lock()
		delete(s.seen, place) // what comes is another file, even where the system gives it the same number
		s.mu.Unlock()
		return Answer{}, fmt.Errorf("%w: no file %s", ErrGone, path)
	}
	if err != nil {
		return Answer{}, err
	}
	value, err := New(withoutLineEnd(data), "file "+path)
	if err != nil {
		return Answer{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.seen[place]
	if ok && known.answer.Fields[""].Equal(value) {
		known.info, known.pending = info, Value{}
		s.seen[place] = known
		return known.answer, nil
	}
	if ok && os.SameFile(known.info, info) && !known.pending.Equal(value) {
		known.pending = value
		s.seen[place] = known
		return known.answer, nil
	}
	answer := Answer{Fields: map[string]Value{"": value}, Version: info.ModTime().UTC().Format(time.RFC3339Nano)}
	s.seen[place] = look{info: info, answer: answer}
	return answer, nil
}

// Environment gives the source of env: references. Lookup is os.LookupEnv, or asks a copy that was taken before the
// environment was scrubbed. Variables never change while a process lives.
func Environment(lookup func(name string) (string, bool)) Source { return environment(lookup) }

type environment func(string) (string, bool)

func (environment) Pace() time.Duration { return 0 }

func (e environment) Fetch(_ context.Context, place, _ string) (Answer, error) {
	text, ok := e(place)
	if !ok || text == "" {
		return Answer{}, fmt.Errorf("%w: the variable %s is not set", ErrGone, place)
	}
	value, err := New([]byte(text), "env:"+place)
	return Answer{Fields: map[string]Value{"": value}}, err
}
