package rules

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

func noInitNoGlobalLogger(tr tree, bad report) {
	for _, p := range tr.pkgs {
		for _, f := range p.code() {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					bad("%s: init runs unasked and before main can pass anything in; call it where it is needed", tr.at(fn))
				}
			}
			tr.uses(f, func(n ast.Node, importPath, name string) {
				if slices.Contains(globalLoggers[importPath], name) {
					bad("%s uses %s.%s: a *slog.Logger is passed in, so that tests and daemons side by side keep theirs apart",
						tr.at(n), importPath, name)
				}
			})
		}
	}
}

// globalLoggers are the functions that write to, give, or change a logger that nobody passed in.
var globalLoggers = map[string][]string{
	"log": {"Default", "Fatal", "Fatalf", "Fatalln", "Output", "Panic", "Panicf", "Panicln", "Print", "Printf", "Println",
		"SetFlags", "SetOutput", "SetPrefix", "Writer"},
	"log/slog": {"Debug", "DebugContext", "Default", "Error", "ErrorContext", "Info", "InfoContext", "Log", "LogAttrs",
		"SetDefault", "SetLogLoggerLevel", "Warn", "WarnContext", "With"},
}

func noMutablePackageVariables(tr tree, bad report) {
	const reason = "two daemons in one process, and two tests, would share it; put it in a struct"
	for _, p := range tr.pkgs {
		for _, f := range p.code() {
			for _, d := range f.Decls {
				gen, ok := d.(*ast.GenDecl)
				if !ok || gen.Tok != token.VAR {
					continue
				}
				for _, spec := range gen.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						if name.Name != "_" && !settled(gen, v, i) {
							bad("%s: the package variable %s can change: %s", tr.at(name), name.Name, reason)
						}
					}
				}
			}
		}
		for _, f := range p.code() {
			tr.changes(f, func(n ast.Node, name string) {
				bad("%s changes the package variable %s: %s", tr.at(n), name, reason)
			})
		}
	}
}

// settled reports whether a package variable is as good as a constant: an error to compare with, a table, a compiled
// pattern, an embedded file, something worked out once; or a pool, which holds nothing that anybody could miss.
func settled(gen *ast.GenDecl, v *ast.ValueSpec, i int) bool {
	if gen.Doc != nil && strings.Contains(rawText(gen.Doc), "//go:embed") || v.Doc != nil && strings.Contains(rawText(v.Doc), "//go:embed") {
		return true
	}
	if i >= len(v.Values) {
		return typeName(v.Type) == "sync.Pool"
	}
	switch x := ast.Unparen(v.Values[i]).(type) {
	case *ast.CompositeLit:
		return !strings.HasPrefix(typeName(x.Type), "sync.") || typeName(x.Type) == "sync.Pool"
	case *ast.CallExpr:
		fn := typeName(x.Fun)
		name := strings.ToLower(fn[strings.LastIndexByte(fn, '.')+1:])
		return slices.Contains([]string{"errors.New", "fmt.Errorf", "strings.NewReplacer", "sync.OnceValue", "sync.OnceValues", "ma.StringCast"}, fn) ||
			strings.HasPrefix(name, "must") || isConversion(x.Fun)
	case *ast.BasicLit, *ast.BinaryExpr:
		return !v.Names[i].IsExported()
	}
	return false
}

func rawText(g *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text + "\n")
	}
	return b.String()
}

// isConversion reports whether a call is one to a type that is written out, say []byte("…").
func isConversion(fun ast.Expr) bool {
	_, ok := ast.Unparen(fun).(*ast.ArrayType)
	return ok
}

// typeName is the text of a name or qualified name, without type arguments, or "".
func typeName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return typeName(x.X) + "." + x.Sel.Name
	case *ast.IndexExpr:
		return typeName(x.X)
	case *ast.IndexListExpr:
		return typeName(x.X)
	}
	return ""
}

// changes finds assignments to package variables, to their elements and fields, and addresses taken of them.
func (tr tree) changes(f file, found func(n ast.Node, name string)) {
	check := func(n ast.Node, e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.ParenExpr:
				e = x.X
				continue
			case *ast.Ident:
				if tr.packageVar(x) {
					found(n, x.Name)
				}
			}
			return
		}
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.AssignStmt:
			if x.Tok != token.DEFINE {
				for _, e := range x.Lhs {
					check(x, e)
				}
			}
		case *ast.IncDecStmt:
			check(x, x.X)
		case *ast.UnaryExpr:
			if x.Op == token.AND {
				check(x, x.X)
			}
		case *ast.CallExpr:
			if name := typeName(x.Fun); (name == "delete" || name == "clear") && len(x.Args) > 0 {
				check(x, x.Args[0])
			}
		}
		return true
	})
}
