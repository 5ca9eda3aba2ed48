package seclang

import (
	"io/fs"
	"strings"
	"testing"
)

// Texts lie over one another, and the lists of each are found.
func TestListsLieOverLists(t *testing.T) {
	texts := map[string]Text{}
	for _, name := range []string{"before", "after"} {
		root := Named(func(file string) ([]byte, error) {
			return map[bool][]byte{true: []byte(name), false: []byte(`SecRule ARGS "@pmFromFile words.data" "id:10001,phase:2,deny"`)}[file == "words.data"], nil
		})
		files, wrong := Read(root, "own.conf")
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		text, err := files.Text()
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = text
	}
	for what, over := range map[string]fs.FS{
		"a list": texts["after"].Over(texts["before"].Over(nil)), "nothing": Text{}.Over(texts["after"].Over(texts["before"].Over(nil))),
	} {
		for name, text := range texts {
			for file := range text.Data {
				data, err := fs.ReadFile(over, file)
				if err != nil || string(data) != name {
					t.Errorf("below %s, the list of %s is %q: %v", what, name, data, err)
				}
			}
		}
		if _, err := fs.ReadFile(over, folder+strings.Repeat("0", 64)+".data"); err == nil {
			t.Error("a list that nobody has is found")
		}
	}
}
