//go:build unix

package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden messages anew")

// TestErrorsSayWhereAndWhat: every problem of a configuration is said, with its
// file, line and column and the line itself.
func TestErrorsSayWhereAndWhat(t *testing.T) {
	const golden = "testdata/errors.txtar"
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	var sources []txtar.File
	for _, f := range archive.Files {
		if name, isWant := strings.CutSuffix(f.Name, ".want"); isWant {
			want[name] = string(f.Data)
		} else {
			sources = append(sources, f)
		}
	}
	dir := photoDirs(t)
	var updated []txtar.File
	for _, f := range sources {
		name := strings.TrimSuffix(f.Name, ".yaml")
		t.Run(name, func(t *testing.T) {
			source := strings.NewReplacer("$DIR", dir, "$LONG", strings.Repeat("x", 501)).Replace(string(f.Data))
			path := filepath.Join(dir, "config.yaml")
			write(t, path, source, 0o600)
			_, err := Load(path)
			if err == nil {
				t.Fatal("there is no error")
			}
			got := strings.NewReplacer(path, "config.yaml", dir, "$DIR", strings.Repeat("x", 501), "$LONG").Replace(err.Error()) + "\n"
			updated = append(updated, f, txtar.File{Name: name + ".want", Data: []byte(got)})
			if diff := cmp.Diff(want[name], got); diff != "" && !*update {
				t.Errorf("the message is another (-want +got):\n%s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(golden, txtar.Format(&txtar.Archive{Comment: archive.Comment, Files: updated}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// photoDirs makes a directory with what roots of tests are.
func photoDirs(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(dir, "photos", "inner"))
	mkdir(t, filepath.Join(dir, "photos2"))
	write(t, filepath.Join(dir, "file.jpg"), "not a directory", 0o600)
	if err := os.Symlink("photos", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	mkfifo(t, filepath.Join(dir, "fifo"))
	return dir
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// write makes a file with exactly the permissions given, whatever the umask.
func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no FIFOs here: %v", err)
	}
}
