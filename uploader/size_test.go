package uploader_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"path"
	"testing"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// picture is a PNG of some size.
func picture(t *testing.T, width int) string {
	t.Helper()
	var b bytes.Buffer
	check(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, width, 1))))
	return b.String()
}

func TestAPreTransformationIsRecordedWithBothSizes(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.params.Transformation = json.RawMessage(`{"pre":"w-300"}`)
	content := picture(t, 4)
	r.write("a.png", content)
	r.enqueue("a.png")
	if stats := r.drain(); stats.Uploaded != 1 {
		t.Fatalf("stats %+v", stats)
	}
	f, stored := r.record("a.png"), int64(len(r.content("/photos/a.png")))
	if f.Stat.Size != int64(len(content)) || f.LibrarySize() != stored || stored == f.Stat.Size {
		t.Errorf("a file of %d bytes, stored with %d, is recorded with %d and %d", len(content), stored, f.Stat.Size, f.LibrarySize())
	}
	var answer struct{ Size int64 }
	if err := json.Unmarshal(f.Response, &answer); err != nil || answer.Size != stored {
		t.Errorf("the recorded answer tells %d bytes (%v)", answer.Size, err)
	}
	s := &uploader.Survey{Client: r.client, Queue: r.q, RootID: r.root.ID, Folder: r.root.Folder}
	check(t, s.Run(t.Context(), func(found []queue.Found) error {
		matched, err := r.q.MatchAll(t.Context(), found)
		if err == nil && (len(matched) != 1 || matched[0].Match != queue.Recorded) {
			t.Errorf("the library's listing is matched as %+v", matched)
		}
		return err
	}))
}

// A copy of a transformed asset is not what ImageKit would store of the file, although
// the local files are the same.
func TestATransformedAssetIsNoSourceOfACopyThatIsNotTransformed(t *testing.T) {
	t.Parallel()
	for _, duplicates := range []uploader.Duplicates{uploader.CopyDuplicates, uploader.SkipDuplicates} {
		r := newRig(t, emulator.Behaviour{})
		r.write("pre/a.png", picture(t, 4))
		r.write("b/a.png", picture(t, 4))
		o := r.options()
		o.Roots[0].Duplicates = duplicates
		o.Roots[0].Params = func(local string) imagekit.Params {
			params := r.params
			if path.Dir(local) == "pre" {
				params.Transformation = json.RawMessage(`{"pre":"w-300"}`)
			}
			return params
		}
		for _, name := range []string{"pre/a.png", "b/a.png"} {
			r.enqueue(name)
			check(t, uploader.New(r.db, r.q, o).Run(t.Context()))
		}
		if r.record("b/a.png") == nil || r.content("/photos/b/a.png") != picture(t, 4) {
			t.Errorf("duplicates %v: the asset of b/a.png is not its content", duplicates)
		}
	}
}
