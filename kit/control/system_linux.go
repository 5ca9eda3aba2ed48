package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// caller is the user id of the process at the other end.
func caller(c net.Conn) (uid int, err error) {
	err = control(c, func(fd int) error {
		who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			uid = int(who.Uid)
		}
		return err
	})
	return uid, err
}

// longest is how long a socket's name may be.
const longest = 107

// short calls do with a name of the socket that the system takes: a longer one is reached through its opened folder.
func short(path string, do func(string) error) error {
	if len(path) <= longest {
		return do(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(fmt.Sprintf("/proc/self/fd/%s/%s", strconv.Itoa(int(dir.Fd())), filepath.Base(path)))
}

// refused tells that nobody listens on a socket any more.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
}
