package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// gitOrigin is a document in a repository on this machine. What is committed is read, never the work tree. Objects and
// references are only read: no hook runs, no program starts, nothing is fetched; whoever wants newer commits pulls them.
type gitOrigin struct{ place }

func (o gitOrigin) every() time.Duration { return time.Second }

func (o gitOrigin) open(ctx context.Context) (generation, error) {
	var c *commit
	err := o.careful(ctx, func(s *filesystem.Storage) error {
		hash, err := o.commit(s)
		if err != nil {
			return err
		}
		at, err := object.GetCommit(s, hash)
		if err != nil {
			return err
		}
		c = &commit{origin: o, hash: hash, tree: at.TreeHash}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// careful opens the repository anew for each task, since packs come and go, and tries twice: git may pack an object away
// while it is looked for. What go-git cannot digest is an error and not the end of the process.
func (o gitOrigin) careful(ctx context.Context, task func(*filesystem.Storage) error) (err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("repository %s cannot be read: %v; look at it with: git fsck", o.repo, problem)
		}
	}()
	for range 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, openErr := o.storage()
		if openErr != nil {
			return openErr
		}
		err = task(s)
		_ = s.Close()
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return err
		}
	}
	return fmt.Errorf("repository %s lacks an object: %w; look at it with: git fsck", o.repo, err)
}

// storage opens a checkout, a worktree of one (whose .git is a file that names another folder), or a bare repository.
func (o gitOrigin) storage() (*filesystem.Storage, error) {
	folder := filepath.Join(o.repo, ".git")
	info, err := os.Stat(folder)
	switch {
	case err == nil && info.Mode().IsRegular():
		if folder, err = pointer(folder, "gitdir: "); err != nil {
			return nil, err
		}
	case err != nil:
		folder = o.repo
	}
	if _, err := os.Stat(filepath.Join(folder, "HEAD")); err != nil {
		return nil, fmt.Errorf("%s is no git repository that can be read: %w; write git:/path/to/checkout//gatehouse.yaml@main", o.repo, err)
	}
	var at billy.Filesystem = osfs.New(folder)
	if _, err := os.Stat(filepath.Join(folder, "commondir")); err == nil {
		common, err := pointer(filepath.Join(folder, "commondir"), "")
		if err != nil {
			return nil, err
		}
		at = dotgit.NewRepositoryFilesystem(at, osfs.New(common))
	}
	return filesystem.NewStorage(at, cache.NewObjectLRU(4*cache.MiByte)), nil
}

// pointer reads a file that names a folder, relative to its own.
func pointer(file, prefix string) (string, error) {
	data, err := readPlain(file)
	if err != nil {
		return "", err
	}
	folder, ok := strings.CutPrefix(strings.TrimSpace(string(data)), prefix)
	if !ok || folder == "" {
		return "", fmt.Errorf("%s does not name a folder of git's", file)
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(filepath.Dir(file), folder)
	}
	return folder, nil
}

// commit resolves the reference. A branch and a tag of the same name are refused: git itself would take the tag, and
// whoever may push one could exchange the document.
func (o gitOrigin) commit(s *filesystem.Storage) (plumbing.Hash, error) {
	var found []string
	var hash plumbing.Hash
	for _, form := range []string{"%s", "refs/tags/%s", "refs/heads/%s", "refs/remotes/%s"} {
		name := fmt.Sprintf(form, o.ref)
		if name != "HEAD" && !strings.HasPrefix(name, "refs/") {
			continue
		}
		ref, err := storer.ResolveReference(s, plumbing.ReferenceName(name))
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			continue
		}
		if err != nil {
			return hash, fmt.Errorf("repository %s, reference %s: %w", o.repo, name, err)
		}
		found, hash = append(found, name), ref.Hash()
		if name == o.ref { // written in full: nothing else can be meant
			break
		}
	}
	switch {
	case len(found) > 1:
		return hash, fmt.Errorf("repository %s has %s; write which one is meant: @%s", o.repo, strings.Join(found, " and "), found[len(found)-1])
	case len(found) == 0 && plumbing.IsHash(o.ref):
		hash = plumbing.NewHash(o.ref)
	case len(found) == 0:
		return hash, fmt.Errorf("repository %s has no branch, tag or commit %q; list them with: git show-ref", o.repo, o.ref)
	}
	return o.peel(s, hash)
}

