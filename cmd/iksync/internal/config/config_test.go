//go:build unix

package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

// example returns config.example.yaml with its root at a directory that is there.
func example(t *testing.T, dir string) string {
	t.Helper()
	src, err := os.ReadFile("../../../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const path = "path: /srv/photos\n"
	if n := strings.Count(string(src), path); n != 1 {
		t.Fatalf("the example names its root's path %d times, not once", n)
	}
	return strings.Replace(string(src), path, "path: "+dir+"\n", 1)
}

// commentedKey is a line of the example that shows a key without a default;
// behind the "#" of an explanation there is a space.
var commentedKey = regexp.MustCompile(`(?m)^( *)#([^ \n].*)$|^( +)#(  .*)$`)

func uncommented(source string) string {
	source = strings.Replace(source, "    rules: []\n", "", 1) // its example follows
	return commentedKey.ReplaceAllString(source, "$1$2$3$4")
}

func load(t *testing.T, source string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, source, 0o600)
	return Load(path)
}

func mustLoad(t *testing.T, source string) *Config {
	t.Helper()
	cfg, err := load(t, source)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestTheExampleShowsTheDefaults: leaving out everything but the root changes nothing.
func TestTheExampleShowsTheDefaults(t *testing.T) {
	dir := photoDirs(t)
	shown := mustLoad(t, example(t, dir+"/photos"))
	bare := mustLoad(t, "roots: [{path: "+dir+"/photos, folder: /photos}]")

	const path = "2026/a.jpg"
	if diff := cmp.Diff(bare.Roots[0].Params(path), shown.Roots[0].Params(path), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the upload parameters are not the defaults (-default +example):\n%s", diff)
	}
	for _, cfg := range []*Config{shown, bare} {
		cfg.Roots[0].upload, cfg.Roots[0].rules, cfg.Roots[0].written = Upload{}, nil, documentRoot{} // compared by what they lead to
	}
	if !reflect.DeepEqual(shown, bare) {
		t.Errorf("the example is\n%+v\nand the defaults are\n%+v", shown, bare)
	}
}

// TestTheExampleFailsOnlyForItsRoot: copied as it is, it asks for nothing but a directory.
func TestTheExampleFailsOnlyForItsRoot(t *testing.T) {
	dir := photoDirs(t)
	_, err := load(t, example(t, dir+"/missing"))
	if err == nil {
		t.Fatal("there is no error")
	}
	if n := strings.Count(err.Error(), "config.yaml: ["); n != 1 || !strings.Contains(err.Error(), "the directory can't be reached") {
		t.Errorf("want one problem, the missing directory; got:\n%v", err)
	}
}

// TestTheExamplesCommentedKeysAreGood: taking the "#" away works, and gives
// exactly what stands there.
func TestTheExamplesCommentedKeysAreGood(t *testing.T) {
	dir := photoDirs(t)
	cfg := mustLoad(t, uncommented(example(t, dir+"/photos")))
	if cfg.KeyFile != "/etc/iksync/private_key" || cfg.State != "/var/lib/iksync/iksync.db" {
		t.Errorf("key file %q, state %q", cfg.KeyFile, cfg.State)
	}
	limits, _ := PlanLimits("pro")
	if cfg.Limits != limits {
		t.Errorf("the limits shown are %+v; those of pro are %+v", cfg.Limits, limits)
	}
	p := cfg.Roots[0].Params("private/a.jpg")
	if !*p.IsPrivateFile || !reflect.DeepEqual(p.Tags, []string{"family"}) {
		t.Errorf("the rule for private/** gives private %t, tags %q", *p.IsPrivateFile, p.Tags)
	}
	want := imagekit.Params{
		CustomMetadata:    []byte(`{"photographer":"Ann Example","year":2026}`),
		CustomCoordinates: "10,10,200,150",
		Extensions:        []byte(`[{"maxTags":5,"minConfidence":95,"name":"google-auto-tagging"}]`),
		WebhookURL:        "https://www.example.com/hooks/imagekit",
		Transformation:    []byte(`{"pre":"w-4000,h-4000,c-at_max"}`),
		Checks:            `"file.size" < "20mb"`,
		Description:       "From the studio's archive",
		ResponseFields:    []string{"metadata"},
	}
	got := imagekit.Params{
		CustomMetadata: p.CustomMetadata, CustomCoordinates: p.CustomCoordinates, Extensions: p.Extensions, WebhookURL: p.WebhookURL,
		Transformation: p.Transformation, Checks: p.Checks, Description: p.Description, ResponseFields: p.ResponseFields,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the parameters are others (-want +got):\n%s", diff)
	}
}

// TestTheExampleHasEveryKey: what can be configured can be found there.
func TestTheExampleHasEveryKey(t *testing.T) {
	var written any
	if err := yaml.Unmarshal([]byte(uncommented(example(t, "/srv"))), &written); err != nil {
		t.Fatal(err)
	}
	for _, missing := range missingKeys(reflect.TypeFor[document](), written, "") {
		// A rule has the same upload parameters as a root, shown there.
		if !strings.HasPrefix(missing, "roots.rules.upload.") {
			t.Errorf("%s is not in the example", missing)
		}
	}
}

// missingKeys names the keys of a type that a document lacks.
func missingKeys(t reflect.Type, written any, at string) []string {
	for t.Kind() == reflect.Slice {
		list, ok := written.([]any)
		if !ok || len(list) == 0 {
			return nil // a list of words
		}
		t, written = t.Elem(), list[0]
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	keys, _ := written.(map[string]any)
	var missing []string
	for f := range t.Fields() {
		key := f.Tag.Get("yaml")
		if value, ok := keys[key]; ok {
			missing = append(missing, missingKeys(f.Type, value, at+key+".")...)
		} else {
			missing = append(missing, at+key)
		}
	}
	return missing
}

func TestLoad(t *testing.T) {
	dir := photoDirs(t)
	root := "roots: [{path: " + dir + "/photos, folder: /photos}]\n"
	for name, test := range map[string]struct {
		source string
		check  func(*Config) bool
	}{
		"a plan sets the limits": {
			"limits: {plan: free}\n" + root,
			func(c *Config) bool {
				return c.Limits == watcher.Limits{Image: 25 << 20, Video: 100 << 20, Other: 25 << 20}
			},
		},
		"a limit overrides the plan's and leaves the others": {
			"limits: {plan: lite, image: 1kB}\n" + root,
			func(c *Config) bool {
				return c.Limits == watcher.Limits{Image: 1000, Video: 300 << 20, Other: 40 << 20}
			},
		},
		"a limit may be a plain number of bytes": {
			"limits: {other: 4096}\n" + root,
			func(c *Config) bool { return c.Limits.Other == 4096 },
		},
		"a folder loses slashes that say nothing": {
			"roots: [{path: " + dir + "/photos, folder: photos//2026/}]\n",
			func(c *Config) bool { return c.Roots[0].Folder == "/photos/2026" },
		},
		"a folder may be the top": {
			"roots: [{path: " + dir + "/photos, folder: /}]\n",
			func(c *Config) bool { return c.Roots[0].Folder == "/" },
		},
		"a root's symlinks are resolved": {
			"roots: [{path: " + dir + "/link, folder: /photos}]\n",
			func(c *Config) bool { return c.Roots[0].Path == dir+"/photos" },
		},
		"a root may begin with the name of another": {
			"roots: [{path: " + dir + "/photos, folder: /a}, {path: " + dir + "/photos2, folder: /b}]\n",
			func(c *Config) bool { return len(c.Roots) == 2 },
		},
		"two roots may share a folder": {
			"roots: [{path: " + dir + "/photos, folder: /a}, {path: " + dir + "/photos2, folder: /a}]\n",
			func(c *Config) bool { return c.Roots[1].Folder == "/a" },
		},
		"anchors, aliases and merges hold": {
			"roots:\n  - path: " + dir + "/photos\n    folder: &here /a\n    upload: &usual {tags: [one], private: true}\n" +
				"  - path: " + dir + "/photos2\n    folder: *here\n    upload: {<<: *usual, private: false}\n",
			func(c *Config) bool {
				p := c.Roots[1].Params("x.jpg")
				return c.Roots[1].Folder == "/a" && reflect.DeepEqual(p.Tags, []string{"one"}) && !*p.IsPrivateFile
			},
		},
		"a local endpoint may do without TLS": {
			"imagekit: {upload_url: 'http://localhost:1/u', api_url: 'http://[::1]:1/v1'}\n" + root,
			func(c *Config) bool { return c.UploadURL == "http://localhost:1/u" && c.APIURL == "http://[::1]:1/v1" },
		},
		"a byte order mark and Windows line ends are taken": {
			"\ufeffworkers: 3\r\n" + strings.ReplaceAll(root, "\n", "\r\n"),
			func(c *Config) bool { return c.Workers == 3 },
		},
		"rates may be whole and broken numbers": {
			"imagekit: {reads_per_second: 1000, writes_per_second: 0.5}\n" + root,
			func(c *Config) bool { return c.ReadsPerSecond == 1000 && c.WritesPerSecond == 0.5 },
		},
		"one rate leaves the other": {
			"imagekit: {writes_per_second: 1}\n" + root,
			func(c *Config) bool { return c.ReadsPerSecond == 20 && c.WritesPerSecond == 1 },
		},
		"nested metadata becomes JSON": {
			"roots: [{path: " + dir + "/photos, folder: /a, upload: {custom_metadata: {a: {b: [1, true, null]}}}}]\n",
			func(c *Config) bool {
				return string(c.Roots[0].Params("x").CustomMetadata) == `{"a":{"b":[1,true,null]}}`
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if cfg := mustLoad(t, test.source); !test.check(cfg) {
				t.Errorf("it is read as %+v", cfg)
			}
		})
	}
}

// defaultRemoval is what holds for a root unless it is said otherwise.
func defaultRemoval() uploader.Removal {
	return uploader.Removal{After: 24 * time.Hour, MaxFiles: 100, MaxShare: 0.10, TrashFolder: "/iksync-trash"}
}

func TestRemoval(t *testing.T) {
	dir := photoDirs(t)
	for name, test := range map[string]struct {
		folder, keys string
		change       func(*uploader.Removal) // of the defaults
	}{
		"without keys the defaults hold": {"/photos", "", func(*uploader.Removal) {}},
		"empty keys are the defaults": {
			"/photos", `delete: "", filtered: "", delete_after: "", max_delete: "", trash_folder: ""`, func(*uploader.Removal) {}},
		"keep is kept": {"/photos", "delete: keep, filtered: keep", func(*uploader.Removal) {}},
		"files that are gone may go to the trash and filtered ones be deleted": {
			"/photos", "delete: trash, filtered: delete",
			func(r *uploader.Removal) { r.Gone, r.Filtered = uploader.Trash, uploader.Delete }},
		"files that are gone may be deleted and filtered ones go to the trash": {
			"/photos", "delete: delete, filtered: trash",
			func(r *uploader.Removal) { r.Gone, r.Filtered = uploader.Delete, uploader.Trash }},
		"a removal may wait for days": {
			"/photos", "delete_after: 7d", func(r *uploader.Removal) { r.After = 7 * 24 * time.Hour }},
		"folders that are empty may go": {
			"/photos", "delete: delete, empty_folders: remove", func(r *uploader.Removal) { r.Gone, r.EmptyFolders = uploader.Delete, uploader.RemoveEmpty }},
		"a removal may wait for nothing":            {"/photos", "delete_after: 0s", func(r *uploader.Removal) { r.After = 0 }},
		"a bound may be files alone":                {"/photos", "max_delete: 1", func(r *uploader.Removal) { r.MaxFiles, r.MaxShare = 1, 0 }},
		"a bound may be a share alone":              {"/photos", "max_delete: 25%", func(r *uploader.Removal) { r.MaxFiles, r.MaxShare = 0, 0.25 }},
		"a share may be all":                        {"/photos", "max_delete: 100%", func(r *uploader.Removal) { r.MaxFiles, r.MaxShare = 0, 1 }},
		"a share may be a part of one in a hundred": {"/photos", "max_delete: 0.5 %", func(r *uploader.Removal) { r.MaxFiles, r.MaxShare = 0, 0.005 }},
		"a bound may be both, with or without blanks": {
			"/photos", `max_delete: " 5000 ,2% "`, func(r *uploader.Removal) { r.MaxFiles, r.MaxShare = 5000, 0.02 }},
		"a trash folder loses slashes that say nothing": {
			"/photos", "trash_folder: bin//old/", func(r *uploader.Removal) { r.TrashFolder = "/bin/old" }},
		"a trash may lie inside the root's folder": {
			"/photos", "delete: trash, trash_folder: /photos/trash",
			func(r *uploader.Removal) { r.Gone, r.TrashFolder = uploader.Trash, "/photos/trash" }},
		"a trash lies inside the top": {"/", "delete: trash", func(r *uploader.Removal) { r.Gone = uploader.Trash }},
		"a folder may begin with the trash's name": {
			"/iksync-trash2", "delete: trash", func(r *uploader.Removal) { r.Gone = uploader.Trash }},
		"a default trash that nobody uses is in nobody's way": {"/iksync-trash/old", "delete: delete",
			func(r *uploader.Removal) { r.Gone = uploader.Delete }},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaultRemoval()
			test.change(&want)
			cfg := mustLoad(t, "roots: [{path: "+dir+"/photos, folder: "+test.folder+", "+test.keys+"}]\n")
			if diff := cmp.Diff(want, cfg.Roots[0].Removal); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMaxDelete(t *testing.T) {
	for _, bad := range []string{
		"", " ", "0", "-1", "+1", "1.5", "1e3", "many", "9223372036854775808", "%", "0%", "-1%", "100.1%", "NaN%", "Inf%", "1e-323%", "10%%",
		",", "100,", ", 10%", "100, 10", "10%, 100", "10%, 10%", "0, 10%", "100, 0%", "100, 10%, 1", "100 10%", "none",
	} {
		t.Run(bad, func(t *testing.T) {
			if files, share, ok := maxDelete(bad); ok || files != 0 || share != 0 {
				t.Errorf("it is read as %d files, a share of %v, %t", files, share, ok)
			}
		})
	}
}

func TestDuplicates(t *testing.T) {
	dir := photoDirs(t)
	for name, test := range map[string]struct {
		keys string
		want uploader.Duplicates
	}{
		"without the key they are uploaded": {"", uploader.UploadDuplicates},
		"they may be uploaded":              {"duplicates: upload", uploader.UploadDuplicates},
		"they may be copied":                {"duplicates: copy", uploader.CopyDuplicates},
		"they may be skipped":               {"duplicates: skip", uploader.SkipDuplicates},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, "roots: [{path: "+dir+"/photos, folder: /photos, "+test.keys+"}]\n")
			if got := cfg.Roots[0].Duplicates; got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestNames(t *testing.T) {
	dir := photoDirs(t)
	for keys, want := range map[string]string{"": "/photos/a_b.jpg", "names: safe": "/photos/a_b.jpg", "names: keep": "/photos/a b.jpg"} {
		cfg := mustLoad(t, "roots: [{path: "+dir+"/photos, folder: /photos, "+keys+"}]\n")
		if got, err := cfg.Roots[0].RemotePath("a b.jpg"); got != want || err != nil {
			t.Errorf("with %q a b.jpg goes to %q (%v), not %q", keys, got, err, want)
		}
	}
}

// TestFlagsHaveTheDefaultsOfAConfiguration: what no flag says is the same as in a file.
func TestFlagsHaveTheDefaultsOfAConfiguration(t *testing.T) {
	dir := photoDirs(t)
	for _, folder := range []string{"/photos", "/iksync-trash/2026-01-01"} {
		t.Run(folder, func(t *testing.T) {
			cfg, err := (&AdHoc{Path: dir + "/photos", Folder: folder}).Config()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(defaultRemoval(), cfg.Roots[0].Removal); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if cfg.Roots[0].Duplicates != uploader.UploadDuplicates || cfg.ReadsPerSecond != 20 || cfg.WritesPerSecond != 5 {
				t.Errorf("duplicates %s, %v reads and %v writes per second", cfg.Roots[0].Duplicates, cfg.ReadsPerSecond, cfg.WritesPerSecond)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	dir := photoDirs(t)
	root := func(keys string) string {
		return "roots: [{path: " + dir + "/photos, folder: /photos, " + keys + "}]\n"
	}
	changed := func(keys string) []string { return []string{"root changed: " + dir + "/photos (" + keys + ")"} }
	for name, test := range map[string]struct {
		source string
		want   []string
	}{
		"defaults that are written out are no change": {
			"imagekit: {reads_per_second: 20.0, writes_per_second: 5}\nlog: {format: auto}\n" +
				root("delete: keep, filtered: keep, delete_after: 1d, max_delete: '100,10%', empty_folders: keep, trash_folder: iksync-trash, duplicates: upload, names: safe"), nil},
		"rates are told": {
			"imagekit: {reads_per_second: 0.5, writes_per_second: 6}\n" + root(""),
			[]string{"imagekit.reads_per_second: 20 -> 0.5", "imagekit.writes_per_second: 5 -> 6"}},
		"the log's format is told":                    {"log: {format: json}\n" + root(""), []string{"log.format: auto -> json"}},
		"what becomes of files that are gone is told": {root("delete: trash"), changed("delete")},
		"what becomes of filtered files is told":      {root("filtered: delete"), changed("filtered")},
		"the time until a removal is told":            {root("delete_after: 1h"), changed("delete_after")},
		"the bound of removals is told":               {root("max_delete: 100"), changed("max_delete")},
		"what becomes of empty folders is told":       {root("empty_folders: remove"), changed("empty_folders")},
		"the trash folder is told":                    {root("trash_folder: /trash"), changed("trash_folder")},
		"what is done with duplicates is told":        {root("duplicates: skip"), changed("duplicates")},
		"how names are sent is told":                  {root("names: keep"), changed("names")},
		"each key of a root is told":                  {root("exclude: ['*.psd'], min_age: 10m, junk: true, rules: [{match: a, upload: {tags: [b]}}], upload: {private: true}"), changed("exclude, junk, min_age, upload, rules")},
		"keys that mean the defaults are no change":   {root("junk: true, symlinks: skip, min_size: 0B"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustLoad(t, root("")).Diff(mustLoad(t, test.source))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadRefusesWhatIsNoText(t *testing.T) {
	dir := photoDirs(t)
	for name, test := range map[string]struct{ source, want string }{
		"a file that is not UTF-8":     {"workers: 4 # caf\xe9\nroots: [{path: " + dir + "/photos, folder: /a}]\n", "[1:17] it is not UTF-8"},
		"a picture in its place":       {"\xff\xd8\xff\xe0\x00\x10JFIF", "[1:1] it is not UTF-8"},
		"a file of UTF-16":             {"\xff\xfew\x00o\x00r\x00k\x00", "[1:1] it is not UTF-8"},
		"a folder of another encoding": {"roots:\n  - path: " + dir + "/photos\n    folder: /caf\xe9\n", "[3:17] it is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.source)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want an error with %q, got %v", test.want, err)
			}
		})
	}
}

func TestLoadNamesAFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"a missing file": filepath.Join(dir, "missing.yaml"), "a directory": dir} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(path)
			if err == nil || !strings.HasPrefix(err.Error(), "read the configuration: ") || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestLaterRulesWin: rules are laid over the root's parameters in their order.
func TestLaterRulesWin(t *testing.T) {
	dir := photoDirs(t)
	cfg := mustLoad(t, `
roots:
  - path: `+dir+`/photos
    folder: /photos
    upload:
      tags: [all]
      private: true
      description: usual
      overwrite_tags: true
    rules:
      - match: "*.jpg"
        upload: {tags: [jpeg, photo], description: picture}
      - match: "public/**"
        upload: {private: false}
      - match: "public/untagged/"
        upload: {tags: [], description: ""}
      - match: "/cover.jpg"
        upload: {tags: [cover], custom_metadata: {front: true}}
`)
	type params struct {
		Tags        []string
		Private     bool
		Description string
		Metadata    string
	}
	for name, test := range map[string]struct {
		path string
		want params
	}{
		"what no rule matches has the root's":   {"notes.txt", params{[]string{"all"}, true, "usual", ""}},
		"tags are replaced, not added to":       {"2026/a.jpg", params{[]string{"jpeg", "photo"}, true, "picture", ""}},
		"false overrides true":                  {"public/a.png", params{[]string{"all"}, false, "usual", ""}},
		"rules that match together add up":      {"public/a.jpg", params{[]string{"jpeg", "photo"}, false, "picture", ""}},
		"what is empty takes away":              {"public/untagged/a.jpg", params{[]string{}, false, "", ""}},
		"the last rule wins":                    {"cover.jpg", params{[]string{"cover"}, true, "picture", `{"front":true}`}},
		"a pattern with a slash is for the top": {"2026/cover.jpg", params{[]string{"jpeg", "photo"}, true, "picture", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			p := cfg.Roots[0].Params(test.path)
			got := params{p.Tags, *p.IsPrivateFile, p.Description, string(p.CustomMetadata)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if *p.UseUniqueFileName || *p.OverwriteAITags || *p.OverwriteCustomMetadata || !*p.OverwriteTags {
				t.Errorf("the defaults are lost: %+v", p)
			}
		})
	}
}

func TestInside(t *testing.T) {
	for name, test := range map[string]struct {
		path, dir string
		want      bool
	}{
		"a directory is inside itself":             {"/a", "/a", true},
		"a file is inside its directory":           {"/a/b", "/a", true},
		"a longer name is not inside":              {"/ab", "/a", false},
		"a directory is not inside what is in it":  {"/a", "/a/b", false},
		"everything is inside the file system":     {"/a", "/", true},
		"the file system is inside itself and all": {"/", "/", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Inside(test.path, test.dir); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
