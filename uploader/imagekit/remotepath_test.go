package imagekit_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestALocalPathBecomesANameThatImageKitKeeps(t *testing.T) {
	for name, test := range map[string]struct{ folder, local, want string }{
		"a plain name stays":                          {"/photos", "a.jpg", "/photos/a.jpg"},
		"folders stay":                                {"/photos", "2026/summer_1/a-b.JPG", "/photos/2026/summer_1/a-b.JPG"},
		"the root is a folder":                        {"/", "a.jpg", "/a.jpg"},
		"no folder is the root":                       {"", "d/a.jpg", "/d/a.jpg"},
		"a folder needs no slashes around it":         {"photos/x/", "a.jpg", "/photos/x/a.jpg"},
		"spaces and signs become _":                   {"/", "my (1) photo+&%,#?.jpg", "/my__1__photo______.jpg"},
		"quotes and control characters become _":      {"/", "a\"b'c\\d\r\n\te.jpg", "/a_b_c_d___e.jpg"},
		"dots stay in files only":                     {"/", "v1.2/a.b.c.jpg", "/v1_2/a.b.c.jpg"},
		"a hidden file stays hidden":                  {"/", ".hidden/.a.jpg", "/_hidden/.a.jpg"},
		"a file of dots has none":                     {"/", "d/...", "/d/___"},
		"a file of one dot has none":                  {"/", ".", "/_"},
		"no folder leads upwards":                     {"/photos", "../../etc/passwd", "/photos/__/__/etc/passwd"},
		"no file leads upwards":                       {"/photos", "..", "/photos/__"},
		"a folder of one dot is a name":               {"/photos", "./a", "/photos/_/a"},
		"doubled slashes are one":                     {"/photos", "a//b.jpg", "/photos/a/b.jpg"},
		"letters of every script stay":                {"/", "Zürich/日本語/фото/صورة.jpg", "/Zürich/日本語/фото/صورة.jpg"},
		"numbers of every script stay":                {"/", "١٢٣-Ⅷ-½-²", "/١٢٣-Ⅷ-½-²"},
		"NFD becomes NFC":                             {"/", "Zu\u0308rich/e\u0301.jpg", "/Zürich/é.jpg"},
		"Hangul is composed":                          {"/", "\u1112\u1161\u11ab.jpg", "/한.jpg"},
		"marks that compose with nothing stay":        {"/", "q\u0323.jpg", "/q\u0323.jpg"},
		"a mark at the start stays":                   {"/", "\u0301.jpg", "/\u0301.jpg"},
		"an emoji becomes _ for each character":       {"/", "👩\u200d👧.jpg", "/___.jpg"},
		"a sign with a mark that composes is one _":   {"/", "<\u0338.jpg", "/_.jpg"},
		"a sign with a mark that does not keeps it":   {"/", "!\u0301.jpg", "/_\u0301.jpg"},
		"each byte that is not UTF-8 becomes _":       {"/", "a\xff\xfe\xc3.jpg", "/a___.jpg"},
		"a bad byte does not join what it parts":      {"/", "e\xff\u0301.jpg", "/e_\u0301.jpg"},
		"the replacement character becomes _":         {"/", "\ufffd.jpg", "/_.jpg"},
		"the byte order mark and invisibles become _": {"/", "\ufeffa\u00adb\u200ec.jpg", "/_a_b_c.jpg"},
		"the Kelvin sign is a K, as in NFC":           {"/", "5\u212a.jpg", "/5K.jpg"},
		"what looks like a slash or a dot becomes _":  {"/", "a\u2215b\uff0fc\u2024d.jpg", "/a_b_c_d.jpg"},
		"a NUL becomes _":                             {"/", "a\x00b", "/a_b"},
		"a name of 255 bytes keeps its length":        {"/", strings.Repeat("é", 125) + ".jpeg", "/" + strings.Repeat("é", 125) + ".jpeg"},
		"50 folders are taken":                        {"/a", strings.Repeat("d/", 49) + "x", "/a/" + strings.Repeat("d/", 49) + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := imagekit.RemotePath(test.folder, test.local); got != test.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestAPathThatCantBeRemoteIsRefused(t *testing.T) {
	for _, local := range []string{"", "/", "/etc/passwd", "d/"} {
		if got, err := imagekit.RemotePath("/", local); err == nil {
			t.Errorf("%q became %q", local, got)
		}
	}
	for _, deep := range []struct{ folder, local string }{{"/", strings.Repeat("d/", 51) + "x"}, {"/a", strings.Repeat("d/", 50) + "x"}} {
		if got, err := imagekit.RemotePath(deep.folder, deep.local); !errors.Is(err, imagekit.ErrTooDeep) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// localName draws one name as a disk can have it.
func localName() *rapid.Generator[string] {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{"a", "B", "7", "_", "-", ".", "..", " ", ".jpg", ".tar.gz", "é", "e\u0301", "\u0301", "\u0323", "\u0338", "<", "=", "日本", "ｶ", "\uff9e", "한", "\u1112", "\u1161", "\u11ab",
			"👩‍👩‍👧", "🇨🇭", "☀️", "\u200d", "\u00ad", "\ufeff", "\ufffd", "\xff", "\xc3", "\xed\xa0\x80", "\xf0\x9f", "%2F", "\\", `"`, "'", "\r", "\n", "\x7f", "\u0085", "½", "Ⅷ", "ß", "İ", "ſ", "\u212a", "\u0344", "\u0f73", "अ\u094d", "\U0001d15e",
			strings.Repeat("\u0301", 40)}),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 8), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.IntRange(1, 255), func(n int) string { return strings.Repeat("x", n) }),
	)
	return rapid.Map(rapid.SliceOfN(piece, 1, 8), func(pieces []string) string {
		name := strings.NewReplacer("/", "", "\x00", "").Replace(strings.Join(pieces, ""))
		name = name[:min(len(name), 255)]
		if name == "" || name == "." || name == ".." {
			return "a"
		}
		return name
	})
}

func localPath() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(localName(), 1, 5), func(names []string) string { return strings.Join(names, "/") })
}

