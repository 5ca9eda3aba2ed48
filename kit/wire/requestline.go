package wire

import "bytes"

// maxMethod is longer than any registered method (UPDATEREDIRECTREF has 17 letters).
const maxMethod = 32

// parseRequestLine checks "METHOD SP target SP HTTP/1.x" (RFC 9112 section 3) and remembers what the fields must agree with.
func (p *requestParser) parseRequestLine(line []byte, at int) *fault {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if i := firstNot(method, isMethod); i >= 0 || len(method) == 0 || len(method) > maxMethod {
		if i < 0 {
			return &fault{reasonMethod, at, "an empty or overlong method"}
		}
		return &fault{nameThe(method[i], reasonMethod), at + i, "a method that is not in upper-case letters"}
	}
	if !ok {
		return &fault{reasonRequestLine, at + len(method), "a request line without target"}
	}
	target, version, ok := bytes.Cut(rest, []byte{' '})
	place := at + len(method) + 1
	if len(target) > p.limits.TargetBytes {
		return &fault{reasonTargetLength, place, "a longer request target than allowed"}
	}
	if !ok {
		return &fault{reasonVersion09, place + len(target), "a request line without version"}
	}
	if f := p.parseVersion(version, place+len(target)+1); f != nil {
		return f
	}
	if p.observer != nil {
		p.observer.requestBegun(method)
	}
	return p.parseTarget(method, target, place)
}

// parseVersion accepts HTTP/1.1 and HTTP/1.0. HTTP/1.2 does not exist, and servers disagree about it (C12).
func (p *requestParser) parseVersion(version []byte, at int) *fault {
	switch string(version) {
	case "HTTP/1.1":
		return nil
	case "HTTP/1.0":
		p.head.http10 = true
		return nil
	case "HTTP/2.0":
		return &fault{reasonVersionPreface, at, "HTTP/2 where HTTP/1.1 was agreed"}
	}
	if len(version) == 8 && bytes.HasPrefix(version, []byte("HTTP/")) && isDigit(version[5]) && version[6] == '.' && isDigit(version[7]) {
		return &fault{reasonVersion, at, "a version other than HTTP/1.0 and HTTP/1.1"}
	}
	if i := firstNot(version, isTarget); i >= 0 {
		return &fault{nameThe(version[i], reasonVersionSyntax), at + i, "a request line of more than three words"}
	}
	return &fault{reasonVersionSyntax, at, "a version that is not HTTP/digit.digit"}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// parseTarget checks the request target (RFC 9112 section 3.2): origin form, or absolute form of http and https. What the path
// means is not decided here, only that net/http will take it and that there is one reading of where it ends (A11).
func (p *requestParser) parseTarget(method, target []byte, at int) *fault {
	switch string(method) {
	case "CONNECT":
		return &fault{reasonConnect, at, "CONNECT: this is not a forward proxy"}
	case "TRACE":
		return &fault{reasonTrace, at, "TRACE echoes credentials"}
	}
	if i := firstNot(target, isTarget); i >= 0 {
		if target[i] == '#' {
			return &fault{reasonFragment, at + i, "a fragment in a request target"}
		}
		return &fault{nameThe(target[i], reasonTargetBytes), at + i, "a control or non-ASCII byte in a request target"}
	}
	path := target
	switch {
	case len(target) == 0:
		return &fault{reasonRequestLine, at, "an empty request target"}
	case target[0] == '/':
	case string(target) == "*":
		return &fault{reasonAsterisk, at, "the asterisk names the whole server, nothing here answers for it"}
	default:
		start, end := splitAbsolute(target)
		if start == 0 {
			return &fault{reasonTargetForm, at, "a request target that is neither a path nor an http URL"}
		}
		if f := checkAuthority(target[start:end], at+start); f != nil {
			return f
		}
		p.head.authority = append(p.head.authority[:0], target[start:end]...)
		p.head.absolute = true
		path = target[end:]
	}
	return checkEscapes(path, at+len(target)-len(path))
}

// splitAbsolute finds the authority of an absolute-form target; start is 0 when it is none.
func splitAbsolute(target []byte) (start, end int) {
	switch {
	case len(target) >= 7 && equalFold(target[:7], "http://"):
		start = 7
	case len(target) >= 8 && equalFold(target[:8], "https://"):
		start = 8
	default:
		return 0, 0
	}
	end = len(target)
	if i := bytes.IndexAny(target[start:], "/?"); i >= 0 {
		end = start + i
	}
	return start, end
}

// checkEscapes requires two hexadecimal digits behind every percent sign of the path: net/http would answer for itself otherwise.
func checkEscapes(path []byte, at int) *fault {
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		if i+2 >= len(path) || firstNot(path[i+1:i+3], isHex) >= 0 {
			return &fault{reasonEscape, at + i, "a percent sign without two hexadecimal digits"}
		}
		i += 2
	}
	return nil
}
