package journal

import "golang.org/x/sys/unix"

// bootID names this run of the operating system.
func bootID() string {
	s, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return s
}
