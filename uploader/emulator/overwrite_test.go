package emulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
)

func TestOverwriteMakesAVersionAndKeepsTheFileID(t *testing.T) {
	b := newBench(t, emulator.Options{Dir: t.TempDir()})
	first := b.upload("/a/f.txt", "one", "customCoordinates", "1,2,3,4", "tags", "old", "description", "d")
	second := b.upload("/a/f.txt", "two")
	if first.str("fileId") != second.str("fileId") {
		t.Error("the fileId changed")
	}
	info := second.json["versionInfo"].(map[string]any)
	if info["id"] == first.str("fileId") || info["name"] != "Version 2" {
		t.Errorf("versionInfo %v", info)
	}
	a := b.asset("/a/f.txt")
	if a.Versions != 2 || a.Tags != nil || a.CustomCoordinates != "" || b.content("/a/f.txt") != "two" {
		t.Errorf("%+v", a)
	}
	if st := b.emulator.Stats(); st.Uploads != 2 || st.Versions != 1 || st.StoredBytes != 6 || st.Requests["upload"] != 2 || st.Statuses[200] != 2 {
		t.Errorf("%+v", st)
	}
}

func TestOverwriteFlagsKeepTagsAndMetadata(t *testing.T) {
	b := newBench(t, emulator.Options{})
	b.want(201, "POST", "/v1/customMetadataFields", `{"name":"brand","label":"Brand","schema":{"type":"Text"}}`)
	b.upload("/f", "one", "tags", "a,b", "customMetadata", `{"brand":"X"}`)
	b.upload("/f", "two", "overwriteTags", "false", "overwriteCustomMetadata", "false")
	if a := b.asset("/f"); !cmp.Equal(a.Tags, []string{"a", "b"}) || a.CustomMetadata["brand"] != "X" {
		t.Errorf("kept: %+v", a)
	}
	b.upload("/f", "three", "overwriteTags", "false", "tags", "c")
	if a := b.asset("/f"); !cmp.Equal(a.Tags, []string{"c"}) || len(a.CustomMetadata) != 0 {
		t.Errorf("replaced: %+v", a)
	}
}

func TestOverwriteSwitches(t *testing.T) {
	put := func(b *bench, content string) reply {
		got, err := b.tryUpload(content, "fileName", "f", "useUniqueFileName", "false")
		if err != nil {
			b.Fatal(err)
		}
		return got
	}
	t.Run("new fileId", func(t *testing.T) {
		b := newBench(t, emulator.Options{Dir: t.TempDir(), Behaviour: emulator.Behaviour{NewFileIDOnOverwrite: true}})
		if put(b, "1").str("fileId") == put(b, "2").str("fileId") || b.asset("/f").Versions != 2 || b.content("/f") != "2" {
			t.Errorf("%+v", b.asset("/f"))
		}
	})
	t.Run("identical content is skipped", func(t *testing.T) {
		b := newBench(t, emulator.Options{Behaviour: emulator.Behaviour{SkipIdenticalVersion: true}})
		put(b, "1")
		if got := put(b, "1"); got.status != 200 || b.asset("/f").Versions != 1 {
			t.Errorf("%d, %+v", got.status, b.asset("/f"))
		}
	})
	t.Run("full file refuses", func(t *testing.T) {
		b := newBench(t, emulator.Options{Behaviour: emulator.Behaviour{VersionLimit: 2}})
		put(b, "1")
		put(b, "2")
		if got := put(b, "3"); got.status != 400 || b.content("/f") != "2" {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("full file drops its oldest", func(t *testing.T) {
		b := newBench(t, emulator.Options{Behaviour: emulator.Behaviour{VersionLimit: 2, VersionLimitDrops: true}})
		put(b, "1")
		put(b, "2")
		if got := put(b, "3"); got.status != 200 || b.asset("/f").Versions != 2 || b.content("/f") != "3" {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("throttle", func(t *testing.T) {
		clock := newClock()
		b := newBench(t, emulator.Options{Now: clock.Now, Behaviour: emulator.Behaviour{UpdateThrottle: 1, UpdateWindow: time.Minute}})
		put(b, "1")
		put(b, "2")
		if got := put(b, "3"); got.status != 400 || !strings.Contains(got.str("message"), "too many requests to update the file recently") {
			t.Errorf("%d %s", got.status, got.text)
		}
		clock.move(time.Minute)
		if got := put(b, "4"); got.status != 200 {
			t.Errorf("after the window: %d %s", got.status, got.text)
		}
	})
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		name, folder, want string
		strict             bool
	}{
		{"a b.jpg", "", "/a_b.jpg", true},
		{"Grüße-東京_१.jpg", "/Łódź/", "/Łódź/Grüße-東京_१.jpg", true},
		{"x%y&z.jpg", "a.b/c d", "/a_b/c_d/x_y_z.jpg", true},
		{"../../etc/passwd", "//x///y//", "/x/y/.._.._etc_passwd", true},
		{"..", "", "/__", true},
		{"a b/c.jpg", "my photos", "/my photos/a b_c.jpg", false},
		{"a b (1).jpg", "v1.0", "/v1.0/a b (1).jpg", false},
		{"a\x00\xff\n.jpg", "", "/a___.jpg", false},
		{"..", "", "/__", false},
	} {
		b := newBench(t, emulator.Options{Dir: t.TempDir(), Behaviour: emulator.Behaviour{StrictNames: test.strict}})
		got, err := b.tryUpload("x", "fileName", test.name, "folder", test.folder, "useUniqueFileName", "false")
		if err != nil || got.str("filePath") != test.want {
			t.Errorf("%s in %s: %v %s, want %s", test.name, test.folder, err, got.text, test.want)
		}
	}
}

func TestVersionsAreListedDeletedAndRestored(t *testing.T) {
	b := newBench(t, emulator.Options{Dir: t.TempDir()})
	id := b.upload("/f", "one").str("fileId")
	b.upload("/f", "two")
	b.upload("/f", "three")
	list := b.list("/v1/files/" + id + "/versions")
	if len(list) != 3 || list[0]["type"] != "file" || list[2]["type"] != "file-version" {
		t.Fatalf("%v", list)
	}
	versionID := func(i int) string { return list[i]["versionInfo"].(map[string]any)["id"].(string) }
	base := "/v1/files/" + id + "/versions/"
	if got := b.want(400, "DELETE", base+versionID(0), ""); got.str("message") != "You cannot delete current version of a file." {
		t.Error(got.text)
	}
	b.want(204, "DELETE", base+versionID(1), "")
	b.want(404, "GET", base+versionID(1), "")
	b.want(200, "PUT", base+versionID(2)+"/restore", "")
	if a := b.asset("/f"); a.VersionID != versionID(2) || a.Versions != 2 || b.content("/f") != "one" {
		t.Errorf("%+v", a)
	}
	if got := b.upload("/f", "four"); got.json["versionInfo"].(map[string]any)["name"] != "Version 4" {
		t.Error(got.text)
	}
	b.want(404, "PUT", base+"0123456789abcdef01234567/restore", "")
	b.want(400, "PUT", base+"nonsense/restore", "")
}
