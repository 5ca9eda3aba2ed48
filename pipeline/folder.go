package pipeline

import (
	"errors"
	"path/filepath"

	"github.com/gatehouse-sec/gatehouse/guard/waf/seclang"
)

// folder is a folder beside or below the document. What was read of it once is the same for all APIs.
type folder struct {
	tools Tools
	path  string
	lists map[string][]string
	files map[string][]byte
}

// folder gives a folder whose name is relative to the document.
func (t Tools) folder(name string) seclang.Folder {
	found := t.folders[name]
	if found == nil {
		found = &folder{t, filepath.Join(t.home, name), map[string][]string{}, map[string][]byte{}}
		t.folders[name] = found
	}
	return found
}

// List gives the names of what lies in it, or in a folder of it.
func (f *folder) List(name string) (names []string, err error) {
	if f.tools.List == nil {
		return nil, errors.New("there are no folders here")
	}
	names, known := f.lists[name]
	if !known {
		if names, err = f.tools.List(filepath.Join(f.path, name)); err == nil {
			f.lists[name] = names
		}
	}
	return names, err
}

// ReadFile reads a file in it, which no link may lead out of.
func (f *folder) ReadFile(name string) (data []byte, err error) {
	data, known := f.files[name]
	if !known {
		if data, err = f.tools.ReadFile(f.path+"/.", filepath.Join(f.path, name)); err == nil {
			f.files[name] = data
		}
	}
	return data, err
}
