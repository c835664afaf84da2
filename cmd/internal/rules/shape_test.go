package rules

import (
	"go/ast"
	"os"
	"slices"
	"strings"
)

const (
	fileLimit     = 500
	packageLimit  = 1600
	functionLimit = 80
)

// large names what may pass a limit, each with its reason: files and packages by path, functions as path.Name.
var large = map[string]string{
	"share/vfs": "one tree under one lock: what can be told without it is in the packages below (tree, queue, content, journal, extent)",
	"cmd/peerd": "one small file per command, and no logic in any: no idea could be cut out of it",
}

func sizes(tr tree, bad report) {
	check := func(what string, lines, limit int, split string) {
		if _, ok := large[what]; lines >= limit && !ok {
			bad("%s has %d lines, at most %d are allowed: %s, or name it in large with a reason", what, lines, limit-1, split)
		}
	}
	for _, p := range tr.pkgs {
		total := 0
		for _, f := range p.code() {
			total += f.lines
			check(f.path, f.lines, fileLimit, "a file is read in one sitting; cut it by topic")
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					lines := tr.fset.Position(fn.End()).Line - tr.fset.Position(fn.Pos()).Line + 1
					check(p.path+"."+fn.Name.Name, lines, functionLimit, "a function is seen whole; give its parts names")
				}
			}
		}
		check(p.path, total, packageLimit, "a package is one idea; cut it in two")
	}
}

func rootHoldsOnlyWhatIsKnown(tr tree, bad report) {
	known := []string{"cmd", "discovery", "docs", "peer", "share", "transfer", "go.mod", "go.sum", "LICENSE", "Makefile", "README.md",
		"bin", "dist"} // the last two are made by make and ignored by git
	entries, err := os.ReadDir(tr.root)
	if err != nil {
		bad("%v", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(known, e.Name()) {
			bad("%s lies at the root: what a newcomer sees first is the project's four nouns, and little else", e.Name())
		}
	}
}

func packagesAreDocumented(tr tree, bad report) {
	for _, p := range tr.pkgs {
		docs := 0
		for _, f := range p.files {
			if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
				docs++
			}
		}
		if made := len(p.code()) == 0 && !slices.ContainsFunc(p.files, func(f file) bool { return f.test }); docs != 1 && !made {
			bad("%s has %d package comments: one says what a newcomer finds there", p.path, docs)
		}
	}
}

// plain are the methods whose meaning every Go programmer knows.
var plain = []string{"String", "Error", "Unwrap", "Is", "As", "Len", "Less", "Swap", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON"}

func exportedNamesAreDocumented(tr tree, bad report) {
	undocumented := func(n ast.Node, name string) {
		bad("%s: %s is exported and has no comment: units, limits and errors are part of what it is", tr.at(n), name)
	}
	for _, p := range tr.pkgs {
		for _, f := range p.code() {
			if f.Name.Name == "main" {
				continue
			}
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Name.IsExported() && d.Doc == nil && onExported(d) && (d.Recv == nil || !slices.Contains(plain, d.Name.Name)) {
						undocumented(d, d.Name.Name)
					}
				case *ast.GenDecl:
					for _, name := range undocumentedIn(d) {
						undocumented(name, name.Name)
					}
				}
			}
		}
	}
}

// onExported reports whether a function is no method, or one of an exported type.
func onExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch x := typ.(type) {
	case *ast.IndexExpr:
		typ = x.X
	case *ast.IndexListExpr:
		typ = x.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// undocumentedIn gives the exported names of a declaration without a comment of their own, beside them, or on their group.
func undocumentedIn(d *ast.GenDecl) (names []*ast.Ident) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					names = append(names, n)
				}
			}
		}
	}
	return names
}

// isHelper reports whether a package is one of helpers for tests, by its name.
func isHelper(p string) bool { return strings.HasSuffix(p, "test") }
