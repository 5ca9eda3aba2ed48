package harden_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/harden"
	"golang.org/x/sys/unix"
)

// TestMain is also the child that the tests look at from outside.
func TestMain(m *testing.M) {
	switch role := os.Getenv("HARDEN_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "hardened", "bare":
		os.Exit(child(role == "hardened"))
	case "grandchild":
		fmt.Println(os.Environ())
	case "spy":
		os.Exit(spy(os.Args[1], os.Args[2]))
	}
}

// child holds a secret and waits.
func child(hardened bool) int {
	if hardened {
		if err := harden.Process(); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if err := harden.Environment("HARDEN_TEST_SECRET"); err != nil {
		fmt.Println(err)
		return 1
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	inherit := exec.Command("/proc/self/exe")
	inherit.Env = append(os.Environ(), "HARDEN_TEST_ROLE=grandchild") // which starts nothing
	inherited, failed := inherit.Output()
	_, found := os.LookupEnv("HARDEN_TEST_SECRET")
	fmt.Printf("ready dumpable=%d core=%d/%d found=%v inherited=%v %v %v\n", dumpable, limit.Cur, limit.Max, found, strings.Contains(string(inherited), "canary"), err, failed)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// spy is another process of the same user as the child: it reads what the kernel lets it.
func spy(pid, what string) int {
	file, err := os.Open(filepath.Join("/proc", pid, what))
	if err != nil {
		fmt.Println("refused")
		return 0
	}
	defer func() { _ = file.Close() }()
	if what == "mem" {
		fmt.Println("opened") // a process that is not allowed does not even open it
		return 0
	}
	data, err := io.ReadAll(file)
	if err != nil {
		fmt.Println("refused")
		return 0
	}
	fmt.Printf("%d bytes, canary %v\n", len(data), strings.Contains(string(data), "canary-7f"))
	return 0
}

// nobody is the user under which child and spy run: root may read everything.
var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}

func program(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "harden")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "program"), data, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "program"), args...)
	c.Dir = dir
	c.Env = []string{"HARDEN_TEST_ROLE=" + role, "HARDEN_TEST_SECRET=canary-7f"}
	if os.Getuid() == 0 {
		c.SysProcAttr = nobody
	}
	return c
}

func start(t *testing.T, role string) (*exec.Cmd, string, io.Closer) {
	t.Helper()
	c := program(t, role)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("%q %v", line, err)
	}
	return c, line, in
}

func look(t *testing.T, pid int, what string) string {
	t.Helper()
	c := program(t, "spy", fmt.Sprint(pid), what)
	c.Env = []string{"HARDEN_TEST_ROLE=spy"}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v", out, err)
	}
	return strings.TrimSpace(string(out))
}

// K7: another process of the same user reads neither memory nor environment of a hardened process. The bare one beside it
// shows that the spy is able to.
func TestAnotherProcessReadsNothing(t *testing.T) {
	bare, line, _ := start(t, "bare")
	if !strings.Contains(line, "dumpable=1") {
		t.Fatalf("the child that should be dumpable is not: %s", line)
	}
	if got := look(t, bare.Process.Pid, "environ"); !strings.Contains(got, "canary true") {
		t.Errorf("the spy sees nothing where nothing is hidden: %s", got)
	}
	hard, line, _ := start(t, "hardened")
	if !strings.Contains(line, "dumpable=0 core=0/0 found=false inherited=false <nil> <nil>") {
		t.Errorf("%s", line)
	}
	for _, what := range []string{"environ", "mem", "maps", "auxv"} {
		if got := look(t, hard.Process.Pid, what); got != "refused" {
			t.Errorf("/proc/PID/%s: %s", what, got)
		}
	}
}

// K7: a debugger, which is what makes a core of a running process, is refused.
func TestNobodyAttaches(t *testing.T) {
	hard, _, _ := start(t, "hardened")
	if os.Getuid() != 0 {
		if err := syscall.PtraceAttach(hard.Process.Pid); err == nil {
			t.Error("it can be attached to")
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", hard.Process.Pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(status)), " "), "Max core file size 0 0") {
		t.Errorf("%v %s", err, status)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", hard.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("/proc/PID belongs to %d: the kernel takes the process for dumpable", owner)
	}
}

// K7: a process that aborts leaves no core.
func TestNoCoreIsLeft(t *testing.T) {
	c, _, _ := start(t, "hardened")
	if err := c.Process.Signal(syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGABRT); err != nil && err != os.ErrProcessDone {
		t.Fatal(err)
	}
	_ = c.Wait()
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	if status.CoreDump() {
		t.Error("the kernel says that it has written a core")
	}
	left, err := filepath.Glob(filepath.Join(c.Dir, "*core*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HARDEN_A", "a")
	t.Setenv("HARDEN_B", "b")
	if err := harden.Environment("HARDEN_A", "HARDEN_NONE"); err != nil {
		t.Error(err)
	}
	if _, found := os.LookupEnv("HARDEN_A"); found || os.Getenv("HARDEN_B") != "b" {
		t.Error("the wrong ones were removed")
	}
	for _, bad := range []string{"", "A=B", "A\x00"} {
		if err := harden.Environment(bad); err == nil {
			t.Errorf("%q is a variable", bad)
		}
	}
}
