package state

import (
	"syscall"
	"testing"
)

// bind mounts a folder over itself with other flags, until it is unmounted.
func bind(t *testing.T, folder string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount(folder, folder, "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("mount: %v; these tests need root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	if err := syscall.Mount("", folder, "", flags, ""); err != nil {
		t.Fatal(err)
	}
}

func unmount(t *testing.T, folder string) {
	t.Helper()
	if err := syscall.Unmount(folder, 0); err != nil {
		t.Fatal(err)
	}
}

// tmpfs mounts a small disk.
func tmpfs(t *testing.T, folder, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount: %v; these tests need root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
}
