package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/gatehouse-sec/gatehouse/docs/testdata/maintenance"
	"github.com/gatehouse-sec/gatehouse/gate"
	"github.com/gatehouse-sec/gatehouse/kit/body"
	"github.com/gatehouse-sec/gatehouse/kit/canon"
	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/openapi"
	"github.com/gatehouse-sec/gatehouse/kit/wire"
	"github.com/gatehouse-sec/gatehouse/listen"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// The pages about the house are held against the house. That their commands work is tested in cmd/gatehouse.

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are all Markdown files that a reader may open.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bin", "build", "node_modules"}, d.Name())) {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ".md") {
			list = append(list, name)
		}
		return nil
	})
	if err != nil || len(list) < 20 {
		t.Fatal(len(list), err)
	}
	return list
}

func TestArchitectureListsTheFolders(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)/` \\|").FindAllStringSubmatch(read(t, "ARCHITECTURE.md"), -1) {
		listed[m[1]] = true
	}
	there := map[string]bool{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	ignored := read(t, ".gitignore")
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !strings.Contains(ignored, "/"+e.Name()+"/") {
			there[e.Name()] = true
		}
	}
	for name := range there {
		if !listed[name] {
			t.Errorf("ARCHITECTURE.md does not list the folder %s/", name)
		}
	}
	for name := range listed {
		if !there[name] {
			t.Errorf("ARCHITECTURE.md lists %s/, which does not exist", name)
		}
	}
}

func TestLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	found := 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links seen", found)
	}
}

// What a page quotes is what the file says: <!-- same as FILE --> before a block.
func TestQuotesAreExact(t *testing.T) {
	quote := regexp.MustCompile("(?s)<!-- same as (\\S+) -->\n```[a-z]*\n(.*?\n)```\n")
	found := 0
	for _, page := range []string{"README.md", "CONTRIBUTING.md"} {
		for _, m := range quote.FindAllStringSubmatch(read(t, page), -1) {
			found++
			if read(t, m[1]) != m[2] {
				t.Errorf("%s quotes %s, which says something else", page, m[1])
			}
		}
	}
	if found != 2 {
		t.Errorf("%d quotes found", found)
	}
}

// The shop in containers is the shop: same guards, same APIs.
func TestComposeServesTheShop(t *testing.T) {
	from := func(file string) string {
		_, rest, ok := strings.Cut(read(t, file), "\nguards:")
		if !ok {
			t.Fatalf("%s has no guards", file)
		}
		return rest
	}
	if from("deploy/gatehouse.yaml") != from("examples/shop/gatehouse.yaml") {
		t.Error("deploy/gatehouse.yaml and examples/shop/gatehouse.yaml differ after listen")
	}
}

// Everything that the documents in deploy/ name below /run is handed to the gateways that read them.
func TestDeployedDocumentsFindTheirFiles(t *testing.T) {
	named := func(text string) (files []string) {
		for _, m := range regexp.MustCompile(`(/run/[a-z]+)/([a-z.-]+)`).FindAllStringSubmatch(text, -1) {
			files = append(files, m[0])
		}
		if len(files) < 5 {
			t.Fatalf("only %q is named", files)
		}
		return files
	}
	var compose struct {
		Services map[string]struct {
			Secrets, Volumes []string
		}
		Secrets map[string]struct{ File string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose-nodes.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"one", "two"} {
		service := compose.Services[node]
		for _, file := range named(read(t, "deploy/nodes.yaml")) {
			name := filepath.Base(file)
			given := slices.Contains(service.Secrets, name) && compose.Secrets[name].File != "" && filepath.Dir(file) == "/run/secrets" ||
				slices.ContainsFunc(service.Volumes, func(v string) bool { return strings.Contains(v, ":"+filepath.Dir(file)+":ro") })
			if !given {
				t.Errorf("%s: nothing is mounted at %s", node, file)
			}
		}
		if !slices.Contains(service.Volumes, "./nodes.yaml:/etc/gatehouse/gatehouse.yaml:ro") {
			t.Errorf("%s reads another document", node)
		}
	}
	manifests := strings.Split(read(t, "deploy/kubernetes.yaml"), "\n---\n")
	for i, text := range manifests {
		var m struct{ Kind string }
		if err := yaml.Unmarshal([]byte(text), &m); err != nil || m.Kind == "" {
			t.Errorf("manifest %d: %v", i, err)
		}
	}
	var document struct{ Data map[string]string }
	var nodes struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						VolumeMounts []struct {
							MountPath string `yaml:"mountPath"`
						} `yaml:"volumeMounts"`
					}
				}
			}
		}
	}
	if err := errors.Join(yaml.Unmarshal([]byte(manifests[0]), &document), yaml.Unmarshal([]byte(manifests[1]), &nodes)); err != nil {
		t.Fatal(err)
	}
	var mounted []string
	for _, c := range nodes.Spec.Template.Spec.Containers {
		for _, m := range c.VolumeMounts {
			mounted = append(mounted, m.MountPath)
		}
	}
	for _, file := range named(document.Data["gatehouse.yaml"]) {
		if !slices.Contains(mounted, filepath.Dir(file)) {
			t.Errorf("kubernetes: nothing is mounted at %s; mounted are %q", file, mounted)
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^\\$ )make ([a-z]+)").FindAllStringSubmatch(read(t, page), -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s names make %s, which is no target", page, m[1])
			}
		}
	}
}

func TestDecisionsAreComplete(t *testing.T) {
	files, err := filepath.Glob("docs/decisions/0*.md")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	index := read(t, "docs/decisions/README.md")
	for i, file := range files {
		name := filepath.Base(file)
		text := read(t, file)
		title, _, _ := strings.Cut(text, "\n")
		number, words, _ := strings.Cut(strings.TrimPrefix(title, "# "), ". ")
		if number != strconv.Itoa(i+1) || !strings.HasPrefix(name, fmt.Sprintf("%04d-", i+1)) {
			t.Errorf("%s: decision %s stands at %d", name, number, i+1)
		}
		if !strings.Contains(index, "]("+name+") | "+words+" |") {
			t.Errorf("%s is not in docs/decisions/README.md under its title", name)
		}
		for _, part := range []string{"**Decided.**", "**Why.**", "**Given up.**", "**Think again when**"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %s", name, part)
			}
		}
	}
}

// Every public code is explained with its status, and every family of reasons has a place on the page.
func TestTroubleshootingIsComplete(t *testing.T) {
	page := read(t, "docs/guide/troubleshooting.md")
	for _, code := range gate.Codes() {
		if !strings.Contains(page, fmt.Sprintf("| `%s` | %d |", code, code.Status())) {
			t.Errorf("code %s (%d) is not explained", code, code.Status())
		}
	}
	known := map[string]bool{}
	for _, list := range [][]string{canon.Reasons(), body.Reasons(), wire.Reasons(), openapi.Reasons(), listen.Reasons(), upstream.Reasons()} {
		for _, reason := range list {
			known[reason] = true
			family, _, _ := strings.Cut(reason, ".")
			if !strings.Contains(page, "`"+family) {
				t.Errorf("reasons of the family %s are not on the page", family)
			}
		}
	}
	var source strings.Builder // for reasons of guards and pipeline, which stand in constants
	for _, s := range sources(t) {
		if root, _, _ := strings.Cut(s.folder, "/"); slices.Contains([]string{"guard", "pipeline", "cmd"}, root) {
			source.WriteString(read(t, s.file))
		}
	}
	cells := 0
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \|`).FindAllStringSubmatch(page, -1) {
		for _, m := range regexp.MustCompile("`([a-z0-9]+\\.[a-z0-9_]+)`").FindAllStringSubmatch(row[1], -1) {
			cells++
			if !known[m[1]] && !strings.Contains(source.String(), `"`+m[1]+`"`) {
				t.Errorf("no part of Gatehouse denies with %s", m[1])
			}
		}
	}
	if cells < 80 {
		t.Errorf("only %d reasons on the page", cells)
	}
}

// SECURITY.md says where each row of the adversary table is tested; a test in one of those folders cites it.
func TestRowsAreTestedWhereSaid(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| ([A-K]\d[^|]*) \| [^|]* \| ([^|]*) \|$`)
	lines := row.FindAllStringSubmatch(read(t, "SECURITY.md"), -1)
	if len(lines) < 8 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		cited := map[string]bool{}
		for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(line[2], -1) {
			maps.Copy(cited, citations(t, m[1]))
		}
		for _, id := range rows(t, line[1]) {
			if !cited[id] {
				t.Errorf("row %s is not cited by a test in %s", id, line[2])
			}
		}
	}
}

