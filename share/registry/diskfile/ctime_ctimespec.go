//go:build darwin || freebsd || netbsd

package diskfile

import "syscall"

func changeOf(st *syscall.Stat_t) int64 { return st.Ctimespec.Nano() }
