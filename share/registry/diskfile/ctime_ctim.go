//go:build unix && !darwin && !freebsd && !netbsd

package diskfile

import "syscall"

func changeOf(st *syscall.Stat_t) int64 { return st.Ctim.Nano() }
