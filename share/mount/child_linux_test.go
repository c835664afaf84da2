package mount_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// Some of what programs do can't be done by the process that answers the kernel: it would wait for itself in a fault on mapped
// memory, and can't be killed. So the tests' own program runs again as another one.
const asChild = "PEERD_MOUNT_TEST_CHILD"

// apart marks the tests in a mount namespace of their own: who else makes one while something is mounted, as the tests of other
// packages do, would keep it mounted there for as long as that one lasts.
const apart = "PEERD_MOUNT_TEST_APART"

func TestMain(m *testing.M) {
	if what := os.Getenv(asChild); what != "" {
		if err := children[what](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Geteuid() == 0 && os.Getenv(apart) == "" {
		fmt.Fprintln(os.Stderr, "a mount namespace:", again())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// again executes this program in a mount namespace of its own. The process stays the same one, so who interrupts it reaches it.
func again() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), apart+"=1"))
}

var children = map[string]func(args []string) error{
	"serve": serveChild, "map": mapChild, "work": workChild, "tick": tickChild, "open": openChild,
}

// child is the program that does one of the above.
func child(t *testing.T, what string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), asChild+"="+what)
	return c
}

// run runs a program, which must end well.
func run(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
	return string(out)
}

// serveChild mounts a share on a folder, says so, and waits to be killed.
func serveChild(args []string) error {
	w := vfstest.NewWorld()
	w.Add("anna").Share("docs", share.Full).Write("f", []byte("served"))
	fs, err := vfs.New(w, vfs.Options{Dir: args[1]})
	if err != nil {
		return err
	}
	if _, err := mount.New(context.Background(), fs, args[0], mount.Options{}); err != nil {
		return err
	}
	fmt.Println("mounted")
	select {}
}

// mapChild reads a file, writes another and changes the first through mapped memory, and looks at what became of that.
func mapChild(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(i.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for i := range m {
		if m[i] != byte(i/4096) {
			return fmt.Errorf("byte %d is %d", i, m[i])
		}
	}
	for i := 0; i < len(m); i += 4096 {
		m[i] = 0xee
	}
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		return err
	}
	return unix.Munmap(m)
}

// workChild makes a folder, goes there, and asks again and again where it is.
func workChild(args []string) error {
	for n := range 50 {
		dir := filepath.Join(args[0], fmt.Sprint("work", n))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chdir(dir); err != nil {
			return err
		}
		for range 20 {
			var b [4096]byte
			got, err := unix.Getcwd(b[:])
			if err != nil {
				return fmt.Errorf("where %s is: %w", dir, err)
			}
			if at := string(b[:max(got-1, 0)]); at != dir {
				return fmt.Errorf("it is %s, not %s", at, dir)
			}
		}
	}
	return nil
}

// tickChild reads a file on a thread that it names, while signals that ask for nothing reach it. It says what the system said, not
// what package os made of it, which tries again.
func tickChild(args []string) error {
	runtime.LockOSThread()
	signal.Notify(make(chan os.Signal, 100), syscall.SIGWINCH, syscall.SIGALRM)
	fmt.Println(unix.Gettid())
	fd, err := unix.Open(args[0], unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	fmt.Println(strings.TrimSpace(string(b[:n])))
	return nil
}

// openChild holds a file open until its standard input ends.
func openChild(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Println("open")
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
	_, err = f.Read(b[:])
	return err
}
