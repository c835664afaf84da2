package recent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// largePage is the usual size of a large page, in bytes. Where it is another one, little is gained and nothing lost.
const largePage = 2 << 20

// inLargePages asks for memory of which nothing was used yet to be given in large pages, as far as whole ones lie in it. Systems
// that have none refuse, which makes no difference.
func inLargePages(b []byte) {
	begin := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % largePage)
	if begin < len(b) {
		_ = unix.Madvise(b[begin:begin+(len(b)-begin)/largePage*largePage], unix.MADV_HUGEPAGE)
	}
}
