package largepage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ask asks by madvise(2) for the pages that some of b lies in. Of its neighbours in the heap those that are in use stay as they are.
func ask(b []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	begin, end := at&^(size-1), (at+uintptr(len(b))+size-1)&^(size-1)
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_HUGEPAGE)
}
