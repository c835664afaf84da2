package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Paths says where things lie.
type Paths struct {
	Config string // folder of config.toml
	State  string // folder of keys, registry, tickets
	Socket string // of the control API
}

// FindPaths gives the paths below home, or by the XDG Base Directory Specification when home is empty. getenv is
// [os.Getenv] but for tests.
//
// The socket lies in a folder of its own, since that has to be closed to others while a home need not be. Where its path
// would be too long for a socket, a short one is made of the home's hash.
func FindPaths(home string, getenv func(string) string) (Paths, error) {
	if home != "" {
		abs, err := Abs("find home", home)
		if err != nil {
			return Paths{}, err
		}
		return Paths{Config: abs, State: abs, Socket: socketPath(filepath.Join(abs, "run"), getenv)}, nil
	}
	p, err := userPaths(getenv)
	if err != nil {
		return Paths{}, &peer.Error{Op: "find home", Kind: peer.Usage, Err: err, Hint: "say where to keep things with --home DIR"}
	}
	dir := filepath.Join(p.State, "run")
	if runtimeDir := absEnv(getenv, "XDG_RUNTIME_DIR"); runtimeDir != "" {
		dir = filepath.Join(runtimeDir, "peerd")
	}
	p.Socket = socketPath(dir, getenv)
	return p, nil
}

// Abs is the absolute name of something on this computer, for what op does.
func Abs(op, name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil { // there is nothing that a relative name is relative to
		return "", &peer.Error{
			Op: op, Kind: peer.Usage, Err: fmt.Errorf("the folder that this command runs in is there no more, so %q names nothing", name),
			Hint: "go to another folder, or write the whole path",
		}
	}
	return abs, nil
}

func userPaths(getenv func(string) string) (Paths, error) {
	switch runtime.GOOS {
	case "windows":
		config, state := getenv("AppData"), getenv("LocalAppData")
		if config == "" || state == "" {
			return Paths{}, fmt.Errorf("%%AppData%% and %%LocalAppData%% are not set")
		}
		return Paths{Config: filepath.Join(config, "peerd"), State: filepath.Join(state, "peerd")}, nil
	case "darwin":
		home := getenv("HOME")
		if home == "" {
			return Paths{}, fmt.Errorf("$HOME is not set")
		}
		dir := filepath.Join(home, "Library", "Application Support", "peerd")
		return Paths{Config: dir, State: dir}, nil
	}
	config, state, home := absEnv(getenv, "XDG_CONFIG_HOME"), absEnv(getenv, "XDG_STATE_HOME"), getenv("HOME")
	if home == "" && (config == "" || state == "") {
		return Paths{}, fmt.Errorf("$HOME is not set")
	}
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	if state == "" {
		state = filepath.Join(home, ".local", "state")
	}
	return Paths{Config: filepath.Join(config, "peerd"), State: filepath.Join(state, "peerd")}, nil
}

// absEnv drops relative paths, as the XDG specification asks.
func absEnv(getenv func(string) string, name string) string {
	if dir := getenv(name); filepath.IsAbs(dir) {
		return dir
	}
	return ""
}

func socketPath(dir string, getenv func(string) string) string {
	const name = "ctl.sock"
	if path := filepath.Join(dir, name); len(path) <= control.MaxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(dir))
	short := hex.EncodeToString(sum[:6])
	if runtimeDir := absEnv(getenv, "XDG_RUNTIME_DIR"); runtimeDir != "" {
		if path := filepath.Join(runtimeDir, "peerd-"+short, name); len(path) <= control.MaxSocketPath {
			return path
		}
	}
	base := "/tmp" // not $TMPDIR: daemon and command have to agree
	if runtime.GOOS == "windows" {
		base = os.TempDir()
	}
	return filepath.Join(base, "peerd-"+strconv.Itoa(os.Getuid())+"-"+short, name)
}
