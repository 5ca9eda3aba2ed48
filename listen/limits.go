package listen

import (
	"time"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
	"github.com/gatehouse-sec/gatehouse/kit/unit"
)

// Limits bound one connection, and how many there may be. They cannot differ from API to API: when they apply, nobody
// knows yet which API is meant. What is bounded per API stands in guards.limits. Zero means the default.
type Limits struct {
	// Largest head of a request: first line and fields. Default 16KiB.
	Head unit.Size `yaml:"head"`
	// Most fields in a head. Default 128. HTTP/2 counts bytes only, 32 for each field and its length.
	Fields int `yaml:"fields"`
	// Longest time from the first byte of a head to its end. Default 5s.
	HeadTime time.Duration `yaml:"head_time"`
	// Longest time from the connection to the end of the TLS handshake, the PROXY header included. Default 5s.
	Handshake time.Duration `yaml:"handshake"`
	// Longest time that a connection may stand without a request. Default 60s.
	Idle time.Duration `yaml:"idle"`
	// Slowest rate at which a client may send a body, in bytes per second. Default 256B.
	MinRate unit.Size `yaml:"min_rate"`
	// Most requests at the same time on an HTTP/2 connection. Default 100.
	Streams int `yaml:"streams"`
	// Bytes that an HTTP/2 client may send ahead, for each stream and for the connection. Default 64KiB, at most 3MiB.
	Window unit.Size `yaml:"window"`
	// Most connections from one IPv4 address. Default 100. Trusted proxies have no bound of their own.
	PerIPv4 int `yaml:"per_ipv4"`
	// Most connections from one IPv6 network of 64 bits. Default 200.
	PerIPv6 int `yaml:"per_ipv6"`
	// Most connections of all clients. Default and upper bound: a little less than half of the files that the process
	// may open, so that servers behind, files and the admin address always get theirs.
	Total int `yaml:"total"`
}

// InForce gives the bounds that hold, defaults included.
func (l Limits) InForce() Limits { return l.withDefaults() }

func (l Limits) withDefaults() Limits {
	l.Head = orDefault(l.Head, 16*unit.KiB)
	l.Fields = orDefault(l.Fields, 128)
	l.HeadTime = orDefault(l.HeadTime, 5*time.Second)
	l.Handshake = orDefault(l.Handshake, 5*time.Second)
	l.Idle = orDefault(l.Idle, time.Minute)
	l.MinRate = orDefault(l.MinRate, 256)
	l.Streams = orDefault(l.Streams, 100)
	l.Window = orDefault(l.Window, 64*unit.KiB)
	l.PerIPv4 = orDefault(l.PerIPv4, 100)
	l.PerIPv6 = orDefault(l.PerIPv6, 200)
	return l
}

func orDefault[N ~int | ~int64](n, standard N) N {
	if n == 0 {
		return standard
	}
	return n
}

func (l Limits) check(list *mistake.List) {
	within(list, "limits.head", l.Head, 1*unit.KiB, unit.MiB)
	within(list, "limits.fields", l.Fields, 8, 10_000)
	within(list, "limits.head_time", l.HeadTime, 100*time.Millisecond, time.Minute)
	within(list, "limits.handshake", l.Handshake, 100*time.Millisecond, time.Minute)
	within(list, "limits.idle", l.Idle, time.Second, time.Hour)
	within(list, "limits.min_rate", l.MinRate, 1, unit.MiB)
	within(list, "limits.streams", l.Streams, 1, 1000)
	within(list, "limits.window", l.Window, 64*unit.KiB, 3*unit.MiB)
	within(list, "limits.per_ipv4", l.PerIPv4, 1, 1<<20)
	within(list, "limits.per_ipv6", l.PerIPv6, 1, 1<<20)
	if l.Total < 0 {
		list.Add("limits.total", "", "%d is less than one", l.Total)
	}
}

func within[N interface {
	~int | ~int64
}](list *mistake.List, place string, n, least, most N) {
	if n < least || n > most {
		list.Add(place, "", "%v is not between %v and %v", n, least, most)
	}
}
