// Package tree reaches what is in one folder and nothing outside of it, whatever somebody does to the folder meanwhile: what
// share/local reads and changes folders by. On Linux the kernel keeps to the folder, elsewhere [os.Root] does.
package tree

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/peerd/peerd/share/mounted"
)

// MaxNames is how many names of one folder are kept in memory to sort them. A folder with more can't be listed.
const MaxNames = 2_000_000

// What is said of what is not opened.
var (
	ErrAway    = errors.New("the folder that it offers is not there")
	errShown   = errors.New("what other computers share is mounted there, which is not theirs whom this share lets in")
	ErrLink    = errors.New("a symbolic link, which is not shared")
	ErrMount   = errors.New("another file system is mounted there, which is not shared")
	ErrSpecial = errors.New("neither a file nor a folder, so it is not shared")
	ErrIsDir   = errors.New("it is a folder")
	ErrNoDir   = errors.New("it is a file")
	ErrMoved   = errors.New("it was moved while it was opened")
	ErrCrowded = fmt.Errorf("the folder holds more than %d names", MaxNames)
)

// Away is the error of a share whose folder can't be opened; why is nil when nothing is mounted on it.
func Away(why error) error {
	if path := (*fs.PathError)(nil); errors.As(why, &path) {
		why = path.Err // without the path
	}
	if why == nil {
		return ErrAway
	}
	return fmt.Errorf("%w (%w)", ErrAway, why)
}

// shown says that a folder lies in a peerd mount: the logins of this computer would be open to all whom the share lets in. It is asked
// before the folder is opened, since a mount need not answer, and again after, since it may have come meanwhile.
func shown(dir string) error {
	if mounted.On(dir) != "" {
		return Away(errShown)
	}
	return nil
}
