package queue_test

import (
	"errors"
	"testing"

	"iksync/queue"
)

// An upload may come into a folder by another form of its name.
func TestNoFolderIsChangedThatAnUploadMayComeInto(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ job, folder string }{{"my dir/x", "/my_dir"}, {"my_dir/x", "/my dir"}, {"my dir/x", "/my dir"}} {
		for _, i := range []queue.Intent{{Kind: queue.RemoveFolder, Source: c.folder}, {Kind: queue.MoveFolder, Source: c.folder, Target: "/other"}, {Kind: queue.MoveFolder, Source: "/other", Target: c.folder}} {
			f := open(t)
			f.enqueue(f.change(c.job, 1))
			job := f.claimOne()
			if err := f.q.Intend(t.Context(), &i); !errors.Is(err, queue.ErrBusy) {
				t.Errorf("with an upload to %s on its way, %+v: %v", job.RemotePath, i, err)
			}
			if i.Kind == queue.RemoveFolder {
				continue // the job alone keeps the folder
			}
			if err := f.q.Release(t.Context(), []queue.Job{job}); err != nil {
				t.Fatal(err)
			}
			if err := f.q.Intend(t.Context(), &i); err != nil {
				t.Errorf("with no upload on its way, %+v: %v", i, err)
			}
			if jobs := f.claim(1); len(jobs) > 0 {
				t.Errorf("while %+v is intended, an upload to %s begins", i, jobs[0].RemotePath)
			}
		}
	}
}

// Reservations hold whatever came first: a record or a job, in any form.
func TestAFormOfATakenRemotePathIsGivenToNobodyElse(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"a b", "a_b"} {
		for _, recorded := range []bool{false, true} {
			for _, atOnce := range []bool{false, true} {
				f := open(t)
				second := map[string]string{"a b": "a_b", "a_b": "a b"}[first]
				changes := []queue.Change{f.change(first, 1), f.change(second, 1), f.change("a?b", 1)}
				if atOnce {
					f.enqueue(changes...)
				} else {
					f.enqueue(changes[0])
					if recorded {
						f.complete(f.claimOne())
					}
					f.enqueue(changes[1:]...)
				}
				for _, job := range f.claim(10) {
					if job.Path != first && job.RemotePath == "/"+job.Path {
						t.Errorf("%q has a form of the remote path of %q", job.Path, first)
					}
					f.complete(job)
				}
			}
		}
	}
}
