package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// above gives, for each role, every role that includes it, at whatever distance.
func (c Config) above() (map[string][]string, error) {
	var wrong mistake.List
	above := map[string][]string{}
	for _, upper := range sorted(c.Hierarchy) {
		path := "hierarchy." + upper
		if strings.TrimSpace(upper) != upper || upper == "" {
			wrong.Add("hierarchy", "", "%q is not the name of a role", upper)
			continue
		}
		if len(c.Hierarchy[upper]) == 0 {
			wrong.Add(path, "", "the role includes nothing; leave it out")
		}
		for i, lower := range c.Hierarchy[upper] {
			if strings.TrimSpace(lower) != lower || lower == "" {
				wrong.Add(fmt.Sprintf("%s[%d]", path, i), "", "%q is not the name of a role", lower)
			}
		}
		below := c.below(upper)
		if slices.Contains(below, upper) {
			wrong.Add(path, "", "the role includes itself, through %s", strings.Join(below, ", "))
			continue
		}
		for _, lower := range below {
			above[lower] = append(above[lower], upper)
		}
	}
	return above, wrong.Err()
}

// below gives every role that a role includes, at whatever distance; itself only when it is in a circle.
func (c Config) below(role string) []string {
	var found []string
	next := slices.Clone(c.Hierarchy[role])
	for len(next) > 0 {
		one := next[0]
		next = next[1:]
		if slices.Contains(found, one) {
			continue
		}
		found = append(found, one)
		next = append(next, c.Hierarchy[one]...)
	}
	return found
}

func sorted(m map[string][]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
