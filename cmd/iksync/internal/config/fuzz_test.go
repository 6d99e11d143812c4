//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzParse: whatever is written, it is a configuration or an error.
func FuzzParse(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/errors.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if strings.HasSuffix(file.Name, ".yaml") {
			f.Add(strings.ReplaceAll(string(file.Data), "$DIR", "."))
		}
	}
	example, err := os.ReadFile("../../../../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add("roots: [{path: ., folder: /a, upload: &u {tags: [x]}, rules: [{match: '*', upload: *u}]}]")
	f.Add("? [complex, key]\n: value\n")
	f.Add("a: &a [*a]\n")
	f.Add("roots: !!binary AAAA\n---\n...\n")
	f.Add("{\"workers\": 1e3, roots: [{path: .}, ~, [], 0x10, 1:30]}")
	f.Fuzz(func(t *testing.T, source string) {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path)
		var bad *Error
		if err != nil && (cfg != nil || !errors.As(err, &bad) || strings.TrimSpace(err.Error()) == "") {
			t.Errorf("the error is %#v", err)
		}
		if err == nil {
			for i := range cfg.Roots {
				cfg.Roots[i].Params("a/b.jpg")
			}
		}
	})
}
