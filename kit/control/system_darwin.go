package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// caller is the user id of the process at the other end.
func caller(c net.Conn) (uid int, err error) {
	err = control(c, func(fd int) error {
		who, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err == nil {
			uid = int(who.Uid)
		}
		return err
	})
	return uid, err
}

// longest is how long a socket's name may be.
const longest = 103

// short calls do with the socket's name, or tells that the system takes none so long.
func short(path string, do func(string) error) error {
	if len(path) > longest {
		return fmt.Errorf("the name %s is longer than the %d bytes that sockets may have; use a shorter XDG_DATA_HOME", path, longest)
	}
	return do(path)
}

// refused tells that nobody listens on a socket any more.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
}
