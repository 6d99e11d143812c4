package queue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// statements returns the SQL of this package, by the words it begins with.
func statements(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	var all []string
	inspect := func(n ast.Node) bool {
		if _, ok := n.(*ast.BinaryExpr); ok {
			return false // a part of a statement is none
		}
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`).MatchString(text) {
			all = append(all, strings.TrimSpace(text))
		}
		return true
	}
	for _, file := range files {
		ast.Inspect(file, inspect)
	}
	return all
}

// What is asked for all day must not sort or read the whole queue: a backlog
// has a million rows.
func TestQueriesUseTheirIndexes(t *testing.T) {
	f := open(t)
	f.upload("a", 1)
	f.enqueue(f.change("b", 1))
	if _, _, err := f.q.Known(t.Context(), f.root, "", 10); err != nil {
		t.Fatal(err)
	}
	placeholder := regexp.MustCompile(`\?\d*`)
	found := make(map[string]bool)
	for _, s := range statements(t) {
		// Values instead of parameters: this planner has no statistics to choose by.
		rows, err := f.db.Query(t.Context(), "EXPLAIN QUERY PLAN "+placeholder.ReplaceAllString(s, "1"))
		if err != nil {
			t.Errorf("%s:\n%v", s, err)
			continue
		}
		var plan strings.Builder
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(detail + "\n")
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		check := func(name string, must, mustNot []string) {
			found[name] = true
			for _, m := range must {
				if !strings.Contains(plan.String(), m) {
					t.Errorf("%s: the plan should say %q:\n%s", name, m, &plan)
				}
			}
			for _, m := range mustNot {
				if strings.Contains(plan.String(), m) {
					t.Errorf("%s: the plan should not say %q:\n%s\n%s", name, m, &plan, s)
				}
			}
		}
		switch {
		case strings.Contains(s, "ORDER BY j.priority"):
			check("claim", []string{"INDEX jobs_ready"}, []string{"TEMP B-TREE"})
		case strings.Contains(s, "UNION ALL") && strings.Contains(s, "ORDER BY path"):
			check("known", []string{"(root_id=? AND path>?"}, []string{"TEMP B-TREE", "SCAN"})
		case strings.HasPrefix(s, "INSERT INTO jobs"):
			check("insert", nil, []string{"SCAN files", "SCAN jobs", "SCAN f"})
		case strings.HasPrefix(s, "DELETE FROM jobs"):
			check("delete", []string{"SEARCH jobs"}, []string{"SCAN"})
		case strings.HasPrefix(s, "UPDATE") && strings.Contains(s, "WHERE id"):
			check("update", []string{"SEARCH"}, []string{"SCAN jobs", "SCAN files", "SCAN roots"})
		}
		if regexp.MustCompile(`remote_key = (\?|c\.|coalesce)|remote_key >|wanted_key =`).MatchString(s) {
			check("key", nil, []string{"SCAN f\n", "SCAN o\n", "SCAN j\n", "SCAN files\n", "SCAN jobs\n"})
		}
	}
	for _, name := range []string{"claim", "known", "insert", "delete", "update", "key"} {
		if !found[name] {
			t.Errorf("no statement to %s was found", name)
		}
	}
}
