// Package rules holds no program: its tests keep the shape of this project, each with its reason.
package rules

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/peerd/peerd"

// file is one parsed Go file.
type file struct {
	*ast.File
	path  string // from the root, with slashes
	lines int
	test  bool
	made  bool // by a generator
	aside bool // not built: run by go generate
}

// pkg is the Go files of one folder.
type pkg struct {
	path  string // from the root, with slashes
	files []file
}

// code is the files that people write and the program is made of.
func (p pkg) code() []file {
	return slices.DeleteFunc(slices.Clone(p.files), func(f file) bool { return f.test || f.made || f.aside })
}

// tree is all of the project's Go.
type tree struct {
	root string
	fset *token.FileSet
	pkgs []pkg // sorted by path
	info types.Info
}

func load(t *testing.T, root string) tree {
	t.Helper()
	tr := tree{root: root, fset: token.NewFileSet(), info: types.Info{Uses: map[*ast.Ident]types.Object{}}}
	byPath := map[string]*pkg{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := tr.parse(name)
		if err != nil {
			return err
		}
		dir := path.Dir(f.path)
		if byPath[dir] == nil {
			byPath[dir] = &pkg{path: dir}
		}
		byPath[dir].files = append(byPath[dir].files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range byPath {
		tr.resolve(*p)
		tr.pkgs = append(tr.pkgs, *p)
	}
	slices.SortFunc(tr.pkgs, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	return tr
}

func (tr tree) parse(name string) (file, error) {
	parsed, err := parser.ParseFile(tr.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	rel, err := filepath.Rel(tr.root, name)
	return file{
		File:  parsed,
		path:  filepath.ToSlash(rel),
		lines: tr.fset.File(parsed.Pos()).LineCount(),
		test:  strings.HasSuffix(name, "_test.go"),
		made:  ast.IsGenerated(parsed),
		aside: isAside(parsed),
	}, err
}

// isAside reports whether a file is never built, by //go:build ignore.
func isAside(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Pos() < f.Package && c.Text == "//go:build ignore" {
				return true
			}
		}
	}
	return false
}

// at is where a node stands, for messages.
func (tr tree) at(n ast.Node) string {
	pos := tr.fset.Position(n.Pos())
	rel, err := filepath.Rel(tr.root, pos.Filename)
	if err != nil {
		rel = pos.Filename
	}
	return filepath.ToSlash(rel) + ":" + strconv.Itoa(pos.Line)
}

// imported is the path that an import names.
func imported(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic(err) // the parser accepted it
	}
	return p
}

// within reports whether a path is one of the folders or below one.
func within(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// unknown stands for every imported package: names need no more than the package that they are looked up in.
type unknown struct{}

func (unknown) Import(string) (*types.Package, error) { return nil, errors.New("not loaded") }

// resolve finds out what the names in a package's code stand for, as far as that is decided within the package.
func (tr tree) resolve(p pkg) {
	var files []*ast.File
	for _, f := range p.code() {
		files = append(files, f.File)
	}
	conf := types.Config{Importer: unknown{}, Error: func(error) {}}
	_, _ = conf.Check(p.path, tr.fset, files, &tr.info) // what is imported, and files for other systems, must fail
}

// uses tells of every use of a name of another package in f, say os.Open, whatever that package is called here.
func (tr tree) uses(f file, found func(n ast.Node, importPath, name string)) {
	ast.Inspect(f.File, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				if p, ok := tr.info.Uses[x].(*types.PkgName); ok {
					found(n, p.Imported().Path(), sel.Sel.Name)
				}
			}
		}
		return true
	})
}

// packageVar reports whether a name stands for a variable of its package, and not for something local that hides it.
func (tr tree) packageVar(id *ast.Ident) bool {
	v, ok := tr.info.Uses[id].(*types.Var)
	return ok && !v.IsField() && v.Pkg() != nil && v.Parent() == v.Pkg().Scope()
}
