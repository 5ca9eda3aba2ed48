package store

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-sec/gatehouse/kit/mistake"
)

// Postgres is a URL of PostgreSQL taken apart.
type Postgres struct {
	Servers     []string // host:port, or the whole path of a socket's folder and its port: /run/postgresql:5432
	User        string   // "" for the name under which this process runs; unix sockets only
	Database    string
	Schema      string // where the tables stand. Default gatehouse
	Application string // what the server's own views call this node. Default gatehouse
	SSLMode     string // verify-full (default), require or disable; the last two need a reason
}

// Socket tells that the server is reached without a network.
func (p Postgres) Socket() bool { return len(p.Servers) > 0 && strings.HasPrefix(p.Servers[0], "/") }

// Verified tells that the server must prove who it is.
func (p Postgres) Verified() bool { return p.SSLMode == "verify-full" }

var (
	isSchema      = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	isApplication = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)
	isParameter   = regexp.MustCompile(`^[a-z_]{1,32}$`)
)

// ParsePostgres takes a URL apart. The error is a mistake.List. Text that could be a password is never repeated.
func ParsePostgres(text string) (Postgres, error) {
	p := Postgres{Schema: "gatehouse", Application: "gatehouse", SSLMode: "verify-full"}
	var m mistake.List
	u, ok := split(&m, text, "postgres", "postgresql")
	if !ok {
		return Postgres{}, m
	}
	p.User = u.user
	p.Database, ok = strings.CutPrefix(u.path, "/")
	if !ok || p.Database == "" || len(p.Database) > 63 || strings.ContainsAny(p.Database, "/\x00") {
		m.Add("", example, "the URL names no database, or one that cannot be")
	}
	host, port := p.parameters(&m, u.query)
	switch {
	case u.hosts == "" && host != "":
		p.Servers = []string{host + ":" + port}
	case u.hosts == "":
		m.Add("", example, "the URL names no host; for a unix socket add its folder: ?host=/run/postgresql")
	case u.query.Has("host") || u.query.Has("port"):
		m.Add("", example, "the parameters host and port are for unix sockets; a host on the network stands in front of the database")
	default:
		p.Servers = servers(&m, u.hosts, "5432")
	}
	if p.User == "" && u.hosts != "" {
		m.Add("", example, "the URL names no user")
	}
	if len(m) > 0 {
		return Postgres{}, m
	}
	return p, nil
}

const example = "postgres://gatehouse@db.internal:5432/gatehouse"

// parameters reads the part after the question mark, and gives the folder and port of a unix socket.
func (p *Postgres) parameters(m *mistake.List, query url.Values) (host, port string) {
	port = "5432"
	for name, values := range query {
		v := values[0]
		var ok bool
		switch name {
		case "host":
			host = v
			ok = path.IsAbs(v) && path.Clean(v) == v && len(v) < 90 && !strings.ContainsAny(v, ",\x00")
		case "port":
			port, ok = v, isPort(v)
		case "schema":
			p.Schema, ok = v, isSchema.MatchString(v) && !strings.HasPrefix(v, "pg_") && v != "information_schema"
		case "application_name":
			p.Application, ok = v, isApplication.MatchString(v)
		case "sslmode":
			p.SSLMode, ok = v, v == "verify-full" || v == "require" || v == "disable"
		case "password", "passfile", "sslpassword", "user":
			m.Add("", "password: file:/run/secrets/NAME", "parameter %s is not taken in the URL; the user stands before the host, a password lies in a file named by the key password", name)
			continue
		default:
			if !isParameter.MatchString(name) {
				name = "with this name"
			}
			m.Add("", "", "parameter %s is not known; known are schema, application_name, sslmode, and for unix sockets host and port", name)
			continue
		}
		switch {
		case len(values) > 1:
			m.Add("", "", "parameter %s stands twice", name)
		case !ok:
			m.Add("", parameterExample[name], "parameter %s has a value that it cannot have", name)
		}
	}
	return host, port
}

var parameterExample = map[string]string{"host": "host=/run/postgresql", "port": "port=5432", "schema": "schema=gatehouse", "application_name": "application_name=gatehouse", "sslmode": "sslmode=verify-full"}

// parts of a URL, percent-decoded where it is said.
type parts struct {
	scheme string
	user   string // decoded
	hosts  string
	path   string // decoded
	query  url.Values
}

// split takes a URL apart more strictly than most readers do: what comes before the last @ is the user, and a colon in it
// begins a password, which is refused and not repeated, and neither is anything of a URL that cannot be read.
func split(m *mistake.List, text string, schemes ...string) (parts, bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !slices.Contains(schemes, scheme) {
		m.Add("", schemes[0]+"://user@host", "this is no URL that begins with %s://", strings.Join(schemes, ":// or "))
		return parts{}, false
	}
	p := parts{scheme: scheme}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user := rest[:at]
		rest = rest[at+1:]
		if strings.ContainsAny(user, ":/?@") {
			m.Add("", "password: file:/run/secrets/NAME", "a URL with a password in it; put the password in a file that only the gateway may read, and name the file in the key password")
			return parts{}, false
		}
		decoded, err := url.PathUnescape(user)
		if err != nil || decoded == "" || len(decoded) > 63 || strings.ContainsAny(decoded, ":\x00") || odd(decoded) {
			m.Add("", "", "the user in front of @ cannot be read")
			return parts{}, false
		}
		p.user = decoded
	}
	if odd(rest) || strings.ContainsRune(rest, '#') {
		m.Add("", "", "the URL has a space, a control character or a # in it")
		return parts{}, false
	}
	rest, query, _ := strings.Cut(rest, "?")
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		p.path, rest = rest[slash:], rest[:slash]
	}
	p.hosts = rest
	var err, queryErr error
	p.path, err = url.PathUnescape(p.path)
	p.query, queryErr = url.ParseQuery(query)
	if err != nil || queryErr != nil || odd(p.path) {
		m.Add("", "", "the path or the parameters of the URL cannot be read")
		return parts{}, false
	}
	return p, true
}

func odd(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xfffd })
}

// servers reads host:port, host or [address]:port, divided by commas.
func servers(m *mistake.List, text, port string) []string {
	var list []string
	for _, s := range strings.Split(text, ",") {
		h, p := s, port
		if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
			var err error
			if strings.HasSuffix(s, "]") {
				s += ":" + port
			}
			h, p, err = net.SplitHostPort(s)
			if err != nil {
				h = ""
			}
		}
		_, notAddress := netip.ParseAddr(h)
		if !isPort(p) || len(h) > 253 || !isHost.MatchString(h) || (strings.Contains(h, ":") || s[0] == '[') && notAddress != nil {
			m.Add("", "", "a host or its port cannot be read") // not repeated: it may be a part of a password
			continue
		}
		list = append(list, net.JoinHostPort(h, p))
	}
	return list
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}
