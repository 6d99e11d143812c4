package uploader_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestAFaultIsTriedAgainUntilItSucceeds(t *testing.T) {
	t.Parallel()
	faults := map[string]emulator.Fault{
		"a server error":            {Action: emulator.ActionStatus, Status: 500},
		"a gateway's HTML page":     {Action: emulator.ActionStatus, Status: 502, HTML: true},
		"a cut connection":          {Action: emulator.ActionCut, Bytes: 10},
		"a lost answer":             {Action: emulator.ActionLose},
		"an answer of HTML":         {Action: emulator.ActionHTML},
		"a truncated answer":        {Action: emulator.ActionTruncated},
		"garbage behind the answer": {Action: emulator.ActionTrailing},
		"a wrong length":            {Action: emulator.ActionLength},
		"a wrong size":              {Action: emulator.ActionWrongSize},
		"throttling":                {Action: emulator.ActionStatus, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "20"}},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			fault.Endpoint, fault.Count = "upload", 1
			r.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{fault}})
			r.write("a.txt", "content")
			r.enqueue("a.txt")
			if stats := r.drain(); stats.Uploaded != 1 || stats.Failed != 0 {
				t.Fatalf("stats %+v, failed %+v", stats, r.jobs(queue.Failed))
			}
			assets := r.server.Assets()
			if len(assets) != 1 || r.content("/photos/a.txt") != "content" {
				t.Fatalf("assets %+v", assets)
			}
			if f := r.record("a.txt"); f.FileID != assets[0].FileID || f.VersionID != assets[0].VersionID {
				t.Errorf("record %+v does not match asset %+v", f, assets[0])
			}
		})
	}
}

func TestARefusedFileIsADeadLetterAndOthersGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Path: "bad.txt", Action: emulator.ActionStatus, Status: 400,
		Message: "Your request contains invalid file parameter. The file size exceeds limits."}}})
	r.write("bad.txt", "b")
	r.write("good.txt", "g")
	r.enqueue("bad.txt", "good.txt")
	if stats := r.drain(); stats.Failed != 1 || stats.Uploaded != 1 || stats.Requests != 2 {
		t.Fatalf("stats %+v", stats)
	}
	item := r.jobs(queue.Failed)["bad.txt"]
	if !strings.Contains(item.Reason, "file size exceeds limits") || item.RequestID == "" || item.Class != "file" {
		t.Errorf("dead letter %+v", item)
	}
}

func TestAFileIsGivenUpAfterItsAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Action: emulator.ActionStatus, Status: 503}}})
	r.write("a.txt", "a")
	r.enqueue("a.txt")
	if stats := r.drain(); stats.Failed != 1 || stats.Requests != 5 || stats.Retries != 2 {
		t.Fatalf("stats %+v", stats)
	}
	if item := r.jobs(queue.Failed)["a.txt"]; item.Class != "transient" {
		t.Errorf("dead letter %+v", item)
	}
}

func TestARefusedKeyStopsAtOnceAndCostsNoAttempt(t *testing.T) {
	t.Parallel()
	for status, class := range map[int]imagekit.Class{401: imagekit.Credentials, 403: imagekit.Credentials} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := newRig(t, emulator.Behaviour{})
			r.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Action: emulator.ActionStatus, Status: status, Message: "Your account cannot be authenticated."}}})
			var names []string
			for i := range 100 {
				names = append(names, fmt.Sprintf("%d.txt", i))
				r.write(names[i], "x")
			}
			r.enqueue(names...)
			pool := uploader.New(r.db, r.q, r.options())
			err := pool.Run(t.Context())
			var api *imagekit.Error
			if !errors.As(err, &api) || api.Class != class {
				t.Fatalf("Run returned %v", err)
			}
			if n := pool.Stats().Requests; n > 4 {
				t.Errorf("%d requests were sent with a refused key and 4 workers", n)
			}
			ready := r.jobs(queue.Ready)
			if len(ready) != 100 {
				t.Fatalf("%d jobs are ready", len(ready))
			}
			for _, item := range ready {
				if item.Attempts != 0 {
					t.Errorf("%s has %d attempts", item.Path, item.Attempts)
				}
			}
			r.server.SetFaults(emulator.Faults{})
			if stats := r.drain(); stats.Uploaded != 100 {
				t.Errorf("afterwards: %+v", stats)
			}
		})
	}
}
