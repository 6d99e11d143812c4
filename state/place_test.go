package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAFileGetsItsNameOnlyIfNothingHasIt(t *testing.T) {
	for name, give := range map[string]func(temp, path string) error{"in one step": publish, "in two": place} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			temp, path := filepath.Join(dir, "temp"), filepath.Join(dir, "path")
			for _, content := range []string{"first", "second"} {
				if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := give(temp, path); (err == nil) != (content == "first") || err != nil && !errors.Is(err, fs.ErrExist) {
					t.Errorf("of the %s: %v", content, err)
				}
				if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
					t.Errorf("it holds %q, %v", got, err)
				}
				if _, err := os.Lstat(temp); (err == nil) != (content == "second") {
					t.Errorf("the temporary name: %v", err)
				}
			}
		})
	}
}
