//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"iksync/uploader"
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
	f.Add("imagekit: {reads_per_second: 1e-3, writes_per_second: 0x10}\nroots: [{path: ., folder: /, delete: trash, trash_folder: a//b/}]")
	f.Add("imagekit: {reads_per_second: .nan, writes_per_second: -.inf}\nroots: [{path: ., folder: /a, max_delete: 1e-323%, delete_after: -0s}]")
	f.Add("roots: [{path: ., folder: /a/b, filtered: delete, delete_after: 7d, max_delete: '1, 0.5%', trash_folder: /a/b/c, duplicates: copy}]")
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
				r := cfg.Roots[i].Removal
				bounded := r.MaxFiles > 0 || r.MaxShare > 0
				if !bounded || r.MaxFiles < 0 || r.MaxShare < 0 || r.MaxShare > 1 || r.After < 0 || !strings.HasPrefix(r.TrashFolder, "/") || r.TrashFolder == "/" {
					t.Errorf("a removal passes that has no sense: %+v", r)
				}
				if (r.Gone == uploader.Trash || r.Filtered == uploader.Trash) && Inside(cfg.Roots[i].Folder, r.TrashFolder) {
					t.Errorf("the root's folder %s lies in the trash %s", cfg.Roots[i].Folder, r.TrashFolder)
				}
			}
			for _, rate := range []float64{cfg.ReadsPerSecond, cfg.WritesPerSecond} {
				if !(rate > 0 && rate <= maxRate) {
					t.Errorf("a rate of %v passes", rate)
				}
			}
		}
	})
}
