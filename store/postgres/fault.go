package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-sec/gatehouse/store"
)

// ours marks errors whose text this package wrote, or that packages secret and store did: they hold no value.
type ours struct{ error }

// Unwrap gives the error inside.
func (o ours) Unwrap() error { return o.error }

var (
	errNoConnection = errors.New("no connection")
	// errAlone: a commit that waited for its replica was told not to wait any longer. It is on this server's disk only.
	errAlone = ours{errors.New("the write is on the primary's disk, but its replica has not confirmed it")}
)

// fault turns any error into one that may be shown: store.ErrConflict, store.ErrNone and store.ErrInvalid as they are,
// everything else store.ErrUnavailable with words of our own. What the server says is not repeated, since it quotes
// values, and neither is what the library says, which quotes settings.
func fault(ctx context.Context, err error) error {
	for _, known := range []error{store.ErrConflict, store.ErrNone, store.ErrInvalid} {
		if errors.Is(err, known) {
			return err
		}
	}
	why := reason(err)
	if ended := ctx.Err(); ended != nil && why == "" {
		return fmt.Errorf("%w: PostgreSQL did not answer in time: %w", store.ErrUnavailable, ended)
	}
	if why == "" {
		why = "the connection to PostgreSQL failed"
	}
	return fmt.Errorf("%w: %s", store.ErrUnavailable, why)
}

func reason(err error) string {
	var (
		own     ours
		server  *pgconn.PgError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		lookup  *net.DNSError
		dial    *net.OpError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &own):
		return own.Error()
	case errors.Is(err, errHistory):
		return errHistory.Error()
	case errors.As(err, &server):
		return spoken(server)
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that is not trusted; name the right one in store.ca"
	case errors.As(err, &name):
		return "the server's certificate is for another name; write the name that it carries in the URL or in store.server_name"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "the server's certificate is not valid: expired, not yet valid, or not for a server"
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return "the server has no TLS; switch it on there (ssl=on)"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.As(err, &lookup):
		return "the server's name is not known: " + lookup.Name
	case errors.As(err, &dial) && dial.Op == "dial" && dial.Addr != nil:
		return "nothing takes connections at " + dial.Addr.String()
	case strings.Contains(err.Error(), "closed pool"):
		return "the store is closed"
	case errors.As(err, &timeout) && timeout.Timeout():
		return ""
	}
	return ""
}

// spoken puts an error of the server into words by its code alone: its message, detail and context quote rows and values.
func spoken(e *pgconn.PgError) string {
	words := map[string]string{
		"28P01": "the server refuses the password; look at store.password",
		"28000": "the server lets this user not in; look at its pg_hba.conf and at the user in the URL",
		"3D000": "the database in the URL does not exist; create it",
		"3F000": "the schema does not exist; see the package's README for the statements that make it",
		"42501": "the role may not do this; see the package's README for the statements that allow it",
		"42P01": "a table is missing, or the role may not use its schema; see the package's README for the statements that make and allow it",
		"42703": "a column is missing; start Gatehouse once as the schema's owner",
		"53100": "the server's disk is full",
		"53200": "the server is out of memory",
		"53300": "the server has no connection left; lower store.max_connections or raise its max_connections",
		"55P03": "a lock was not free in time",
		"57014": "the server gave up because of the time that it took",
		"57P01": "the server is being stopped",
		"57P02": "the server has crashed and recovers",
		"57P03": "the server is starting or stopping",
		"25006": errReplica.Error(),
		"40001": "too many others changed the same records",
		"40P01": "too many others changed the same records",
		"23514": "the server refuses the record by a rule of its table",
	}[e.Code]
	if words == "" {
		words = "the server refuses"
	}
	code := e.Code
	if len(code) != 5 || strings.ContainsFunc(code, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }) {
		code = "unknown"
	}
	return words + " (SQLSTATE " + code + ")"
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// undone tells that the server took back the whole transaction because of others.
func undone(err error) bool { c := code(err); return c == "40001" || c == "40P01" }

// readOnly tells that a server which took writes takes none by now.
func readOnly(err error) bool { return code(err) == "25006" }

// cut tells that a connection was lost and that the operation may go again: it was refused unread, or again is no harm. The
// library's SafeToRetry is no witness: a connection that ends while it waits for an answer counts as one that was closed
// before anything was sent.
func cut(err error, again bool) bool {
	var own ours
	if errors.As(err, &own) || errors.Is(err, errNoConnection) {
		return false
	}
	if readOnly(err) {
		return true
	}
	switch code(err) {
	case "":
		return again && !errors.Is(err, context.DeadlineExceeded) && !known(err)
	case "57P01", "57P02", "57P03":
		return again
	}
	return false
}

func known(err error) bool {
	for _, k := range []error{store.ErrConflict, store.ErrNone, store.ErrInvalid, errHistory} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

const aloneKey = "gatehouse.alone"

// notice hears the one warning that changes what an acknowledgement means: a commit no longer waits for its replica. The
// server's messages are in its own language, the name of its routine is not.
func notice(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		c.CustomData()[aloneKey] = true
	}
}

func alone(c *pgconn.PgConn) bool { return c.CustomData()[aloneKey] == true }

func clearAlone(c *pgconn.PgConn) { delete(c.CustomData(), aloneKey) }
