package rules

import (
	"go/ast"
	"slices"
)

// pure packages take time, randomness and messages as arguments.
var pure = []string{"peer/auth", "share/grant", "transfer/manifest", "transfer/swarm"}

func purePackages(tr tree, bad report) {
	const reason = ": %s has no goroutine, clock, file or network, so that tables, fuzzing and test vectors say all about it"
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
	for _, p := range tr.pkgs {
		if !within(p.path, pure...) {
			continue
		}
		for _, f := range p.code() {
			for _, spec := range f.Imports {
				if imported(spec) != "net/netip" && within(imported(spec), "net", "os", "syscall", "golang.org/x/sys", "golang.org/x/net") {
					bad("%s imports %s"+reason, tr.at(spec), imported(spec), p.path)
				}
			}
			tr.uses(f, func(n ast.Node, importPath, name string) {
				if importPath == "time" && slices.Contains(clock, name) {
					bad("%s uses time.%s"+reason, tr.at(n), name, p.path)
				}
			})
			ast.Inspect(f.File, func(n ast.Node) bool {
				if g, ok := n.(*ast.GoStmt); ok {
					bad("%s starts a goroutine"+reason, tr.at(g), p.path)
				}
				return true
			})
		}
	}
}

// openers are the packages that may open files, and whose files. Two of them open the folders of users.
var openers = map[string]string{
	"share/local":         "the folders that are shared, confined",
	"transfer/store":      "the folders that files are fetched into, confined, and its own piece cache",
	"transfer/seed":       "what is known of fetched files, in the state folder",
	"share/registry":      "its own file in the state folder",
	"share/remote":        "its own tickets in the state folder",
	"share/mounted":       "what the kernel says of mounts, and the links on the way to one",
	"share/mount":         "the folder that it mounts on, which is empty, and what the kernel says of mounts",
	"share/vfs/journal":   "what was written and waits for its owner, in a folder of its own",
	"peer/identity":       "the key in the state folder",
	"peer/audit":          "the record in the state folder",
	"peer/control":        "the control socket",
	"cmd/internal/config": "the configuration and state folders",
	"cmd/internal/daemon": "the state folder",
	"cmd/internal/ui":     "the terminal",
	"cmd/peerd":           "files that the user names on the command line",
}

func filesAreOpenedByFew(tr tree, bad report) {
	opening := map[string][]string{
		"os": {"Open", "OpenFile", "OpenRoot", "OpenInRoot", "Create", "CreateTemp", "DirFS", "ReadFile", "WriteFile", "ReadDir", "Readlink",
			"Stat", "Lstat", "Mkdir", "MkdirAll", "MkdirTemp", "Rename", "Remove", "RemoveAll", "Link", "Symlink", "Truncate", "Chmod",
			"Chown", "Lchown", "Chtimes", "CopyFS"},
		"path/filepath": {"Walk", "WalkDir", "Glob", "EvalSymlinks"},
		"syscall":       {"Open", "Openat", "Mkdir", "Rename", "Unlink", "Stat", "Lstat"},
		"golang.org/x/sys/unix": {"Open", "Openat", "Openat2", "Mkdirat", "Renameat", "Renameat2", "Unlinkat", "Fstatat", "Statx",
			"Linkat", "Symlinkat"},
	}
	for _, p := range tr.pkgs {
		allowed := false
		for folder := range openers {
			allowed = allowed || within(p.path, folder)
		}
		if allowed || isHelper(p.path) {
			continue
		}
		for _, f := range p.code() {
			tr.uses(f, func(n ast.Node, importPath, name string) {
				if slices.Contains(opening[importPath], name) {
					bad("%s uses %s.%s: users' folders are opened by share/local and transfer/store alone, which keep to them whatever "+
						"links and names they hold; a package with files of its own is named in openers, with a reason", tr.at(n), importPath, name)
				}
			})
		}
	}
}
