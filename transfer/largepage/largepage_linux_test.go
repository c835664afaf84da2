package largepage

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// asked reports whether large pages were asked for at an address, which proc(5) shows as the flag hg of its mapping.
func asked(t *testing.T, at uintptr) bool {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	in := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			in = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && in {
			return slices.Contains(strings.Fields(flags), "hg")
		}
	}
	t.Fatalf("nothing is mapped at %x", at)
	return false
}

func needs(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil {
		t.Skip("this kernel has no large pages: ", err)
	}
}

// TestMake: all that was made, to its first and last byte, is asked for in large pages.
func TestMake(t *testing.T) {
	needs(t)
	b := Make(8 << 20)
	for _, i := range []int{0, 1 << 20, len(b) - 1} {
		if !asked(t, uintptr(unsafe.Pointer(&b[i]))) {
			t.Errorf("byte %d is not in a large page", i)
		}
	}
}

// TestHeap: what the heap has after it lies where large pages were asked for.
func TestHeap(t *testing.T) {
	needs(t)
	Heap()
	b := make([]byte, 1<<20)
	if !asked(t, uintptr(unsafe.Pointer(&b[0]))) {
		t.Error("the heap is not in large pages")
	}
}