// rows spells out "A1-A3, A5".
func rows(t *testing.T, list string) (ids []string) {
	t.Helper()
	for _, part := range strings.Split(list, ", ") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			last = first
		}
		from, err := strconv.Atoi(first[1:])
		to, err2 := strconv.Atoi(last[1:])
		if err = errors.Join(err, err2); err != nil || from > to || first[0] != last[0] {
			t.Fatalf("%q: %v", part, err)
		}
		for n := from; n <= to; n++ {
			ids = append(ids, fmt.Sprintf("%c%d", first[0], n))
		}
	}
	return ids
}

// citations are the rows that tests and stories below a folder name; "A1 to A3" and "A1-A3" name all between.
func citations(t *testing.T, folder string) map[string]bool {
	t.Helper()
	cited := map[string]bool{}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, ".txtar") {
			return err
		}
		for _, m := range regexp.MustCompile(`\b([A-K]\d{1,2})(?:(?:-| to )([A-K]\d{1,2}))?\b`).FindAllStringSubmatch(read(t, name), -1) {
			part := m[1]
			if m[2] != "" && m[1][0] == m[2][0] {
				part += "-" + m[2]
			}
			for _, id := range rows(t, part) {
				cited[id] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cited
}

// Each word of the vocabulary is in the glossary, once, in order.
func TestGlossaryHasTheWords(t *testing.T) {
	var words []string
	for _, m := range regexp.MustCompile(`(?m)^\| \*\*([^*]+)\*\* \| [^|]+ \| [^|]* \|$`).FindAllStringSubmatch(read(t, "GLOSSARY.md"), -1) {
		words = append(words, strings.ToLower(m[1]))
	}
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Errorf("not in order, or twice: %v", words)
	}
	for _, want := range []string{"access", "answer", "api", "code", "event", "exchange", "finding", "guard", "need", "operation", "outcome", "principal", "reason", "risk", "rule", "source", "stream", "verdict"} {
		if !slices.Contains(words, want) {
			t.Errorf("%q, a type of package gate, is not explained", want)
		}
	}
}

// The guard that CONTRIBUTING.md builds does what the page says.
func TestTheExampleGuard(t *testing.T) {
	var denied gate.Guard = new(maintenance.Guard)
	if v := denied.Check(context.Background(), &gate.Exchange{}); v.Allowed() {
		t.Error("the zero Guard allows")
	}
	open, err := maintenance.New(maintenance.Config{})
	if err != nil || !open.Check(context.Background(), &gate.Exchange{}).Allowed() {
		t.Errorf("without a section: %v", err)
	}
	closed, err := maintenance.New(maintenance.Config{Closed: "the database moves", RetryAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	v := closed.Check(context.Background(), &gate.Exchange{})
	if v.Allowed() || v.Code != gate.Unavailable || v.Reason != maintenance.Closed || v.Header.Get("Retry-After") != "3600" {
		t.Errorf("%+v", v)
	}
	for _, wrong := range []maintenance.Config{{RetryAfter: time.Minute}, {Closed: "x", RetryAfter: -1}} {
		var list mistake.List
		if _, err := maintenance.New(wrong); !errors.As(err, &list) || list[0].Path != "retry_after" {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
