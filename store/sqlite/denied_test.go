package sqlite

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A file or a directory that this user may not write to: told, and nothing is made. Root may write everywhere, so the child
// is nobody when the test is root.
func TestMayNotWrite(t *testing.T) {
	for name, modes := range map[string][2]os.FileMode{"file": {0o400, 0o700}, "directory": {0o600, 0o500}} {
		t.Run(name, func(t *testing.T) {
			base, err := os.MkdirTemp("", "gatehouse-sqlite-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(base) })
			o := options(t, filepath.Join(base, "state", "gatehouse.db"))
			_ = open(t, o).Close()
			remove(t, o.Path+"-lock")
			chmod(t, base, 0o755)
			binary := filepath.Join(base, "test")
			write(t, binary, must(os.ReadFile(must(os.Executable()))))
			chmod(t, binary, 0o755)
			cmd := exec.Command(binary)
			cmd.Env = append(os.Environ(), childVariable+"=count "+o.Path)
			if os.Getuid() == 0 {
				const nobody = 65534
				for _, file := range must(filepath.Glob(filepath.Join(base, "state*"))) {
					if err := os.Chown(file, nobody, nobody); err != nil {
						t.Fatal(err)
					}
				}
				for _, file := range must(filepath.Glob(filepath.Join(base, "state", "*"))) {
					if err := os.Chown(file, nobody, nobody); err != nil {
						t.Fatal(err)
					}
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			chmod(t, o.Path, modes[0])
			chmod(t, filepath.Dir(o.Path), modes[1])
			out, err := cmd.CombinedOutput()
			chmod(t, filepath.Dir(o.Path), 0o700)
			if err == nil || !strings.Contains(string(out), "error") || strings.Contains(string(out), "counted") {
				t.Fatalf("%v: %s", err, out)
			}
			if text := string(out); !strings.Contains(text, "read-only") && !strings.Contains(text, "permission denied") || !strings.Contains(text, o.Path) {
				t.Errorf("the message doesn't help: %s", text)
			}
		})
	}
}
