package postgres

import (
	"errors"
	"net"
	"strings"

	"github.com/gatehouse-sec/gatehouse/store"
)

// DumpCommand gives the arguments and the environment with which pg_dump writes everything that this store holds to standard
// output, from one snapshot, while it is in use. The connection is the store's own: as encrypted, as verified. The password
// is in neither, since other processes may read both: put it in a file for libpq and add PGPASSFILE. Values in the dump are
// as they are in the database: sealed where the store is, and of no use without the keys.
func DumpCommand(c store.Config) (args, env []string, err error) {
	if c.IsEmbedded() {
		return nil, nil, errors.New("store: the embedded store is no PostgreSQL; gatehouse backup create copies it")
	}
	p, err := store.ParsePostgres(c.URL)
	if err != nil {
		return nil, nil, err
	}
	var hosts, ports []string
	for _, s := range p.Servers {
		at := strings.LastIndexByte(s, ':')
		if host, _, err := net.SplitHostPort(s); err == nil {
			hosts = append(hosts, host)
		} else {
			hosts = append(hosts, s[:at])
		}
		ports = append(ports, s[at+1:])
	}
	env = []string{"PGHOST=" + strings.Join(hosts, ","), "PGPORT=" + strings.Join(ports, ","), "PGDATABASE=" + p.Database, "PGTARGETSESSIONATTRS=read-write"}
	if p.User != "" {
		env = append(env, "PGUSER="+p.User)
	}
	if !p.Socket() {
		env = append(env, "PGSSLMODE="+p.SSLMode)
	}
	for _, v := range []struct{ name, value string }{{"PGSSLROOTCERT", c.CA}, {"PGSSLCERT", c.ClientCert.Path()}, {"PGSSLKEY", c.ClientKey.Path()}} {
		if v.value != "" {
			env = append(env, v.name+"="+v.value)
		}
	}
	return []string{"pg_dump", "--format=custom", "--schema=" + p.Schema, "--no-owner", "--no-privileges", "--lock-wait-timeout=10s"}, env, nil
}
