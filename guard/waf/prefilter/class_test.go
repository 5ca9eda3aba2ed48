package prefilter

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

func number(n int) hash {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // no negative ones
	return sha256.Sum256(b[:])
}

// Whoever invents classes, and asks for each as often as it takes to have it learned and used, doesn't wash out those of
// others, nor is more kept than the bound says.
func TestInventedClassesWashOutNobodys(t *testing.T) {
	const mine, invented = 500, 20 * maxClasses
	var c classes
	for n := range mine {
		c.put(number(n), &class{})
	}
	for n := range invented {
		for range 3 {
			if key := number(mine + n); c.get(key) == nil {
				c.put(key, &class{})
			}
		}
		if n%(maxClasses/2-mine) == 0 {
			for m := range mine {
				if c.get(number(m)) == nil {
					t.Fatalf("class %d is gone after %d were invented", m, n)
				}
			}
		}
		if kept := len(c.young) + len(c.old); kept > maxClasses {
			t.Fatalf("%d classes are kept; the bound is %d", kept, maxClasses)
		}
	}
}

// A class that is not used any more makes room.
func TestUnusedClassMakesRoom(t *testing.T) {
	var c classes
	c.put(number(0), &class{})
	for n := range maxClasses {
		c.put(number(1+n), &class{})
	}
	if c.get(number(0)) != nil {
		t.Error("a class that nobody asks for is kept for ever")
	}
}
