package uploader

import (
	"context"
	"os"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// clockSlack is by how much the times of two clocks may be apart that run at the
// same pace: ImageKit tells whole seconds.
const clockSlack = 2 * time.Second

// sentByUs reports whether the asset at a job's remote path is what was sent of
// it without an answer: it came since then, and is no version that is recorded.
func sentByUs(job *queue.Job, asset *imagekit.Asset, size int64) bool {
	return asset != nil && asset.Size == size && asset.Age > 0 && asset.Age <= time.Since(job.Unsure)+clockSlack &&
		!(job.Recorded && location(asset).VersionID == job.VersionID)
}

func prepares(root *Root, job *queue.Job) bool {
	params := root.Params(job.Path)
	return params.Prepares()
}

// confirm asks the library for a file whose upload had no answer, and records it
// if it is there; false is that it must be sent.
func (p *Pool) confirm(ctx context.Context, root *Root, job *queue.Job, file *os.File, st state.Stat) (bool, error) {
	if job.Changed || !st.Same(job.Stat) || prepares(root, job) {
		return false, nil // what was sent is not what is there now, or was not stored as it is
	}
	asset, err := p.findEither(ctx, job.RemotePath)
	if err != nil {
		return false, err
	}
	if asset == nil && !job.Recorded && !p.wasRefused(job) && !p.lookedFor(job, listingLag) {
		p.put(job, queue.Failure{Free: true, NotBefore: time.Now().Add(backoff(2, firstRetry, listingLag))})
		return true, nil
	}
	if !sentByUs(job, asset, st.Size) {
		p.stats.resent.Add(1)
		p.o.Log.Debug("sent again: an upload had no answer, and the library does not list it", zap.String("path", job.Path), zap.String("remote_path", job.RemotePath))
		return false, nil
	}
	sum, err := contentOf(ctx, file, st)
	if err != nil {
		return false, err
	}
	p.stats.confirmed.Add(1)
	p.o.Log.Info("an upload that had no answer has come all the same", zap.String("path", job.Path), zap.String("remote_path", asset.FilePath), zap.String("file_id", asset.FileID))
	p.record(job, asset, st, sum)
	return true, nil
}

// refused notes that the answer to an upload was an error, which rarely leaves an asset:
// one look shows whether it has, and what is sent in vain is a version.
func (p *Pool) refused(job *queue.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.refusals) >= maxLooks {
		clear(p.refusals)
	}
	p.refusals[job.ID] = true
}

// wasRefused reports whether the last answer to an upload was an error.
func (p *Pool) wasRefused(job *queue.Job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.refusals[job.ID]
	delete(p.refusals, job.ID)
	return was
}

// maxLooks bounds the jobs of which the first look is remembered.
const maxLooks = 10_000

// lookedFor reports whether an asset that no listing shows has been looked for as long as
// listings may lag. The time counts from the first look of this pool, by a clock that only
// runs forward.
func (p *Pool) lookedFor(job *queue.Job, lag time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, ok := p.looks[job.ID]
	if !ok {
		if len(p.looks) >= maxLooks { // jobs that ended otherwise
			clear(p.looks)
		}
		p.looks[job.ID] = time.Now()
		return false
	}
	if time.Since(first) < lag {
		return false
	}
	delete(p.looks, job.ID)
	return true
}

// adoptOrphan records the asset of a file that went after its upload had no
// answer: then its fileId is known, and the policy for files that are gone sees to it.
func (p *Pool) adoptOrphan(ctx context.Context, job *queue.Job) {
	asset, err := p.findEither(ctx, job.RemotePath)
	if err != nil {
		p.settle(ctx, job, err)
		return
	}
	if asset == nil && !p.lookedFor(job, orphanLag) {
		p.put(job, queue.Failure{Class: "vanished", Free: true, Reason: "the file is gone; the library is asked whether an upload without an answer has arrived",
			NotBefore: time.Now().Add(backoff(2, firstRetry, longPause))})
		return
	}
	if asset == nil || asset.Age == 0 || asset.Age > time.Since(job.Unsure)+clockSlack {
		p.stats.vanished.Add(1)
		p.q.Drop(job, p.there(job), p.done(job))
		return
	}
	p.o.Log.Info("an upload that had no answer has come, and its file is gone since", zap.String("path", job.Path), zap.String("remote_path", asset.FilePath), zap.String("file_id", asset.FileID))
	p.q.Complete(job, p.file(job, asset, state.Stat{Size: asset.Size, MtimeNs: state.NoTime, Dev: job.Stat.Dev}, state.Hash{}), p.done(job))
}
