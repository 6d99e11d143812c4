package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"iksync/uploader/emulator"
)

func (b *bench) list(path string) []map[string]any {
	b.Helper()
	got := b.want(200, "GET", path, "")
	var list []map[string]any
	if err := json.Unmarshal([]byte(got.text), &list); err != nil || list == nil {
		b.Fatalf("%s: %v: %s", path, err, got.text)
	}
	return list
}

// found names what a listing has, files by path and folders with a slash.
func (b *bench) found(query ...string) string {
	b.Helper()
	v := url.Values{}
	for i := 0; i < len(query); i += 2 {
		v.Set(query[i], query[i+1])
	}
	var names []string
	for _, item := range b.list("/v1/files?" + v.Encode()) {
		if item["type"] == "folder" {
			names = append(names, item["folderPath"].(string)+"/")
		} else {
			names = append(names, item["filePath"].(string))
		}
	}
	return strings.Join(names, " ")
}

func newLibrary(t *testing.T) (*bench, *clock) {
	clock := newClock()
	b := newBench(t, emulator.Options{Now: clock.Now})
	b.want(201, "POST", "/v1/customMetadataFields", `{"name":"stars","label":"Stars","schema":{"type":"Number","minValue":1,"maxValue":5}}`)
	for _, f := range []struct {
		path, content string
		fields        []string
	}{
		{"/z.txt", "zz", []string{"tags", "text,last"}},
		{"/a/small.png", picture(t, 10, 20), []string{"tags", "cat", "extensions", `[{"name":"aws-auto-tagging","minConfidence":80,"maxTags":1}]`}},
		{"/a/big.png", picture(t, 300, 200), []string{"tags", "dog", "customMetadata", `{"stars":5}`}},
		{"/a/b/deep.jpg", "\xff\xd8\xff not quite", []string{"isPrivateFile", "true"}},
		{"/ab/other.txt", strings.Repeat("o", 2<<20), nil},
	} {
		b.upload(f.path, f.content, f.fields...)
		clock.move(time.Hour)
	}
	return b, clock
}

func TestListParameters(t *testing.T) {
	b, _ := newLibrary(t)
	for _, test := range []struct {
		query []string
		want  string
	}{
		{nil, "/z.txt /a/small.png /a/big.png /a/b/deep.jpg /ab/other.txt"},
		{[]string{"path", "/a/"}, "/a/small.png /a/big.png"},
		{[]string{"path", "a", "type", "all"}, "/a/small.png /a/big.png /a/b/"},
		{[]string{"path", "/a", "type", "folder"}, "/a/b/"},
		{[]string{"path", "/nowhere"}, ""},
		{[]string{"type", "folder", "sort", "ASC_NAME"}, "/a/ /ab/ /a/b/"},
		{[]string{"sort", "DESC_NAME"}, "/z.txt /a/small.png /ab/other.txt /a/b/deep.jpg /a/big.png"},
		{[]string{"sort", "ASC_SIZE", "limit", "2"}, "/z.txt /a/b/deep.jpg"},
		{[]string{"sort", "DESC_WIDTH", "limit", "2"}, "/a/big.png /a/small.png"},
		{[]string{"sort", "DESC_CREATED", "limit", "1"}, "/ab/other.txt"},
		{[]string{"skip", "3"}, "/a/b/deep.jpg /ab/other.txt"},
		{[]string{"skip", "1", "limit", "2"}, "/a/small.png /a/big.png"},
		{[]string{"skip", "99"}, ""},
		{[]string{"fileType", "non-image"}, "/z.txt /ab/other.txt"},
		{[]string{"name", "z.txt"}, "/z.txt"},
		{[]string{"tags", "cat,dog"}, "/a/small.png /a/big.png"},
	} {
		if got := b.found(test.query...); got != test.want {
			t.Errorf("%v: %s\nwant %s", test.query, got, test.want)
		}
	}
	for query, want := range map[string]string{
		"skip=-1":      "The value of skip parameter should be greater than or equal to 0. Value sent is -1.",
		"limit=0":      "Minimum value of limit parameter is 1. Value sent is 0.",
		"limit=2000":   "Maximum value of limit parameter is 1000. Value sent is 2000.",
		"sort=BEST":    "Your request contains invalid value for sort parameters.",
		"type=folder2": "Your request contains invalid value for type parameter. Please provide one of the following: file, file-version, folder, all.",
	} {
		if got := b.want(400, "GET", "/v1/files?"+query, ""); got.str("message") != want {
			t.Errorf("%s: %s", query, got.text)
		}
	}
}

