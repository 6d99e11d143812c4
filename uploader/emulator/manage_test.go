package emulator_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
)

const unknownID = "0123456789abcdef01234567"

// refused makes a call that has to be refused with a status and a reason.
func (b *bench) refused(status int, reason, method, path, body string) {
	b.Helper()
	got := b.want(status, method, path, body)
	if got.str("reason") != reason || got.str("message") == "" || got.str("help") == "" {
		b.Errorf("%s %s: %s, want reason %q", path, body, got.text, reason)
	}
}

func TestDetailsOfAFile(t *testing.T) {
	clock := newClock()
	b := newBench(t, emulator.Options{Now: clock.Now})
	id := b.upload("/a/ü.png", picture(t, 3, 4), "tags", "x").str("fileId")
	got := b.want(200, "GET", "/v1/files/"+id+"/details", "").json
	address := b.url + "/demo/a/%C3%BC.png?updatedAt=1772366400000"
	want := map[string]any{
		"type": "file", "name": "ü.png", "filePath": "/a/ü.png", "fileId": id, "tags": []any{"x"}, "AITags": nil,
		"versionInfo": map[string]any{"id": id, "name": "Version 1"}, "isPrivateFile": false, "isPublished": true,
		"customCoordinates": nil, "url": address, "thumbnail": address + "&tr=n-ik_ml_thumbnail", "fileType": "image",
		"mime": "image/png", "width": 3.0, "height": 4.0, "size": got["size"], "hasAlpha": true,
		"customMetadata": map[string]any{}, "embeddedMetadata": map[string]any{},
		"createdAt": "2026-03-01T12:00:00.000Z", "updatedAt": "2026-03-01T12:00:00.000Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.want(404, "GET", "/v1/files/"+unknownID+"/details", "")
	if got := b.want(400, "GET", "/v1/files/nonsense/details", ""); got.str("message") != "Your request contains invalid fileId parameter." {
		t.Error(got.text)
	}
	if got := b.want(200, "GET", "/v1/files/"+id+"/metadata", ""); got.json["width"] != 3.0 {
		t.Error(got.text)
	}
	b.want(404, "GET", "/v1/saved-extensions", "")
}

func TestUpdateChangesAndUnsets(t *testing.T) {
	b := newBench(t, emulator.Options{})
	b.want(201, "POST", "/v1/customMetadataFields", `{"name":"n","label":"N","schema":{"type":"Number","maxValue":5}}`)
	at := "/v1/files/" + b.upload("/f", "x", "customMetadata", `{"n":1}`).str("fileId") + "/details"
	got := b.want(200, "PATCH", at, `{"tags":["a","b"],"customCoordinates":"1,2,3,4","customMetadata":{"n":2},"description":"d","extensions":[{"name":"ai-auto-description"}]}`)
	if got.json["customCoordinates"] != "1,2,3,4" || got.str("description") != "d" || got.json["extensionStatus"] == nil {
		t.Error(got.text)
	}
	b.want(200, "PATCH", at, `{"tags":null,"customCoordinates":null,"customMetadata":{"n":null},"removeAITags":"all"}`)
	if a := b.asset("/f"); a.Tags != nil || a.CustomCoordinates != "" || len(a.CustomMetadata) != 0 || a.Description != "d" {
		t.Errorf("%+v", a)
	}
	b.want(200, "PATCH", at, `{"publish":{"isPublished":false}}`)
	if b.asset("/f").IsPublished {
		t.Error("still published")
	}
	for _, body := range []string{`{"customMetadata":{"n":9}}`, `{"customMetadata":{"m":1}}`} {
		if got := b.want(400, "PATCH", at, body); got.str("message") != "Invalid custom metadata." || got.json["errors"] == nil {
			t.Error(got.text)
		}
	}
	for _, body := range []string{`nonsense`, `{"tags":"a"}`, `{"customCoordinates":"x"}`, `{"publish":{"isPublished":true},"tags":[]}`} {
		b.want(400, "PATCH", at, body)
	}
	b.want(404, "PATCH", "/v1/files/"+unknownID+"/details", `{}`)
}

func TestDeletes(t *testing.T) {
	b := newBench(t, emulator.Options{Dir: t.TempDir()})
	var ids []string
	for i := range 4 {
		ids = append(ids, b.upload(fmt.Sprintf("/f%d", i), "x").str("fileId"))
	}
	b.want(204, "DELETE", "/v1/files/"+ids[0], "")
	b.want(404, "DELETE", "/v1/files/"+ids[0], "")
	b.want(400, "DELETE", "/v1/files/nonsense", "")
	const at = "/v1/files/batch/deleteByFileIds"
	got := b.want(404, "POST", at, fmt.Sprintf(`{"fileIds":[%q,%q]}`, ids[1], ids[0]))
	if !cmp.Equal(got.json["missingFileIds"], []any{ids[0]}) || got.str("message") != "The requested file(s) does not exist." || len(b.emulator.Assets()) != 3 {
		t.Errorf("one missing file has to fail the whole batch: %s, %s left", got.text, b.paths())
	}
	if got := b.want(200, "POST", at, fmt.Sprintf(`{"fileIds":[%q,%q]}`, ids[1], ids[2])); !cmp.Equal(got.json["successfullyDeletedFileIds"], []any{ids[1], ids[2]}) {
		t.Error(got.text)
	}
	for body, want := range map[string]string{
		`{}`: "fileIds parameter is missing.", `{"fileIds":"x"}`: "fileIds should be an Array.", `{"fileIds":[]}`: "fileIds is empty.",
		`{"fileIds":[` + strings.Repeat(`"x",`, 100) + `"x"]}`: "fileIds cannot have more than 100 items.",
	} {
		if got := b.want(400, "POST", at, body); got.str("message") != want {
			t.Error(got.text)
		}
	}
	if got := b.paths(); got != "/f3" {
		t.Errorf("left: %s", got)
	}
}

func TestBulkTags(t *testing.T) {
	b := newBench(t, emulator.Options{})
	one, two := b.upload("/1", "x", "tags", "a").str("fileId"), b.upload("/2", "x", "tags", strings.Repeat("t", 495)).str("fileId")
	body := fmt.Sprintf(`{"fileIds":[%q,%q],"tags":["a","longer"]}`, one, two)
	if got := b.want(207, "POST", "/v1/files/addTags", body); !cmp.Equal(got.json["successfullyUpdatedFileIds"], []any{one}) || got.json["errors"] == nil {
		t.Error(got.text)
	}
	b.want(200, "POST", "/v1/files/removeTags", fmt.Sprintf(`{"fileIds":[%q],"tags":["a"]}`, one))
	if a := b.asset("/1"); !cmp.Equal(a.Tags, []string{"longer"}) {
		t.Errorf("%+v", a)
	}
	b.want(200, "POST", "/v1/files/removeAITags", fmt.Sprintf(`{"fileIds":[%q],"AITags":["a"]}`, one))
	b.want(404, "POST", "/v1/files/addTags", fmt.Sprintf(`{"fileIds":[%q],"tags":["a"]}`, unknownID))
	for _, body := range []string{`{"tags":["a"]}`, `{"fileIds":["x"]}`, `{"fileIds":["x"],"tags":[]}`, `{"fileIds":[` + strings.Repeat(`"x",`, 50) + `"x"],"tags":["a"]}`} {
		b.want(400, "POST", "/v1/files/addTags", body)
	}
}

func TestMoveAndCopyOfFiles(t *testing.T) {
	b := newBench(t, emulator.Options{Dir: t.TempDir(), Behaviour: emulator.Behaviour{VersionLimit: 3}})
	id := b.upload("/a/f", "1").str("fileId")
	b.upload("/a/f", "2")
	b.want(204, "POST", "/v1/files/move", `{"sourceFilePath":"/a/f","destinationPath":"/b/c/"}`)
	if a := b.asset("/b/c/f"); a.FileID != id || a.Versions != 2 || b.paths() != "/b/c/f" {
		t.Errorf("moved: %+v, %s", a, b.paths())
	}
	b.want(204, "POST", "/v1/files/copy", `{"sourceFilePath":"/b/c/f","destinationPath":"/"}`)
	if a := b.asset("/f"); a.FileID == id || a.Versions != 1 || b.content("/f") != "2" {
		t.Errorf("copied: %+v", a)
	}
	b.want(204, "DELETE", "/v1/files/"+b.asset("/f").FileID, "")
	if b.content("/b/c/f") != "2" {
		t.Error("the copy took the content along when it was deleted")
	}
	target := b.upload("/f", "0").str("fileId")
	b.want(204, "POST", "/v1/files/move", `{"sourceFilePath":"/b/c/f","destinationPath":"/"}`)
	if a := b.asset("/f"); a.FileID != target || a.Versions != 3 || b.content("/f") != "2" || b.paths() != "/f" {
		t.Errorf("moved onto another: %+v, %s", a, b.paths())
	}
	b.upload("/x/f", "x")
	b.refused(400, "VERSION_LIMIT_EXCEEDED", "POST", "/v1/files/move", `{"sourceFilePath":"/x/f","destinationPath":"/"}`)
	b.refused(404, "SOURCE_FILE_MISSING", "POST", "/v1/files/copy", `{"sourceFilePath":"/no","destinationPath":"/x"}`)
	b.refused(400, "MISSING_PARAMETER", "POST", "/v1/files/move", `{"sourceFilePath":"/f"}`)
	b.refused(400, "SAME_SOURCE_AND_DESTINATION", "POST", "/v1/files/move", `{"sourceFilePath":"/x/f","destinationPath":"/x/"}`)
	b.refused(400, "INVALID_FOLDER_PATH", "POST", "/v1/files/move", `{"sourceFilePath":"/f","destinationPath":"/x/../y"}`)
}

func TestRename(t *testing.T) {
	b := newBench(t, emulator.Options{Behaviour: emulator.Behaviour{StrictNames: true, PurgeLimit: 1, NewFileIDOnMove: true}})
	id := b.upload("/a/f", "1").str("fileId")
	b.upload("/a/g", "2")
	if got := b.want(200, "PUT", "/v1/files/rename", `{"filePath":"/a/f","newFileName":"h h.txt"}`); got.text != "{}\n" {
		t.Errorf("%q", got.text)
	}
	if a := b.asset("/a/h_h.txt"); a.FileID == id || b.paths() != "/a/g /a/h_h.txt" {
		t.Errorf("%+v, %s", a, b.paths())
	}
	b.refused(409, "FILE_ALREADY_EXISTS", "PUT", "/v1/files/rename", `{"filePath":"/a/g","newFileName":"h_h.txt"}`)
	b.refused(404, "FILE_MISSING", "PUT", "/v1/files/rename", `{"filePath":"/a/f","newFileName":"x"}`)
	b.refused(400, "SAME_OLD_AND_NEW_NAME", "PUT", "/v1/files/rename", `{"filePath":"/a/g","newFileName":"g"}`)
	b.refused(400, "MISSING_PARAMETER", "PUT", "/v1/files/rename", `{"filePath":"/a/g"}`)
	request := b.want(200, "PUT", "/v1/files/rename", `{"filePath":"/a/g","newFileName":"i","purgeCache":true}`).str("purgeRequestId")
	if got := b.want(200, "GET", "/v1/files/purge/"+request, ""); got.str("status") != "Completed" {
		t.Error(got.text)
	}
	b.refused(207, "PURGE_FAILED", "PUT", "/v1/files/rename", `{"filePath":"/a/i","newFileName":"j","purgeCache":true}`)
	b.asset("/a/j")
}

func TestFolders(t *testing.T) {
	b := newBench(t, emulator.Options{Behaviour: emulator.Behaviour{StrictNames: true, FolderLimit: 5}})
	for range 2 { // one that is there is no error
		b.want(201, "POST", "/v1/folder", `{"folderName":"su-m.mer","parentFolderPath":"/p/q-r"}`)
	}
	if got := b.found("type", "folder"); got != "/p/ /p/q-r/ /p/q-r/su_m_mer/" {
		t.Error(got)
	}
	b.refused(400, "INVALID_FOLDER_PATH", "POST", "/v1/folder", `{"folderName":"..","parentFolderPath":"/"}`)
	b.refused(404, "FOLDER_NOT_FOUND", "DELETE", "/v1/folder", `{"folderPath":"/nowhere"}`)
	for i := range 4 {
		b.upload(fmt.Sprintf("/p/%d", i), "x")
	}
	b.refused(400, "TOO_MANY_OBJECTS", "DELETE", "/v1/folder", `{"folderPath":"/p/"}`)
	b.want(204, "DELETE", "/v1/files/"+b.asset("/p/0").FileID, "")
	b.want(204, "DELETE", "/v1/folder", `{"folderPath":"/p/"}`)
	if got := b.found("type", "all"); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestFolderJobs(t *testing.T) {
	clock := newClock()
	b := newBench(t, emulator.Options{Now: clock.Now, Dir: t.TempDir(), Behaviour: emulator.Behaviour{StrictNames: true, JobDuration: time.Minute}})
	job := func(status int, name, body string) string {
		t.Helper()
		return b.want(status, "POST", "/v1/bulkJobs/"+name, body).str("jobId")
	}
	b.upload("/a/f", "f")
	b.upload("/a/s/g", "g")
	b.upload("/a/s/g", "g2")
	b.upload("/to/a/f", "old")
	id := job(200, "moveFolder", `{"sourceFolderPath":"/a","destinationPath":"/to"}`)
	if b.paths() != "/to/a/f /to/a/s/g" || b.asset("/to/a/f").Versions != 2 || b.content("/to/a/f") != "f" {
		t.Errorf("moved: %s", b.paths())
	}
	if got := b.want(200, "GET", "/v1/bulkJobs/"+id, ""); got.str("status") != "Pending" || got.str("type") != "MOVE_FOLDER" {
		t.Error(got.text)
	}
	b.refused(423, "", "POST", "/v1/bulkJobs/copyFolder", `{"sourceFolderPath":"/to/a","destinationPath":"/x"}`)
	clock.move(time.Minute)
	if got := b.want(200, "GET", "/v1/bulkJobs/"+id, ""); got.str("status") != "Completed" {
		t.Error(got.text)
	}
	job(200, "copyFolder", `{"sourceFolderPath":"/to/a/s","destinationPath":"/"}`)
	clock.move(time.Minute)
	job(202, "renameFolder", `{"folderPath":"/to/","newFolderName":"fr om-1"}`)
	if b.paths() != "/fr_om-1/a/f /fr_om-1/a/s/g /s/g" || b.asset("/s/g").Versions != 1 || b.asset("/fr_om-1/a/s/g").Versions != 2 {
		t.Errorf("%s", b.paths())
	}
	b.refused(404, "NO_FILES_FOLDER", "POST", "/v1/bulkJobs/moveFolder", `{"sourceFolderPath":"/no","destinationPath":"/x"}`)
	b.refused(400, "SOURCE_IS_ROOT", "POST", "/v1/bulkJobs/moveFolder", `{"sourceFolderPath":"/","destinationPath":"/x"}`)
	b.refused(400, "INVALID_DESTINATION_PATH", "POST", "/v1/bulkJobs/moveFolder", `{"sourceFolderPath":"/s","destinationPath":"/s/t"}`)
	b.refused(400, "SAME_SOURCE_AND_DESTINATION", "POST", "/v1/bulkJobs/moveFolder", `{"sourceFolderPath":"/s","destinationPath":"/s"}`)
	b.refused(400, "MISSING_PARAMETER", "POST", "/v1/bulkJobs/moveFolder", `{}`)
	b.refused(409, "", "POST", "/v1/bulkJobs/renameFolder", `{"folderPath":"/s","newFolderName":"fr_om-1"}`)
	b.refused(404, "", "POST", "/v1/bulkJobs/renameFolder", `{"folderPath":"/no","newFolderName":"x"}`)
	b.refused(400, "", "POST", "/v1/bulkJobs/renameFolder", `{"folderPath":"/","newFolderName":"x"}`)
	b.refused(404, "", "GET", "/v1/bulkJobs/"+unknownID, "")
}

// The folder moves over the very folder that holds it.
func TestMoveOfAFolderOntoItsAncestorLosesNothing(t *testing.T) {
	b := newBench(t, emulator.Options{Dir: t.TempDir()})
	for _, path := range []string{"/a/a/f", "/a/a/a/f", "/a/a/a/g", "/a/other"} {
		b.upload(path, path)
	}
	b.want(200, "POST", "/v1/bulkJobs/moveFolder", `{"sourceFolderPath":"/a/a","destinationPath":"/"}`)
	if got := b.paths(); got != "/a/a/f /a/a/g /a/f /a/other" || b.content("/a/a/f") != "/a/a/a/f" {
		t.Errorf("%s", got)
	}
	if got := b.found("type", "folder"); got != "/a/ /a/a/" {
		t.Errorf("folders: %s", got)
	}
}

func TestPurgeUsageAndFields(t *testing.T) {
	b := newBench(t, emulator.Options{Endpoint: "https://ik.imagekit.io/demo"})
	b.upload("/f", "12345")
	b.upload("/f", "123")
	for address, status := range map[string]int{
		"https://ik.imagekit.io/demo/a.jpg": 201, "https://ik.imagekit.io/demo/a/b*": 201, "https://ik.imagekit.io/demo/a.jpg*": 201,
		"https://ik.imagekit.io/demo/*": 400, "https://ik.imagekit.io/demo/a*b": 400, "https://elsewhere.example/a.jpg": 400, "": 400,
	} {
		b.want(status, "POST", "/v1/files/purge", fmt.Sprintf(`{"url":%q}`, address))
	}
	b.want(400, "GET", "/v1/files/purge/"+unknownID, "")
	if got := b.want(200, "GET", "/v1/accounts/usage?startDate=2026-01-01&endDate=2026-02-01", ""); got.json["mediaLibraryStorageBytes"] != 8.0 {
		t.Error(got.text)
	}
	for _, query := range []string{"", "startDate=2026-01-01&endDate=x", "startDate=2026-02-01&endDate=2026-01-01", "startDate=2026-01-01&endDate=2026-06-01"} {
		b.want(400, "GET", "/v1/accounts/usage?"+query, "")
	}
	const at = "/v1/customMetadataFields"
	id := b.want(201, "POST", at, `{"name":"c","label":"C","schema":{"type":"SingleSelect","selectOptions":["r","g"]}}`).str("id")
	b.want(200, "PATCH", at+"/"+id, `{"label":"D"}`)
	b.want(400, "PATCH", at+"/"+id, `{"name":"x"}`)
	b.want(400, "PATCH", at+"/"+id, `{}`)
	if got := b.list(at); len(got) != 1 || got[0]["label"] != "D" {
		t.Error(got)
	}
	b.want(204, "DELETE", at+"/"+id, "")
	if got := b.want(400, "POST", at, `{"name":"c","label":"E","schema":{"type":"Text"}}`); got.str("message") != "A custom metadata field with this name already exists." {
		t.Error(got.text)
	}
	if len(b.list(at)) != 0 || len(b.list(at+"?includeDeleted=true")) != 1 {
		t.Error("the deleted field is listed wrongly")
	}
	b.want(404, "DELETE", at+"/"+unknownID, "")
	b.want(400, "POST", at, `{"name":"d","label":"E","schema":{"type":"Nothing"}}`)
}

// Clients use both versions of the paths, and a slash after "files".
func TestEveryManagementCallIsThereUnderV2(t *testing.T) {
	b := newBench(t, emulator.Options{})
	file := b.upload("/a/f", "1")
	id := file.str("fileId")
	b.upload("/a/f", "22")
	for _, version := range []string{"/v1", "/v2"} {
		for _, path := range []string{"/files", "/files/"} {
			if list := b.list(version + path + "?path=/a"); len(list) != 1 || list[0]["fileId"] != id {
				t.Errorf("%s%s: %v", version, path, list)
			}
		}
		job := b.want(200, "POST", version+"/bulkJobs/copyFolder", `{"sourceFolderPath":"/a","destinationPath":"/copies"}`).str("jobId")
		purge := b.want(201, "POST", version+"/files/purge", `{"url":"`+b.url+`/demo/a/f"}`).str("requestId")
		field := b.want(201, "POST", version+"/customMetadataFields", `{"name":"n`+version[1:]+`","label":"l`+version[1:]+`","schema":{"type":"Text"}}`).str("id")
		for _, call := range []struct {
			status             int
			method, path, body string
		}{
			{200, "GET", "/files/" + id + "/details", ""},
			{200, "PATCH", "/files/" + id + "/details", `{"description":"d"}`},
			{200, "GET", "/files/" + id + "/metadata", ""},
			{200, "GET", "/metadata?url=" + url.QueryEscape(b.url+"/demo/a/f"), ""},
			{200, "GET", "/files/" + id + "/versions", ""},
			{200, "GET", "/files/" + id + "/versions/" + id, ""},
			{200, "PUT", "/files/" + id + "/versions/" + id + "/restore", ""},
			{200, "POST", "/files/addTags", `{"fileIds":["` + id + `"],"tags":["t"]}`},
			{200, "POST", "/files/removeTags", `{"fileIds":["` + id + `"],"tags":["t"]}`},
			{200, "POST", "/files/removeAITags", `{"fileIds":["` + id + `"],"AITags":["t"]}`},
			{204, "POST", "/files/move", `{"sourceFilePath":"/a/f","destinationPath":"/b"}`},
			{200, "PUT", "/files/rename", `{"filePath":"/b/f","newFileName":"g"}`},
			{200, "PUT", "/files/rename", `{"filePath":"/b/g","newFileName":"f"}`},
			{204, "POST", "/files/copy", `{"sourceFilePath":"/b/f","destinationPath":"/a"}`},
			{204, "POST", "/files/move", `{"sourceFilePath":"/b/f","destinationPath":"/kept"}`},
			{204, "POST", "/files/move", `{"sourceFilePath":"/kept/f","destinationPath":"/b"}`},
			{201, "POST", "/folder", `{"folderName":"n","parentFolderPath":"/"}`},
			{200, "GET", "/bulkJobs/" + job, ""},
			{202, "POST", "/bulkJobs/renameFolder", `{"folderPath":"/n","newFolderName":"m"}`},
			{200, "POST", "/bulkJobs/moveFolder", `{"sourceFolderPath":"/m","destinationPath":"/b"}`},
			{204, "DELETE", "/folder", `{"folderPath":"/b/m"}`},
			{200, "GET", "/files/purge/" + purge, ""},
			{200, "GET", "/accounts/usage?startDate=2026-01-01&endDate=2026-01-31", ""},
			{200, "GET", "/customMetadataFields", ""},
			{200, "PATCH", "/customMetadataFields/" + field, `{"label":"m` + version[1:] + `"}`},
			{204, "DELETE", "/customMetadataFields/" + field, ""},
			{404, "POST", "/files/batch/deleteByFileIds", `{"fileIds":["` + unknownID + `"]}`},
			{404, "DELETE", "/files/" + unknownID, ""},
			{404, "DELETE", "/files/" + unknownID + "/versions/" + unknownID, ""},
			{404, "GET", "/nothing", ""},
		} {
			b.want(call.status, call.method, version+call.path, call.body)
		}
		b.want(204, "POST", version+"/files/copy", `{"sourceFilePath":"/b/f","destinationPath":"/back"}`)
		b.want(204, "DELETE", version+"/folder", `{"folderPath":"/a"}`)
		b.want(204, "POST", version+"/files/move", `{"sourceFilePath":"/b/f","destinationPath":"/a"}`)
	}
}

func TestMetadataOfAURL(t *testing.T) {
	b := newBench(t, emulator.Options{})
	b.upload("/a b/p.png", picture(t, 3, 4))
	of := func(status int, address string) reply {
		t.Helper()
		return b.want(status, "GET", "/v1/metadata?url="+url.QueryEscape(address), "")
	}
	for _, path := range []string{"/demo/a%20b/p.png", "/demo/a%20b/p.png?updatedAt=1", "/demo/tr:w-1/a%20b/p.png"} {
		if got := of(200, b.url+path); got.json["width"] != 3.0 || got.json["format"] != "png" {
			t.Errorf("%s: %s", path, got.text)
		}
	}
	of(404, b.url+"/demo/none.png")
	of(404, b.url+"/demo/a%20b/p.png?ik-obj-version="+unknownID)
	of(400, "https://example.com/demo/p.png")
	of(400, "")
}
