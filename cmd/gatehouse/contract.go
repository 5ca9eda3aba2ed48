package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// readContract reads a contract, or a file that it refers to. The contract is wherever the operator says; what it refers
// to must lie in its folder, also when a symbolic link leads there, and be a plain file: a contract may come from somebody
// who is not meant to read this machine's files, or to keep it reading for ever (row I11).
func readContract(contract, path string) ([]byte, error) {
	if path == contract {
		return os.ReadFile(path)
	}
	folder := filepath.Dir(contract)
	name, err := filepath.Rel(folder, path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", path)
	}
	return root.ReadFile(name)
}
