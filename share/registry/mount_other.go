//go:build !unix

package registry

// isMount is for systems where a disk that is gone takes its folder with it.
func isMount(string) bool { return false }
