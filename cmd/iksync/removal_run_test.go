//go:build unix

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"iksync/state"
	"iksync/uploader/emulator"
)

// TestTheDaemonRemoves what is gone, in roots that are there, and nothing of roots
// that are replaced meanwhile or were before it started, empty or not.
//
// What is to be removed is looked for once a minute, but first when the moves are
// done. So a move is held up until the scans have noted what the test is about.
func TestTheDaemonRemoves(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete", "delete_after: 1h")
	more := r.roots[0].more
	before := []string{"replaced-before", "emptied-before", "missing-before"}
	meanwhile := []string{"replaced", "emptied", "missing"}
	for _, name := range append(append([]string{}, before...), append(meanwhile, "last")...) {
		r.addRoot(name, more)
	}
	for _, root := range r.roots {
		for _, n := range []string{"gone.jpg", "d/gone.jpg", "kept.jpg"} {
			r.must(writeFile(root.path+"/"+n, root.path+n))
		}
	}
	r.write("stays.jpg")
	r.backfill()
	at := func(name, path string) string { return filepath.Join(r.base, name, path) }
	takeAway := func(names ...string) {
		for _, name := range names {
			r.must(os.Remove(at(name, "gone.jpg")))
			r.must(os.RemoveAll(at(name, "d")))
		}
	}
	replace := func(names []string) {
		for _, name := range names {
			r.must(os.Rename(at(name, ""), at(name+".away", "")))
			if !strings.HasPrefix(name, "missing") {
				r.must(os.Mkdir(at(name, ""), 0o755))
			}
			if strings.HasPrefix(name, "replaced") {
				r.must(writeFile(at(name, "other.jpg"), "of another directory"))
			}
		}
	}
	takeAway(before...)
	r.backfill()
	came, goOn := make(chan struct{}, 1000), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release) // else the proxy would not end
	r.onCall(func(call string, _ *http.Request) {
		if strings.HasSuffix(call, "/details") || strings.HasSuffix(call, "/move") || strings.HasSuffix(call, "/rename") {
			came <- struct{}{}
			<-goOn
		}
	})
	r.must(os.Rename(at("photos", "stays.jpg"), at("photos", "moved.jpg")))
	b := r.begin(r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"}))
	<-came
	b.kill()
	r.killed = true

	for i := range r.roots {
		r.roots[i].more = strings.Replace(more, "delete_after: 1h", "delete_after: 0s", 1)
	}
	r.configure()
	replace(before)
	d := r.start()
	<-came
	takeAway(append(meanwhile, "photos", "last")...)
	for _, name := range append(meanwhile, "photos", "last") {
		r.noted("that files are gone from "+name, 2, `SELECT count(*) FROM files f JOIN roots r ON r.id = f.root_id
			WHERE r.folder = ? AND CAST(f.path AS TEXT) LIKE '%gone.jpg' AND f.absent <> 0 AND f.absent_at <= r.scanned_at`, name)
	}
	replace(meanwhile)
	for _, name := range meanwhile {
		waitFor(t, name+" is paused", func() bool {
			for line := range strings.Lines(d.log()) {
				if strings.Contains(line, "the root is paused") && strings.Contains(line, at(name, "")+`"`) {
					return true
				}
			}
			return false
		})
	}
	r.noted("replaced-before to be another directory", 1, `SELECT stranger FROM roots WHERE folder = ?`, "replaced-before")
	release()
	waitFor(t, "what is gone is removed", func() bool {
		assets := r.assets()
		for _, name := range []string{"photos", "last"} {
			for _, n := range []string{"gone.jpg", "d/gone.jpg"} {
				if _, there := assets["/"+name+"/"+n]; there {
					return false
				}
			}
		}
		return true
	})
	d.stop()
	assets := r.assets()
	want := []string{"/photos/kept.jpg", "/photos/moved.jpg", "/last/kept.jpg"}
	for _, name := range append(before, meanwhile...) {
		want = append(want, "/"+name+"/gone.jpg", "/"+name+"/d/gone.jpg", "/"+name+"/kept.jpg")
	}
	for _, name := range want {
		if _, there := assets[name]; !there {
			t.Errorf("%s is not in the library any more", name)
		}
	}
}

// noted waits until the state file of a daemon gives a number about a root.
func (r *removalRig) noted(what string, n int, query, root string) {
	r.Helper()
	waitFor(r.T, "it is noted: "+what, func() bool {
		db, err := state.OpenReadOnly(r.Context(), r.state)
		r.must(err)
		defer db.Close()
		rows, err := db.Query(r.Context(), query, "/"+root)
		r.must(err)
		defer rows.Close()
		var got int
		for rows.Next() {
			r.must(rows.Scan(&got))
		}
		r.must(rows.Err())
		return got == n
	})
}
