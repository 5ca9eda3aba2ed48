package body

// Limits bound what a body may cost. A zero field means its default.
type Limits struct {
	Bytes    int64 // of the body, before and after its coding is taken off; default 1 MiB
	Ratio    int64 // bytes after taking the coding off for each byte before; default 100
	Depth    int   // of nested arrays and objects in JSON; default 32
	Members  int   // of all JSON objects together; default 10,000
	Values   int   // of all kinds in JSON, elements of arrays included; default 100,000
	Params   int   // pairs of a form; default 256
	Parts    int   // of a multipart body; default 100
	Header   int   // bytes of the header of one part; default 4096
	Declared int64 // Content-Length when it is known: a first guess at the buffer, not a bound
	AllowNUL bool  // admit U+0000 in strings: servers written in C end a string there
}

func (l Limits) withDefaults() Limits {
	l.Bytes = orDefault(l.Bytes, 1<<20)
	l.Ratio = orDefault(l.Ratio, 100)
	l.Depth = orDefault(l.Depth, 32)
	l.Members = orDefault(l.Members, 10_000)
	l.Values = orDefault(l.Values, 100_000)
	l.Params = orDefault(l.Params, 256)
	l.Parts = orDefault(l.Parts, 100)
	l.Header = orDefault(l.Header, 4<<10)
	return l
}

func orDefault[N int | int64](n, standard N) N {
	if n <= 0 {
		return standard
	}
	return n
}
