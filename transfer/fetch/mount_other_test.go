//go:build !linux

package fetch_test

import "testing"

func tmpfs(t testing.TB, _ string) string {
	t.Skip("needs a mount")
	return ""
}
