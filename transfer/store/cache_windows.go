package store

import "golang.org/x/sys/windows"

// DiskSpace is how many bytes a folder's file system has for us, and how many it has altogether.
func DiskSpace(dir string) (free, total int64, ok bool) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, false
	}
	var avail, all uint64
	if windows.GetDiskFreeSpaceEx(name, &avail, &all, nil) != nil {
		return 0, 0, false
	}
	return int64(avail), int64(all), true
}