func TestSearchQuery(t *testing.T) {
	b, _ := newLibrary(t) // uploads were 5 h, 4 h, 3 h, 2 h and 1 h ago
	for _, test := range []struct{ query, want string }{
		{`name = "z.txt"`, "/z.txt"},
		{`name : "s"`, "/a/small.png"},
		{`name = "Z.TXT"`, ""},
		{`name = "a"`, "/a/"},
		{`type = "folder" AND path = "/"`, "/a/ /ab/"},
		{`type = "file" AND path : "/a/"`, "/a/small.png /a/big.png /a/b/deep.jpg"},
		{`type = "file" AND path = "/a/"`, "/a/small.png /a/big.png"},
		{`type = "file" AND NOT path : "/a/"`, "/z.txt /ab/other.txt"},
		{`tags IN ["cat", "dog"]`, "/a/small.png /a/big.png"},
		{`type="file" AND tags NOT IN ["cat","dog","last"]`, "/a/b/deep.jpg /ab/other.txt"},
		{`size >= "2mb"`, "/ab/other.txt"},
		{`size < 100 AND size > 1`, "/z.txt /a/small.png /a/b/deep.jpg"},
		{`width > 10 OR (height <= 20 AND format = "png")`, "/a/small.png /a/big.png"},
		{`format IN ["jpg"]`, "/a/b/deep.jpg"},
		{`private = true`, "/a/b/deep.jpg"},
		{`private = "true" AND published NOT = false`, "/a/b/deep.jpg"},
		{`"customMetadata.stars" > 4`, "/a/big.png"},
		{`createdAt > "2h" AND type = "file"`, "/ab/other.txt"},
		{`createdAt >= "2026-03-01T14:00:00Z" AND createdAt < "2026-03-01T16:00:00Z" AND type = "file"`, "/a/big.png /a/b/deep.jpg"},
		{`name = "quo\"te"`, ""},
		{`name HAS "PNG small"`, "/a/small.png"},
		{`name HAS "big pn"`, "/a/big.png"},
		{`name HAS "bi png"`, ""},
		{`name HAS ""`, ""},
		{`tags HAS "Cat"`, "/a/small.png"},
		{`tags EXISTS`, "/z.txt /a/small.png /a/big.png"},
		{`tags NOT EXISTS AND type = "file"`, "/a/b/deep.jpg /ab/other.txt"},
		{`"customMetadata.stars" EXISTS`, "/a/big.png"},
		{`"customMetadata.stars" not exists AND (type IN ["file"])`, "/z.txt /a/small.png /a/b/deep.jpg /ab/other.txt"},
		{`tags IN ["Emulated"]`, "/a/small.png"},
		{`AITags EXISTS`, "/a/small.png"},
		{`type = "file" AND tags NOT IN ["Emulated", "text", "dog"]`, "/a/b/deep.jpg /ab/other.txt"},
		{`createdBy = "uploader@example.com" AND type = "folder"`, "/a/ /a/b/ /ab/"},
		{`createdBy NOT = "uploader@example.com"`, ""},
		{`createdBy IN ["nobody@example.com"]`, ""},
		{`type = "file-version" AND name = "z.txt"`, "/z.txt"},
	} {
		got := strings.Fields(b.found("searchQuery", test.query, "type", "folder"))
		want := strings.Fields(test.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s\nwant %s", test.query, got, want)
		}
	}
	for _, folder := range b.list("/v1/files?type=folder") {
		if got := b.found("searchQuery", fmt.Sprintf("id = %q", folder["folderId"])); got != folder["folderPath"].(string)+"/" {
			t.Errorf("a folder by its id: %s", got)
		}
	}
	if got := b.found("searchQuery", fmt.Sprintf("id IN [%q, %q]", b.asset("/z.txt").FileID, unknownID)); got != "/z.txt" {
		t.Errorf("a file by its id: %s", got)
	}
	if got := b.found("path", "/a", "searchQuery", `type = "file" AND name = "big.png"`, "limit", "1"); got != "/a/big.png" {
		t.Errorf("within a path: %s", got)
	}
	for _, query := range []string{`name`, `name =`, `name = "x`, `smell = "x"`, `(name = "x"`, `name = "x" name = "y"`, `size = "big"`, `tags IN "x"`, `private > true`, `size HAS "2"`, `private HAS "true"`, `tags EXISTS "x"`, `tags NOT HAS "x"`, strings.Repeat("(", 200)} {
		b.want(400, "GET", "/v1/files?"+url.Values{"searchQuery": {query}}.Encode(), "")
	}
}

func TestListingLag(t *testing.T) {
	clock := newClock()
	s, err := emulator.New(emulator.Options{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, s)
	id := b.upload("/a/f", "x").str("fileId")
	if got := b.found("type", "all"); got != "" {
		t.Errorf("at once: %s", got)
	}
	b.want(200, "GET", "/v1/files/"+id+"/details", "")
	clock.move(2*time.Second - time.Millisecond)
	if got := b.found("type", "all"); got != "" {
		t.Errorf("before its end: %s", got)
	}
	clock.move(time.Millisecond)
	if got := b.found("type", "all"); got != "/a/f /a/" && got != "/a/ /a/f" {
		t.Errorf("after the lag: %s", got)
	}
}

func TestPagesOfALargeFolderTogetherHaveEveryFileOnce(t *testing.T) {
	b := newBench(t, emulator.Options{Discard: true})
	const files = 1203
	for i := range files {
		b.upload(fmt.Sprintf("/big/%04d", i), "x")
	}
	for _, where := range []string{"", "&path=/big"} {
		seen := make(map[any]bool)
		for skip := 0; ; skip += 500 {
			page := b.list(fmt.Sprintf("/v1/files?limit=500&skip=%d%s", skip, where))
			for _, item := range page {
				seen[item["fileId"]] = true
			}
			if len(page) < 500 {
				break
			}
		}
		if len(seen) != files {
			t.Errorf("%q: %d files, want %d", where, len(seen), files)
		}
	}
}
