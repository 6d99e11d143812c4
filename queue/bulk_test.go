package queue_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iksync/queue"
	"iksync/state"
)

// jobRows lists what the jobs are, in the order they were made.
func (f *fixture) jobRows() (rows []string) {
	f.Helper()
	found, err := f.db.Query(f.Context(), `SELECT path, gen, state, leased <> 0, priority, size, mtime_ns, ctime_ns, dev, ino, coalesce(remote_path, '-'), class, reason, coalesce(donor, 0), move, unsure, attempts
		FROM jobs WHERE root_id = ? ORDER BY id`, f.root)
	if err != nil {
		f.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		values := make([]any, 17)
		into := make([]any, len(values))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			f.Fatal(err)
		}
		rows = append(rows, fmt.Sprintf("%s", values))
	}
	return rows
}

func TestManyChangesAtOnceAreQueuedAsOneByOne(t *testing.T) {
	one, many := open(t), open(t)
	round := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		round++ // each has a root, names and times of its own
		for _, f := range []*fixture{one, many} {
			f.root = f.ensureRoot(fmt.Sprint("/photos/", round))
		}
		// Names are few, so that paths, remote paths and contents meet, and records are met.
		names := rapid.SampledFrom([]string{"a", "b", "a b", "a_b", "c/d", "c/e", "caf\xe9"})
		random := rapid.Custom(func(rt *rapid.T) queue.Change {
			path := names.Draw(rt, "path")
			if rapid.IntRange(0, 2).Draw(rt, "new") > 0 {
				path = fmt.Sprintf("%s%d", path, rapid.IntRange(0, 300).Draw(rt, "number"))
			}
			c := queue.Change{RootID: one.root, Path: path, Stat: seen(1000*round + rapid.Int64Range(0, 40).Draw(rt, "content")), Priority: rapid.IntRange(0, 1).Draw(rt, "priority"),
				Remote: fmt.Sprintf("/%d/", round) + rapid.SampledFrom([]string{path, path, path, names.Draw(rt, "remote")}).Draw(rt, "where")}
			c.Stat.Ino = uint64(rapid.IntRange(1, 60).Draw(rt, "inode"))
			if rapid.IntRange(0, 9).Draw(rt, "held") == 0 {
				c.Hold, c.HoldClass, c.Remote = "the file is empty", "empty", ""
			}
			return c
		})
		for range rapid.IntRange(1, 3).Draw(rt, "batches") {
			changes := rapid.SliceOfN(random, 1, 150).Draw(rt, "changes")
			var sum queue.Enqueued
			for _, c := range changes {
				e := one.enqueue(c)
				sum.Queued, sum.Held, sum.Bytes, sum.Renamed = sum.Queued+e.Queued, sum.Held+e.Held, sum.Bytes+e.Bytes, append(sum.Renamed, e.Renamed...)
			}
			if diff := cmp.Diff(sum, many.enqueue(changes...)); diff != "" {
				rt.Fatalf("what became of them, one by one and at once:\n%s", diff)
			}
			if diff := cmp.Diff(one.jobRows(), many.jobRows()); diff != "" {
				rt.Fatalf("the jobs, one by one and at once:\n%s", diff)
			}
			// Some are uploaded: then there are records, and files that seem to be moved.
			n := rapid.IntRange(0, 30).Draw(rt, "uploads")
			for _, f := range []*fixture{one, many} {
				for _, job := range f.claim(n) {
					f.completeAs(job, &state.File{RootID: job.RootID, Path: job.Path, Stat: job.Stat, FileID: "id of " + job.RemotePath, RemotePath: job.RemotePath})
				}
			}
		}
	})
}
