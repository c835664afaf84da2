//go:build !linux && !darwin

package mounted

// Ours are the peerd mounts that the system tells of: none.
func Ours() []Mount { return nil }

// Top is what is mounted on a folder, over all else that is. Here nobody can say.
func Top(string) (Mount, bool) { return Mount{}, false }
