//go:build unix

package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"iksync/uploader"
)

// written reads a draft back through the file that it becomes.
func (d *Draft) written(t *testing.T, change func(string) string) *Config {
	t.Helper()
	text, err := d.Text()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		text = change(text)
	}
	return mustLoad(t, text)
}

// same compares two configurations by what they lead to.
func same(t *testing.T, got, want *Config) {
	t.Helper()
	if got, want := got.Roots[0].Params("a.jpg"), want.Roots[0].Params("a.jpg"); len(got.Tags)+len(want.Tags) > 0 {
		t.Errorf("there are tags: %+v, %+v", got, want)
	}
	for _, cfg := range []*Config{got, want} {
		cfg.Roots[0].upload, cfg.Roots[0].rules, cfg.Roots[0].written = Upload{}, nil, documentRoot{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it is read as\n%+v\nand should be\n%+v", got, want)
	}
}

// TestADraftMeansWhatWasAskedFor: and beside that the defaults, also where their
// lines are taken for true.
func TestADraftMeansWhatWasAskedFor(t *testing.T) {
	dir := photoDirs(t)
	d := Draft{Root: dir + "/photos", Folder: "/photos", State: "/var/lib/iksync/iksync.db"}
	bare := "roots: [{path: " + dir + "/photos, folder: /photos}]\nstate: /var/lib/iksync/iksync.db\n"
	same(t, d.written(t, nil), mustLoad(t, bare))

	shown := d.written(t, func(text string) string {
		if bad := uncommented(text); strings.Contains(bad, "\n#private") || strings.Contains(bad, "#workers") {
			t.Fatalf("not all is uncommented:\n%s", bad)
		}
		return uncommented(text)
	})
	if shown.KeyFile != "/etc/iksync/private_key" {
		t.Errorf("the key file is %q", shown.KeyFile)
	}
	shown.KeyFile = ""
	same(t, shown, mustLoad(t, bare))

	d.KeyFile, d.Plan, d.Delete, d.Page = "/etc/iksync/private_key", "free", "trash", "127.0.0.1:7711"
	got := d.written(t, nil)
	same(t, got, mustLoad(t, "imagekit: {private_key_file: /etc/iksync/private_key}\nlimits: {plan: free}\nhttp: 127.0.0.1:7711\nstate: /var/lib/iksync/iksync.db\n"+
		"roots: [{path: "+dir+"/photos, folder: /photos, delete: trash}]\n"))
	if got.Roots[0].Removal.Gone != uploader.Trash || got.Page.Addr != "127.0.0.1:7711" {
		t.Errorf("it is read as %+v", got)
	}
}

// TestADraftTakesAnyPath: whatever it is called, it is read as it is.
func TestADraftTakesAnyPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := func(what string) string {
			odd := rapid.SampledFrom([]rune("/ :#'\"\\{}[]&*!|>%@`-?,\t\n\r\x00\x1b\x7f\u0085\u2028\ufeff~.é漢😀"))
			name := rapid.StringOf(rapid.OneOf(rapid.Rune(), odd)).Filter(utf8.ValidString).Draw(t, what)
			return filepath.Clean("/" + name)
		}
		d := Draft{Root: path("root"), Folder: "/photos", KeyFile: path("key file"), State: path("state")}
		cfg, err := d.Config("config.yaml")
		if err != nil {
			if strings.Contains(err.Error(), "is not a directory") || strings.Contains(err.Error(), "can't be read") {
				return // this machine has such a file
			}
			t.Fatal(err)
		}
		if got := cfg.Roots[0].Path; got != d.Root && elsewhere(got, d.Root) || cfg.KeyFile != d.KeyFile || cfg.State != d.State {
			t.Errorf("%+v is read as root %q, key file %q, state %q", d, got, cfg.KeyFile, cfg.State)
		}
	})
	d := Draft{Root: "/srv/caf\xe9", Folder: "/photos", State: "/s"}
	if _, err := d.Config("config.yaml"); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("a path that YAML has no form for: %v", err)
	}
}

// elsewhere reports whether got is not what the symlinks of this machine make of want.
func elsewhere(got, want string) bool {
	real, err := filepath.EvalSymlinks(want)
	return err != nil || real != got
}