// peel follows annotated tags to the commit.
func (o gitOrigin) peel(s *filesystem.Storage, hash plumbing.Hash) (plumbing.Hash, error) {
	for range 8 {
		tag, err := object.GetTag(s, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return hash, nil // no tag: a commit, or nothing
		}
		if err != nil {
			return hash, err
		}
		hash = tag.Target
	}
	return hash, fmt.Errorf("repository %s: %s is a tag of tags of tags", o.repo, o.ref)
}

// commit is a generation in git.
type commit struct {
	origin gitOrigin
	hash   plumbing.Hash
	tree   plumbing.Hash
}

func (c *commit) file() string { return c.origin.file }

func (c *commit) id() string { return c.hash.String() }

func (c *commit) name(file string) (string, error) {
	rel, err := filepath.Rel(path.Dir(c.origin.file), file)
	if err != nil || !localName(rel) {
		return "", fmt.Errorf("%s is no name below the document's folder %s", file, path.Dir(c.origin.file))
	}
	return rel, nil
}

func (c *commit) read(ctx context.Context, contract, file string) ([]byte, error) {
	if !localName(file) {
		return nil, fmt.Errorf("%s is no path inside the repository; a document from git names committed files, relative to its own folder", file)
	}
	if !beside(contract, file) {
		return nil, fmt.Errorf("%s lies outside of %s, the folder of what refers to it", file, path.Dir(contract))
	}
	var data []byte
	err := c.origin.careful(ctx, func(s *filesystem.Storage) (err error) {
		data, err = c.blob(s, file)
		return err
	})
	return data, err
}

func (c *commit) list(ctx context.Context, folder string) (names []string, err error) {
	if folder = path.Clean(folder); folder != "." && !localName(folder) {
		return nil, fmt.Errorf("%s is no folder inside the repository", folder)
	}
	err = c.origin.careful(ctx, func(s *filesystem.Storage) error {
		tree, err := object.GetTree(s, c.tree)
		if err == nil && folder != "." {
			tree, err = tree.Tree(folder)
		}
		if errors.Is(err, object.ErrDirectoryNotFound) {
			return fmt.Errorf("commit %s of %s has no folder %s; commit it", c.hash.String()[:12], c.origin.repo, folder)
		}
		if err != nil {
			return err
		}
		if len(tree.Entries) > maxEntries {
			return fmt.Errorf("%s holds more than %d files", folder, maxEntries)
		}
		names = nil
		for _, e := range tree.Entries {
			names = append(names, e.Name)
		}
		return nil
	})
	return names, err
}

func (c *commit) blob(s *filesystem.Storage, file string) ([]byte, error) {
	tree, err := object.GetTree(s, c.tree)
	if err != nil {
		return nil, err
	}
	entry, err := tree.FindEntry(file)
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, fmt.Errorf("commit %s of %s has no file %s; commit it", c.hash.String()[:12], c.origin.repo, file)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]filemode.FileMode{filemode.Regular, filemode.Executable, filemode.Deprecated}, entry.Mode) {
		return nil, fmt.Errorf("%s in commit %s is no plain file; a symbolic link or submodule is not followed", file, c.hash.String()[:12])
	}
	blob, err := object.GetBlob(s, entry.Hash)
	if err != nil {
		return nil, err
	}
	if blob.Size > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", file, maxFile>>20)
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := readBounded(r, file)
	if err == nil && int64(len(data)) != blob.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && plumbing.ComputeHash(plumbing.BlobObject, data) != entry.Hash {
		err = fmt.Errorf("%s in %s is damaged; look at it with: git fsck", file, c.origin.repo)
	}
	return data, err
}

func (c *commit) seen() marks { return marks{c.origin.ref: c.hash.String()} }

func (c *commit) look(ctx context.Context) (now marks, err error) {
	err = c.origin.careful(ctx, func(s *filesystem.Storage) error {
		hash, err := c.origin.commit(s)
		now = marks{c.origin.ref: hash.String()}
		return err
	})
	return now, err
}

// settled: a commit does not change.
func (c *commit) settled(context.Context) error { return nil }
