package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// example is one request that a patch is tried with.
type example struct {
	Name   string          `json:"name"`
	Raw    []byte          `json:"raw"`
	Caller *gate.Principal `json:"caller,omitempty"` // as whom it comes; said, not proved
}

// Bounds of what is tried at once: it travels through the control socket.
const (
	mostExamples  = 500
	examplesBytes = 2 << 20
)

// readExamples reads files, and the *.http files of folders.
func readExamples(names []string) (list []example, err error) {
	total := 0
	for _, name := range names {
		files := []string{name}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			if files, err = requestsIn(name); err != nil {
				return nil, err
			}
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			e, err := readExample(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			e.Name = file
			if total += len(e.Raw); total > examplesBytes || len(list) == mostExamples {
				return nil, fmt.Errorf("more than %d requests or %d MiB are tried at once; leave some out", mostExamples, examplesBytes>>20)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// requestsIn lists the *.http files of a folder and those below it.
func requestsIn(folder string) (files []string, err error) {
	err = filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".http") {
			files = append(files, name)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: there is no *.http file in this folder", folder)
	}
	return files, err
}

// errExample says what a file should hold.
var errExample = errors.New("this is no HTTP request: it begins with a line such as POST /orders HTTP/1.1, then fields, an empty line and the body")

var (
	requestLine = regexp.MustCompile(`^([A-Z]+ \S+) HTTP/(1\.1|2|2\.0|3)$`)
	callerField = regexp.MustCompile(`(?i)^gatehouse-caller:`)
	lengthField = regexp.MustCompile(`(?i)^content-length:`)
	framedField = regexp.MustCompile(`(?i)^transfer-encoding:`)
)

// readExample reads a request as people write it down: lines may end plainly, HTTP/2 may stand in the first, a length may be
// missing, and who calls is said in a field of our own. What is sent is otherwise left as it is, also where it is wrong: that
// may be the exploit.
func readExample(data []byte) (e example, err error) {
	head, body := data, []byte(nil)
	if i := bytes.Index(data, []byte("\r\n\r\n")); i >= 0 {
		head, body = data[:i], data[i+4:]
	} else if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		head, body = data[:i], data[i+2:]
	}
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n"), "\n")
	first := requestLine.FindStringSubmatch(lines[0])
	if first == nil {
		return e, errExample
	}
	out := []string{first[1] + " HTTP/1.1"}
	framed, hosted := false, false
	for _, line := range lines[1:] {
		switch {
		case callerField.MatchString(line):
			if e.Caller, err = readCaller(line[len("gatehouse-caller:"):]); err != nil {
				return e, err
			}
			continue
		case lengthField.MatchString(line), framedField.MatchString(line):
			framed = true
		}
		hosted = hosted || strings.HasPrefix(strings.ToLower(line), "host:")
		out = append(out, line)
	}
	if !hosted {
		out = append(out, "Host: localhost")
	}
	if !framed && len(body) > 0 {
		body = bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r")) // an editor's
		out = append(out, "Content-Length: "+strconv.Itoa(len(body)))
	}
	e.Raw = append([]byte(strings.Join(out, "\r\n")+"\r\n\r\n"), body...)
	return e, nil
}

// readCaller reads NAME role=a,b scope=c client=d issuer=e claim.x=y.
func readCaller(text string) (*gate.Principal, error) {
	words := strings.Fields(text)
	if len(words) == 0 || strings.Contains(words[0], "=") {
		return nil, errors.New("Gatehouse-Caller needs a name first, such as: Gatehouse-Caller: ann role=staff")
	}
	p := &gate.Principal{Issuer: "example", Subject: words[0], Claims: map[string]any{"sub": words[0]}}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch claim, isClaim := strings.CutPrefix(key, "claim."); {
		case key == "role":
			p.Roles = strings.Split(value, ",")
		case key == "scope":
			p.Scopes = strings.Split(value, ",")
		case key == "client":
			p.Client = value
		case key == "issuer":
			p.Issuer = value
		case isClaim && claim != "":
			p.Claims[claim] = value
		default:
			return nil, fmt.Errorf("Gatehouse-Caller: %q is none of role=, scope=, client=, issuer=, claim.NAME=", tame(w))
		}
	}
	return p, nil
}
