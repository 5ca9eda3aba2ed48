package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// GenerateKey makes a key for an installation: the signer is the secret, the verifier is what --signed-by pins. The name
// tells people which installation and which key; one key signs for one installation only, since a document that is right
// for one may be wrong for another.
func GenerateKey(random io.Reader, name string) (signer, verifier string, err error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '+' }) {
		return "", "", fmt.Errorf("%q is not a name for a key; write visible ASCII without spaces and without +, such as shop.example/policy-2026", name)
	}
	return note.GenerateKey(random, name)
}

// Sign writes the note for a document in dir, to be put beside it with NoteSuffix. Files are what the document refers to,
// relative to dir; the document need not be among them. The version must be higher than any before; expires is cut to
// seconds. Signer is what GenerateKey gave.
func Sign(dir, document string, files []string, version int64, expires time.Time, signer string) ([]byte, error) {
	key, err := note.NewSigner(strings.TrimSpace(signer))
	if err != nil {
		return nil, errors.New("the signing key is not one; it begins with PRIVATE+KEY and is made by: gatehouse document keygen")
	}
	n := &Note{Version: version, Expires: expires.UTC().Truncate(time.Second), Document: document, Files: map[string]string{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, name := range append([]string{document}, files...) {
		if !localName(name) {
			return nil, fmt.Errorf("%q cannot stand in a note: name files below the document's folder, in visible ASCII without spaces", name)
		}
		data, err := readRoot(root, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		n.Files[name] = hex.EncodeToString(sum[:])
	}
	text := n.text()
	if _, err := parseNote(text); err != nil { // what nobody could read must not be signed
		return nil, err
	}
	return note.Sign(&note.Note{Text: text}, key)
}
