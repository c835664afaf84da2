package face

import "github.com/hanwen/go-fuse/v2/fuse"

// renameNoReplace is RENAME_EXCL of renamex_np(2).
const renameNoReplace = 4

// meant reports whether a signal asks a thread to stop. Here nobody can say, so each does.
func meant(uint32) bool { return true }

// opensFolders reports whether the kernel opens folders without asking. macOS asks.
func opensFolders(*fuse.InitIn) bool { return false }
