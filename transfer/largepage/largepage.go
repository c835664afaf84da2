// Package largepage has memory in large pages, where the system gives them to who asks: as many steps to have it, and as many entries
// of the processor's tables to find it, as a 512th of what small pages take. Where it has none, or gives them unasked, nothing changes.
package largepage

import "runtime"

// size is that of a large page, in bytes. Where it is another one, little is gained and nothing lost.
const size = 2 << 20

// firstArena is what of the first 64 MiB that Go's heap lies in (runtime/malloc.go, heapArenaBytes) is free when a program begins, with
// something to spare, in bytes.
const firstArena = 56 << 20

// Make gives n bytes in large pages, of which no page is in use yet.
func Make(n int) []byte {
	b := make([]byte, n)
	ask(b)
	return b
}

// Heap has the heap in large pages, if it is called when the program begins: the system keeps what was asked of an address, whatever the
// heap puts there afterwards, and gives a page when it is first written to. The heap fills from its lowest address on, so that what a
// program uses lies together; what lies above the first 64 MiB is as before.
func Heap() {
	runtime.KeepAlive(Make(firstArena))
	runtime.GC() // else that would count as in use, and the heap may be twice what is
}
