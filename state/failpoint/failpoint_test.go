package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestFailpointsAreEachAtOnePlace wants every constant listed, and used at one
// place of the program.
func TestFailpointsAreEachAtOnePlace(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	names, err := parser.ParseFile(set, "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string) // name by constant
	for _, decl := range names.Decls {
		block, ok := decl.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, spec := range block.Specs {
			value := spec.(*ast.ValueSpec)
			name, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(Names, name) {
				t.Errorf("%s is not in Names", name)
			}
			known[value.Names[0].Name] = name
		}
	}
	if sorted := slices.Sorted(slices.Values(Names)); len(slices.Compact(sorted)) != len(known) || len(Names) != len(known) {
		t.Errorf("Names has %d of %d constants, or one twice", len(Names), len(known))
	}
	used := make(map[string][]string)
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			selected, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := selected.X.(*ast.Ident); ok && of.Name == "failpoint" && selected.Sel.Name != "Hit" {
				used[selected.Sel.Name] = append(used[selected.Sel.Name], set.Position(n.Pos()).String())
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for constant := range known {
		if places := used[constant]; len(places) != 1 {
			t.Errorf("%s is used at %d places: %q", constant, len(places), places)
		}
	}
	for constant, places := range used {
		if known[constant] == "" {
			t.Errorf("%s is no failpoint: %q", constant, places)
		}
	}
}
