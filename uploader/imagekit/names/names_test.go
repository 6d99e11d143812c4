package names_test

import (
	"path"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

func TestKeepSendsNamesAsTheyAre(t *testing.T) {
	for local, want := range map[string]string{
		"my album/a b (1).jpg":       "/p/my album/a b (1).jpg",
		"v1.2/x & y+z, 100%#?.jpg":   "/p/v1.2/x & y+z, 100%#?.jpg",
		"Zu\u0308rich/e\u0301.jpg":   "/p/Zürich/é.jpg",
		"a\"b\\c.jpg":                "/p/a_b_c.jpg",
		"tab\there\x7f.jpg":          "/p/tab_here_.jpg",
		"\xff\xfe\uFFFD.jpg":         "/p/___.jpg",
		" begin/ end .jpg\u00a0":     "/p/_begin/_end .jpg_",
		"  ":                         "/p/__",
		".../....":                   "/p/___/____",
		".hidden/.x":                 "/p/.hidden/.x",
		"\U0001F469\u200D\U0001F680": "/p/\U0001F469\u200D\U0001F680",
	} {
		if got, err := names.Path("/p", local, names.Keep); got != want || err != nil {
			t.Errorf("%q became %q, %v; want %q", local, got, err, want)
		}
	}
	if got, err := names.Path("/p", strings.Repeat("d/", names.MaxDepth)+"x", names.Keep); err != names.ErrTooDeep {
		t.Errorf("a path too deep became %q, %v", got, err)
	}
}

// TestBothFormsHaveOneKey is what the reservation of remote paths rests on: whatever form
// of a name a library stores, and whatever part of it it changes, the key is the same.
func TestBothFormsHaveOneKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(
			rapid.StringOfN(rapid.SampledFrom([]rune("ab._- ()&%\"\\\t\u0308\u00a0éü🚀\uFFFD")), 1, 8, -1),
			rapid.StringMatching(`[^/\x00]{1,8}`),
			rapid.Map(rapid.SliceOfN(rapid.ByteRange(0x20, 0xff), 1, 8), func(b []byte) string { return strings.ReplaceAll(string(b), "/", "x") }),
		).Filter(func(s string) bool { return s != "." && s != ".." })
		local := strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), "/")
		folder := rapid.SampledFrom([]string{"/", "/photos", "/Zürich/日本-1_2"}).Draw(t, "folder")
		safe, err := names.Path(folder, local, names.Safe)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := names.Path(folder, local, names.Keep)
		if err != nil {
			t.Fatal(err)
		}
		if key := names.Key(kept); key != safe {
			t.Fatalf("%q is sent as %q, whose key is %q and not %q", local, kept, key, safe)
		}
		if key := names.Key(safe); key != safe {
			t.Fatalf("%q is not its own key, but %q", safe, key)
		}
		if key := names.FolderKey(path.Dir(kept)); key != path.Dir(safe) {
			t.Fatalf("the folder of %q has the key %q and not %q", kept, key, path.Dir(safe))
		}
		if got, want := names.Key(imagekit.Alternate(kept, local, 0)), imagekit.Alternate(safe, local, 0); got != want {
			t.Fatalf("the alternate of %q has the key %q and not %q", kept, got, want)
		}
		for _, name := range strings.Split(kept, "/")[1:] {
			if !utf8.ValidString(name) || !norm.NFC.IsNormalString(name) || name != strings.TrimSpace(name) || strings.Trim(name, ".") == "" ||
				strings.ContainsFunc(name, func(r rune) bool { return r == '"' || r == '\\' || r == utf8.RuneError || unicode.IsControl(r) }) {
				t.Fatalf("%q is sent as %q", local, kept)
			}
		}
		// A library that changes some of the characters only.
		some := []rune(kept)
		for i, r := range some {
			if r != '/' && !unicode.In(r, unicode.L, unicode.M, unicode.N) && r != '.' && r != '-' && rapid.Bool().Draw(t, "changed") {
				some[i] = '_'
			}
		}
		if key := names.Key(string(some)); key != safe {
			t.Fatalf("%q stored as %q has the key %q and not %q", kept, string(some), key, safe)
		}
	})
}