// cleanFolder draws what CleanFolder gives.
func cleanFolder() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"/", "/photos", "/photos/2026", "/Zürich/日本-1_2"})
}

// keeps checks a remote path against the alphabet that ImageKit documents.
func keeps(t rapid.TB, remote string) {
	if !utf8.ValidString(remote) || !norm.NFC.IsNormalString(remote) {
		t.Fatalf("%q is not UTF-8 in NFC", remote)
	}
	names := strings.Split(remote, "/")
	if names[0] != "" || len(names) < 2 {
		t.Fatalf("%q does not start with /", remote)
	}
	for i, name := range names[1:] {
		file := i == len(names)-2
		if name == "" || strings.Trim(name, ".") == "" {
			t.Fatalf("%q has the segment %q", remote, name)
		}
		for _, r := range name {
			switch {
			case r == '_', r == '-', r == '.' && file, unicode.IsLetter(r), unicode.IsMark(r), unicode.IsNumber(r):
			default:
				t.Fatalf("%q has %q", remote, r)
			}
		}
	}
}

// checkRemotePath checks what RemotePath promises of any path.
func checkRemotePath(t rapid.TB, folder, local string) {
	remote, err := imagekit.RemotePath(folder, local)
	if err != nil {
		if local != "" && local[0] != '/' && !strings.HasSuffix(local, "/") && !errors.Is(err, imagekit.ErrTooDeep) {
			t.Fatalf("%q: %v", local, err)
		}
		return
	}
	if again, _ := imagekit.RemotePath(folder, local); again != remote {
		t.Fatalf("%q became %q, then %q", local, remote, again)
	}
	keeps(t, remote)
	if !strings.HasPrefix(remote, strings.TrimSuffix(folder, "/")+"/") {
		t.Fatalf("%q is not in %q", remote, folder)
	}
	own := strings.TrimPrefix(remote, strings.TrimSuffix(folder, "/")+"/")
	if again, err := imagekit.RemotePath(folder, own); err != nil || again != remote {
		t.Fatalf("%q became %q, and that %q, %v", local, remote, again, err)
	}
	if err := imagekit.CheckName(path.Base(remote)); err != nil {
		t.Fatal(err)
	}
	if clean, err := imagekit.CleanFolder(path.Dir(remote)); err != nil || clean != path.Dir(remote) {
		t.Fatalf("the folder of %q: %q, %v", remote, clean, err)
	}
	seen := map[string]bool{remote: true}
	for n := range 4 {
		other := imagekit.Alternate(remote, local, n)
		if seen[other] || other != imagekit.Alternate(remote, local, n) {
			t.Fatalf("alternate %d of %q is %q", n, remote, other)
		}
		seen[other] = true
		keeps(t, other)
		if path.Dir(other) != path.Dir(remote) {
			t.Fatalf("%q left the folder of %q", other, remote)
		}
		if ext := path.Ext(remote); ext != path.Base(remote) && path.Ext(other) != ext {
			t.Fatalf("%q has not the extension of %q", other, remote)
		}
	}
}

