package wire

import "time"

// Limits of one client connection; zero values mean the edge profile's default, written behind each.
type Limits struct {
	HeadBytes   int                    // 16 KiB: a request head, its first line and the empty line included -> 431
	Fields      int                    // 128 fields in a head, and in a trailer section -> 431
	HeadTime    time.Duration          // 5 s from the first byte of a head to its end -> 408
	IdleTime    time.Duration          // 60 s without a byte of the next head: closed without an answer
	MinRate     int                    // 256 bytes per second of a body, over 10 s; only time spent waiting for the client counts -> 408
	TargetBytes int                    // 8 KiB of request target -> 414
	Trailers    func(name string) bool // allow list for request trailer fields, asked with a lower-case name; nil allows none -> 400
}

func (l Limits) withDefaults() Limits {
	l.HeadBytes = orDefault(l.HeadBytes, 16<<10)
	l.Fields = orDefault(l.Fields, 128)
	l.HeadTime = orDefault(l.HeadTime, 5*time.Second)
	l.IdleTime = orDefault(l.IdleTime, 60*time.Second)
	l.MinRate = orDefault(l.MinRate, 256)
	l.TargetBytes = orDefault(l.TargetBytes, 8<<10)
	if l.Trailers == nil {
		l.Trailers = func(string) bool { return false }
	}
	return l
}

// ResponseLimits bound what a server may send; zero values mean the default, written behind each.
type ResponseLimits struct {
	HeadBytes     int // 64 KiB: a response head, its status line and the empty line included
	Fields        int // 256 fields in a head, and in a trailer section
	Informational int // 5 responses with a status below 200 (other than 101) before the final one
}

func (l ResponseLimits) withDefaults() ResponseLimits {
	l.HeadBytes = orDefault(l.HeadBytes, 64<<10)
	l.Fields = orDefault(l.Fields, 256)
	l.Informational = orDefault(l.Informational, 5)
	return l
}

// orDefault also replaces negative values: a limit can't be switched off by a slip of the sign.
func orDefault[T int | time.Duration](value, standard T) T {
	if value <= 0 {
		return standard
	}
	return value
}
