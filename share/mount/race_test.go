//go:build race

package mount_test

// many is how many files a large folder has. The race detector makes all ten times slower.
const many = 10_000
