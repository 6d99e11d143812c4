package uploader_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestANewFileGoesBeforeWhatWasClaimedOfTheBacklog(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	var backlog []string
	for i := range 30 {
		backlog = append(backlog, fmt.Sprintf("old%02d.jpg", i))
		r.write(backlog[i], "old")
	}
	r.enqueue(backlog...)
	var mu sync.Mutex
	var order []string
	begun, release := make(chan struct{}), make(chan struct{})
	o := r.options()
	o.Workers = 1
	o.Roots[0].Params = func(path string) imagekit.Params {
		mu.Lock()
		order = append(order, path)
		first := len(order) == 1
		mu.Unlock()
		if first {
			close(begun)
			<-release
		}
		return r.params
	}
	pool := uploader.New(r.db, r.q, o)
	var ended sync.WaitGroup
	ended.Go(func() { check(t, pool.Run(t.Context())) })
	<-begun
	ticker := time.Tick(time.Millisecond)
	for len(r.jobs(queue.Leased)) < 8 { // those that the worker has next
		<-ticker
	}
	fresh := []string{"new1.jpg", "new2.jpg", "new3.jpg", "new4.jpg"}
	for _, name := range fresh {
		r.write(name, "new")
		info, err := os.Stat(filepath.Join(r.dir, name))
		check(t, err)
		_, err = r.q.Enqueue(t.Context(), []queue.Change{{RootID: r.root.ID, Path: name, Stat: state.StatOf(info), Remote: "/photos/" + name, Priority: 1}})
		check(t, err)
	}
	deadline := time.After(20 * time.Second)
	for slices.ContainsFunc(fresh, func(name string) bool { _, ok := r.jobs(queue.Leased)[name]; return !ok }) {
		select {
		case <-ticker:
		case <-deadline:
			close(release)
			t.Fatal("the new files were not claimed while the worker was busy")
		}
	}
	close(release)
	ended.Wait()
	// Each fourth is of the backlog.
	for _, name := range fresh {
		if at := slices.Index(order, name); at < 0 || at > 6 {
			t.Errorf("%s was sent as number %d: %q", name, at, order)
		}
	}
	if len(order) != len(backlog)+len(fresh) {
		t.Errorf("%d files were sent instead of %d", len(order), len(backlog)+len(fresh))
	}
}