func TestEveryLocalPathBecomesAPathInTheAlphabet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkRemotePath(t, cleanFolder().Draw(t, "folder"), localPath().Draw(t, "local"))
	})
}

func TestTheEmulatorKeepsEveryRemotePath(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{VersionLimit: 1 << 20})
	rapid.Check(t, func(rt *rapid.T) {
		folder := cleanFolder().Draw(rt, "folder")
		for range 3 {
			local := localPath().Draw(rt, "local")
			remote, err := imagekit.RemotePath(folder, local)
			if err != nil {
				rt.Fatal(err)
			}
			for _, remote := range []string{remote, imagekit.Alternate(remote, local, 0)} {
				asset, err := c.Upload(t.Context(), bytesUpload(remote, local))
				if err != nil {
					rt.Fatalf("%q: %v", remote, err)
				}
				if asset.FilePath != remote || asset.Name != path.Base(remote) {
					rt.Fatalf("%q came back as %q", remote, asset.FilePath)
				}
				found, err := c.Find(t.Context(), remote)
				if err != nil || found == nil || found.FileID != asset.FileID {
					rt.Fatalf("%q was not found: %+v, %v", remote, found, err)
				}
			}
		}
	})
	if len(s.Assets()) == 0 {
		t.Error("nothing was uploaded")
	}
}

func TestAnAlternateHasItsMarkBeforeTheExtension(t *testing.T) {
	for remote, want := range map[string]string{
		"/a/b.jpg":    "/a/b-%s.jpg",
		"/a/b.tar.gz": "/a/b.tar-%s.gz",
		"/a/b":        "/a/b-%s",
		"/a/.hidden":  "/a/.hidden-%s",
		"/a/b.":       "/a/b-%s.",
		"/a_b/c":      "/a_b/c-%s",
		"/日本.jpg":     "/日本-%s.jpg",
	} {
		got := imagekit.Alternate(remote, "local", 0)
		var mark string
		if before, after, _ := strings.Cut(want, "%s"); strings.HasPrefix(got, before) && strings.HasSuffix(got, after) {
			mark = got[len(before) : len(got)-len(after)]
		}
		if len(mark) != 8 || strings.Trim(mark, "0123456789abcdef") != "" {
			t.Errorf("%q: %q", remote, got)
		}
		if other := imagekit.Alternate(remote, "another", 0); other == got {
			t.Errorf("two local paths have the alternate %q", got)
		}
	}
}

func TestAFolderIsCleanOrRefused(t *testing.T) {
	for folder, want := range map[string]string{
		"": "/", "/": "/", "///": "/", "a": "/a", "/a/": "/a", "a//b": "/a/b", "/Zürich/日本-1_2/": "/Zürich/日本-1_2",
		strings.Repeat("/d", 50): strings.Repeat("/d", 50),
	} {
		if got, err := imagekit.CleanFolder(folder); got != want || err != nil {
			t.Errorf("%q: %q, %v", folder, got, err)
		}
	}
	for _, folder := range []string{"a b", "/a/../b", "..", ".", "/a/./b", "v1.2", "Zu\u0308rich", "a\\b", "a\xff", "/a/\n", "😀"} {
		if got, err := imagekit.CleanFolder(folder); err == nil || got != "" {
			t.Errorf("%q: %q, %v", folder, got, err)
		}
	}
	if _, err := imagekit.CleanFolder(strings.Repeat("/d", 51)); !errors.Is(err, imagekit.ErrTooDeep) {
		t.Error(err)
	}
}

