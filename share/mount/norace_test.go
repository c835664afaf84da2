//go:build !race

package mount_test

// many is how many files a large folder has.
const many = 100_000
