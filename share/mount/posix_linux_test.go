package mount_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/peerd/peerd/share"
)

// not are the tests of posixtest that are not passed, each with the reason.
var not = map[string]string{
	"Link":                "a share holds no links: a file has one name",
	"LinkUnlinkRename":    "the same",
	"SymlinkReadlink":     "the same",
	"SetattrSymlink":      "the same",
	"OpenSymlinkRace":     "the same",
	"FcntlFlockLocksFile": "it wants two descriptors of one process to exclude each other, which locks of fcntl(2) never do",
	"FallocateKeepSize":   "no room can be set aside at another peer; programs know EOPNOTSUPP and go on without",
}

func TestPosix(t *testing.T) {
	_, dir := docs(t, share.Full)
	for name, test := range posixtest.All {
		t.Run(name, func(t *testing.T) {
			if why := not[name]; why != "" {
				t.Skip(why)
			}
			sub := filepath.Join(dir, name)
			if err := os.Mkdir(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			test(t, sub)
		})
	}
}