func TestANameThatImageKitWouldChangeIsRefused(t *testing.T) {
	for name, good := range map[string]bool{
		"a.jpg": true, "日本.jpg": true, ".a": true, "a-b_c.1": true,
		"": false, "a b": false, "a/b": false, "e\u0301": false, "\xff": false, ".": false, "..": false, "...": false,
	} {
		if err := imagekit.CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzRemotePath(f *testing.F) {
	for _, local := range []string{"a.jpg", "d/e.f/g", "..", "../..", "a//b", "/x", "", "x/", "e\u0301/\xff.\u0338", "👩‍👩‍👧", strings.Repeat("\u0301", 70), strings.Repeat("d/", 60) + "x", "a\x00b"} {
		f.Add("/", local)
		f.Add("/photos/日本", local)
	}
	f.Fuzz(func(t *testing.T, folder, local string) {
		clean, err := imagekit.CleanFolder(folder)
		if err != nil {
			return
		}
		checkRemotePath(t, clean, local)
	})
}

// mayMeet tells by RemotePath's documentation alone whether two local paths are
// one in the library: name by name the same characters, but for those that
// become "_".
func mayMeet(a, b string) bool {
	as, bs := namesOf(a), namesOf(b)
	return slices.EqualFunc(as, bs, func(a, b []rune) bool { return string(a) == string(b) })
}

// namesOf parts a path into its names as the library can tell them apart.
func namesOf(local string) (names [][]rune) {
	parts := strings.Split(local, "/")
	for i, part := range parts {
		file := i == len(parts)-1
		if part == "" {
			continue
		}
		var valid strings.Builder
		for i, r := range part { // ranging gives U+FFFD for each byte that is not UTF-8
			if r == utf8.RuneError && !strings.HasPrefix(part[i:], "\ufffd") {
				r = '_'
			}
			valid.WriteRune(r)
		}
		name := []rune(norm.NFC.String(valid.String()))
		dots := file && strings.Trim(part, ".") != ""
		for i, r := range name {
			if !unicode.In(r, unicode.L, unicode.M, unicode.N) && r != '-' && (r != '.' || !dots) {
				name[i] = '_'
			}
		}
		names = append(names, name)
	}
	return names
}

// checkMeeting checks that two local paths of a folder are one in the library
// just when the documentation says so.
func checkMeeting(t rapid.TB, folder, a, b string) {
	remoteA, errA := imagekit.RemotePath(folder, a)
	remoteB, errB := imagekit.RemotePath(folder, b)
	if errA != nil || errB != nil {
		return
	}
	if (remoteA == remoteB) != mayMeet(a, b) {
		t.Fatalf("%q became %q, and %q became %q", a, remoteA, b, remoteB)
	}
	if remoteA == remoteB && a != b && imagekit.Alternate(remoteA, a, 0) == imagekit.Alternate(remoteB, b, 0) {
		t.Fatalf("%q and %q have one alternate", a, b)
	}
}

// lookalikes are paths that are near to one, or that it could be taken for.
func lookalikes(local string) []string {
	remote, err := imagekit.RemotePath("/", local)
	if err != nil {
		return nil
	}
	return []string{
		norm.NFD.String(local), norm.NFC.String(local), norm.NFKC.String(local), remote[1:],
		strings.ToUpper(local), strings.ToValidUTF8(local, "_"), strings.ToValidUTF8(local, "\ufffd"),
		strings.ReplaceAll(local, "/", "//"), strings.ReplaceAll(local, "/", "_"), strings.ReplaceAll(local, "_", "/"), strings.ReplaceAll(local, ".", "_"),
		local + "_", local + "\xff", "_" + local, "./" + local,
	}
}

func TestTwoLocalPathsMeetOnlyWhereTheDocumentationSaysSo(t *testing.T) {
	met := 0
	rapid.Check(t, func(t *rapid.T) {
		folder, local := cleanFolder().Draw(t, "folder"), localPath().Draw(t, "local")
		for _, other := range append(lookalikes(local), localPath().Draw(t, "other")) {
			checkMeeting(t, folder, local, other)
			if other != local && mayMeet(local, other) {
				met++
			}
		}
	})
	if met == 0 {
		t.Error("no two paths met: nothing was compared")
	}
}

// FuzzRemotePathOfTwo: two local paths have one remote path just when they
// differ in nothing that the library can keep.
func FuzzRemotePathOfTwo(f *testing.F) {
	for _, two := range [][2]string{
		{"a b", "a_b"}, {"a", "A"}, {"a.b/c", "a_b/c"}, {"a.b", "a_b"}, {"...", "___"}, {"..", ".a"}, {"a//b", "a/b"}, {"e\u0301", "é"}, {"e\xff\u0301", "e_\u0301"},
		{"\xff\xff", "_"}, {"\xf0\x9f\x91", "___"}, {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"}, {"\ufffd", "\xff"}, {"<\u0338", "_"}, {"<\u0338", "_\u0338"}, {"\u212a", "K"}, {"a\x00", "a_"}, {"d/e", "d_e"},
		{strings.Repeat("\u0301", 70), strings.Repeat("\u0301", 71)}, {"\u1112\u1161\u11ab", "한"}, {"/a", "a"}, {"\u0344", "\u0308\u0301"},
	} {
		f.Add("/", two[0], two[1])
	}
	f.Fuzz(func(t *testing.T, folder, a, b string) {
		clean, err := imagekit.CleanFolder(folder)
		if err != nil {
			return
		}
		checkMeeting(t, clean, a, b)
		for _, other := range lookalikes(a) {
			checkMeeting(t, clean, a, other)
		}
	})
}
