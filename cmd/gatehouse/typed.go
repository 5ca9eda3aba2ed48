package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	owned "github.com/gatehouse-sec/gatehouse/secret/kept"
)

// people tells that somebody reads what is written to w: a terminal, whether it shows colours or not.
func people(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// typedSecret reads standard input to its end. On a terminal it asks for one line, and the terminal doesn't show it.
func typedSecret(ctx context.Context, std stdio) ([]byte, error) {
	f, ok := std.in.(*os.File)
	if ok {
		if was, err := unix.IoctlGetTermios(int(f.Fd()), getTermios); err == nil {
			return typedLine(ctx, std, f, *was)
		}
	}
	return io.ReadAll(io.LimitReader(std.in, owned.MaxValue+3)) // a line end more, and one byte to see that it is too long
}

func typedLine(ctx context.Context, std stdio, f *os.File, was unix.Termios) ([]byte, error) {
	silent := was
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(int(f.Fd()), setTermios, &silent); err != nil {
		return nil, err
	}
	defer func() {
		_ = unix.IoctlSetTermios(int(f.Fd()), setTermios, &was)
		fmt.Fprintln(std.err)
	}()
	fmt.Fprint(std.err, "The secret, which is not shown: ")
	type typed struct {
		line []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		line, err := bufio.NewReaderSize(f, owned.MaxValue+3).ReadSlice('\n')
		if err == io.EOF {
			err = nil
		}
		done <- typed{line, err}
	}()
	select {
	case t := <-done:
		return t.line, t.err
	case <-ctx.Done(): // Ctrl-C: the terminal must show again what is typed
		return nil, ctx.Err()
	}
}
