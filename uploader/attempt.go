package uploader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/zeebo/xxh3"
	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit"
)

// errChanged says that a file changed while it was read.
var errChanged = errors.New("the file changed while it was uploaded")

// errNotRegular says that something else than a file is at the path by now.
var errNotRegular = errors.New("it is not a regular file any more")

// attempt runs one attempt of a job and finishes it.
func (p *Pool) attempt(ctx context.Context, job *queue.Job) {
	job.Began = time.Now()
	p.stats.inFlight.Add(1)
	defer p.stats.inFlight.Add(-1)
	if p.failure() != nil || ctx.Err() != nil {
		p.giveBack(job)
		return
	}
	root, err := p.root(job)
	if err != nil {
		p.fail(err)
		p.end(job)
		return
	}
	for p.db.Trouble() != nil && ctx.Err() == nil && p.failure() == nil {
		p.beat.Store(time.Now().UnixNano())
		pause(ctx, firstRetry) // what is sent now could not be recorded
	}
	if p.gate.closedFor(time.Now()) > 0 || root.waits() { // since it was claimed
		p.giveBack(job)
		return
	}
	file, st, err := p.openFile(root, job)
	if err != nil {
		if (gone(err) || errors.Is(err, errNotRegular)) && !job.Unsure.IsZero() && !job.Recorded && !root.away() {
			p.adoptOrphan(ctx, job)
			return
		}
		p.settle(ctx, job, err)
		return
	}
	defer file.Close()
	if class, reason := root.Hold(path.Base(job.Path), st.Size); reason != "" {
		p.stats.held.Add(1)
		p.q.Hold(job, st, class, reason, p.done(job))
		return
	}
	if stands, err := p.stands(ctx, job, file, &st); err != nil || !stands {
		if err != nil {
			p.settle(ctx, job, err)
		}
		return
	}
	if job.Recorded && !job.Hash.IsZero() && job.Size == st.Size {
		sum, err := contentOf(ctx, file, st)
		if err != nil {
			p.settle(ctx, job, err)
			return
		}
		if state.Prove(job.Content(), contentRead(st, sum), state.SamePath) == state.Equal {
			p.stats.touched.Add(1)
			p.q.Touch(job, st, p.done(job))
			return
		}
	}
	if job.Displaced && job.Recorded {
		// The file that was here may be elsewhere, where no scan has found it yet, or
		// one has since the job was claimed: then its asset goes with it, and this is a new one.
		elsewhere := !p.calm()
		if !elsewhere {
			elsewhere, err = p.q.IsDonor(ctx, job.RootID, job.Path)
		}
		if err != nil {
			p.settle(ctx, job, err)
			return
		}
		if elsewhere {
			p.put(job, queue.Failure{Free: true, NotBefore: time.Now().Add(stepAside)})
			return
		}
	}
	if !job.Recorded && root.Duplicates != UploadDuplicates && job.Accepted == nil {
		p.copying.Add(1)
		done, err := p.duplicate(ctx, root, job, file, st)
		p.copying.Add(-1)
		if err != nil {
			p.settle(ctx, job, err)
		}
		if err != nil || done {
			return
		}
	}
	if !job.Unsure.IsZero() && job.Accepted == nil {
		there, err := p.confirm(ctx, root, job, file, st)
		if err != nil {
			p.settle(ctx, job, err)
		}
		if err != nil || there {
			return
		}
	}
	if !job.Recorded {
		folder, _ := split(job.RemotePath)
		if err := p.noteFolders(ctx, root, folder); err != nil {
			p.settle(ctx, job, err)
			return
		}
	}
	p.upload(ctx, root, job, file, st)
}

// contentRead is what is known of a file whose content was read.
func contentRead(st state.Stat, sum state.Hash) state.Content {
	return state.Content{Stat: st, Read: true, Hash: sum}
}

// inlineWait is for how long a worker waits for a file itself.
const inlineWait = 100 * time.Millisecond

// stands reports whether a file has been as st has it for as long as its time stamps are
// coarse: from then on no write can leave both its size and its time stamps, and what
// is read can be recorded. Where that takes longer the job is put off, with the look
// that was taken. st is a look that was taken just now.
func (p *Pool) stands(ctx context.Context, job *queue.Job, file *os.File, st *state.Stat) (bool, error) {
	since := max(job.SeenAt, 0)
	if up := state.Uptime(); !st.Same(job.Stat) || since == 0 || since > up { // seen in another run of the system
		since = st.SeenSince(time.Now())
	}
	for {
		left := since + st.Grain() - state.Uptime()
		if left <= 0 {
			return true, nil
		}
		if left > inlineWait {
			p.q.PutAside(job, *st, since, time.Now().Add(left), p.done(job))
			return false, nil
		}
		if pause(ctx, left); ctx.Err() != nil {
			return false, ctx.Err()
		}
		now, err := p.statOf(file)
		if err != nil {
			return false, err
		}
		if !now.Same(*st) {
			since = now.SeenSince(time.Now())
		}
		*st = now
	}
}

// stepAside is how long a job waits for the scans.
const stepAside = 500 * time.Millisecond

// calm reports whether what has happened in all roots is queued.
func (p *Pool) calm() bool {
	for i := range p.o.Roots {
		if r := &p.o.Roots[i]; r.Calm != nil && !r.Calm() && !r.gone() {
			return false
		}
	}
	return true
}

// openFile opens the file of a job for reading, and looks at what it opened.
func (p *Pool) openFile(root *Root, job *queue.Job) (*os.File, state.Stat, error) {
	file, st, err := open(root, job)
	if err != nil {
		return nil, state.Stat{}, err
	}
	if err := p.setMount(file, &st); err != nil {
		return nil, state.Stat{}, errors.Join(err, file.Close())
	}
	return file, st, nil
}

// statOf looks at an open file, and at what its file system proves.
func (p *Pool) statOf(file *os.File) (state.Stat, error) {
	st, err := statOf(file)
	if err != nil {
		return st, err
	}
	err = p.setMount(file, &st)
	return st, err
}

// setMount notes in a look at an open file what its file system proves.
func (p *Pool) setMount(file *os.File, st *state.Stat) error {
	trust, err := p.db.Mounts().Of(int(file.Fd()))
	st.Mount = trust.Mount
	return err
}

// open opens the file of a job for reading, and looks at what it opened.
func open(root *Root, job *queue.Job) (*os.File, state.Stat, error) {
	file, err := root.open(job.Path)
	if err != nil {
		return nil, state.Stat{}, err
	}
	st, err := statOf(file)
	if err == nil && !root.Follow && st != job.Stat {
		// It is not as the scan saw it (an inode's number alone may be another file's
		// by now). os.Root keeps a symlink from leading
		// out of the root; this keeps one from leading to another file inside it.
		var info fs.FileInfo
		if info, err = root.Dir.Lstat(job.Path); err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("open %s: %w", job.Path, errNotRegular)
		}
	}
	if err != nil {
		return nil, state.Stat{}, errors.Join(err, file.Close())
	}
	return file, st, nil
}

func statOf(file *os.File) (state.Stat, error) {
	info, err := file.Stat()
	if err != nil {
		return state.Stat{}, err
	}
	if !info.Mode().IsRegular() {
		return state.Stat{}, fmt.Errorf("open %s: %w", file.Name(), errNotRegular)
	}
	return state.StatOf(info), nil
}

// upload sends the file and records what became of it.
func (p *Pool) upload(ctx context.Context, root *Root, job *queue.Job, file *os.File, st state.Stat) {
	params := root.Params(job.Path)
	if job.Accepted != nil && job.Stat.Same(st) {
		p.lookUp(ctx, root, job, st)
		return
	}
	content := newHashing(file)
	began := time.Now()
	folder, name := path.Split(job.RemotePath)
	t := p.beginTransfer(job, st.Size)
	defer p.endTransfer(t)
	asset, err := p.send(ctx, &imagekit.Upload{
		FileName: name,
		Folder:   folder,
		Source:   imagekit.FromReader(counted{p.limited(ctx, content), &t.sent}, st.Size),
		Params:   params,
		Sent:     &p.stats.sent,
	})
	var api *imagekit.Error
	if err != nil && job.Unsure.IsZero() && (!errors.As(err, &api) || api.Ambiguous) {
		job.Unsure = began // the library may have it, whatever follows
	}
	if errors.As(err, &api) && api.Status >= 400 {
		p.refused(job)
	}
	// Whatever ImageKit says, a file that changed meanwhile was not what was sent.
	if after, statErr := statOf(file); statErr != nil || !sameContent(after, st) || errors.Is(err, imagekit.ErrShortSource) {
		if err == nil && asset.FileID != "" {
			p.settleChanged(job, p.file(job, asset, state.Stat{Size: st.Size, Dev: st.Dev}, content.sum()))
			return
		}
		err = errors.Join(errChanged, statErr)
	}
	if err != nil && ctx.Err() != nil && !errors.As(err, &api) {
		// It was broken off: what was sent by then may have come.
		p.put(job, queue.Failure{Free: true, Doubt: job.Recorded, Unsure: began})
		return
	}
	if err != nil {
		p.settle(ctx, job, err)
		return
	}
	sum := content.sum()
	if asset.FileID == "" { // 202: the asset comes when ImageKit has transformed it
		p.retry(job, queue.Failure{Class: "accepted", Reason: "ImageKit has accepted the file and is transforming it", Free: job.Attempts == 0, Accepted: &sum, Doubt: job.Recorded, Unsure: began,
			NotBefore: time.Now().Add(backoff(job.Attempts, firstPause, longPause))})
		return
	}
	if asset.Size != st.Size && !params.Prepares() {
		p.settle(ctx, job, fmt.Errorf("%w: it says %d bytes were stored; %d were sent", errWrongAnswer, asset.Size, st.Size))
		return
	}
	p.record(job, asset, st, sum)
}

// send sends a file once there is room for one more.
func (p *Pool) send(ctx context.Context, u *imagekit.Upload) (*imagekit.Asset, error) {
	p.window.enter()
	began := time.Now()
	p.stats.requests.Add(1)
	asset, err := sending(p.o.Client).Upload(ctx, u)
	var api *imagekit.Error
	p.window.leave(began, errors.As(err, &api) && (api.Class == imagekit.Throttled || api.Class == imagekit.Transient))
	return asset, err
}

// limited reads no faster than the bandwidth allows.
func (p *Pool) limited(ctx context.Context, r io.Reader) io.Reader {
	if p.o.Bandwidth == nil {
		return r
	}
	return &throttled{ctx: ctx, r: r, b: p.o.Bandwidth}
}

// errWrongAnswer says that ImageKit's answer contradicts what was sent.
var errWrongAnswer = errors.New("ImageKit's answer is wrong")

// sameContent compares the stats of one open file before and after. The ctime
// does not count: a chmod or a new hard link changes no content.
func sameContent(a, b state.Stat) bool {
	return a.Size == b.Size && a.MtimeNs == b.MtimeNs && a.Ino == b.Ino && a.Dev == b.Dev // one open file, so one mount
}

// maxAccepted is how often it is looked for a file that ImageKit has accepted: for
// about a quarter of an hour.
const maxAccepted = 30

// lookUp asks for an asset that ImageKit accepted in an earlier attempt.
func (p *Pool) lookUp(ctx context.Context, root *Root, job *queue.Job, st state.Stat) {
	asset, err := p.findEither(ctx, job.RemotePath)
	if err != nil {
		p.settle(ctx, job, err)
		return
	}
	if asset != nil && asset.Size != st.Size && !prepares(root, job) && !(job.Recorded && asset.VersionID == job.VersionID) {
		// What is there is not what was accepted, which never came perhaps.
		p.retry(job, queue.Failure{Class: imagekit.Transient.String(), Reason: "ImageKit has accepted the file, and lists another in its place", Resend: true,
			NotBefore: time.Now().Add(backoff(job.Attempts, firstRetry, longestRetry))})
		return
	}
	if asset == nil || job.Recorded && asset.VersionID == job.VersionID {
		p.retry(job, queue.Failure{Class: "accepted", Reason: "ImageKit has accepted the file and does not list it yet", Resend: job.Attempts >= maxAccepted,
			NotBefore: time.Now().Add(backoff(job.Attempts, firstPause, longPause))})
		return
	}
	p.record(job, asset, st, *job.Accepted)
}

func (p *Pool) record(job *queue.Job, asset *imagekit.Asset, st state.Stat, sum state.Hash) {
	if mapped(job.RemotePath, asset.FilePath) {
		p.sayMapped(job.RootID, job.RemotePath, asset.FilePath)
	} else if asset.FilePath != job.RemotePath {
		p.stats.noteMismatch(Mismatch{RootID: job.RootID, Path: job.Path, Asked: job.RemotePath, Given: asset.FilePath})
	}
	p.reached(job, true)
	p.o.Log.Debug("uploaded", zap.String("path", job.Path), zap.String("remote_path", asset.FilePath), zap.String("file_id", asset.FileID), zap.Int64("bytes", st.Size))
	p.stats.uploaded.Add(1)
	p.stats.uploadedBytes.Add(st.Size)
	file := p.file(job, asset, st, sum)
	p.stats.remember(job, file)
	p.o.Durations.note(file.UploadedAt.Sub(job.Began))
	p.complete(job, file)
}

// complete records a file, and tells of it once that is on disk.
func (p *Pool) complete(job *queue.Job, file *state.File) {
	p.q.Complete(job, file, p.noting(job, func() Outcome { return uploaded(file, !job.Recorded) }))
}

// noting ends a job, and notes its outcome when that is on disk.
func (p *Pool) noting(job *queue.Job, outcome func() Outcome) func(error) {
	done := p.done(job)
	if p.o.Outbox == nil {
		return done
	}
	return func(err error) {
		if err == nil {
			p.o.Outbox.Note(outcome())
		}
		done(err)
	}
}

// file is the record of a job's file.
func (p *Pool) file(job *queue.Job, asset *imagekit.Asset, st state.Stat, sum state.Hash) *state.File {
	now := time.Now()
	f := &state.File{
		RootID: job.RootID, Path: job.Path, Stat: st, Hash: sum,
		FileID: asset.FileID, VersionID: location(asset).VersionID, Name: asset.Name, RemotePath: asset.FilePath,
		URL: asset.URL, ThumbnailURL: asset.ThumbnailURL, Width: asset.Width, Height: asset.Height,
		FileType: asset.FileType, Response: asset.Raw, UploadedAt: now, CheckedAt: now,
		WantedKey: p.wantedKey(job.RootID, job.Path, asset.FilePath),
	}
	f.SetStoredSize(asset.Size)
	return f
}

// done ends a job when its outcome is on disk, and the pool when it could not
// be written: going on would lose fileIds.
func (p *Pool) done(job *queue.Job) func(error) {
	return func(err error) {
		if err = cmp.Or(err, failpoint.Hit(failpoint.JobDone)); err != nil {
			p.fail(fmt.Errorf("the outcome of %q could not be recorded, so iksync stops before it loses more: %w", job.Path, err))
		}
		p.end(job)
	}
}

// hashing hashes what is read through it.
type hashing struct {
	r io.Reader
	h xxh3.Hasher
}

func newHashing(r io.Reader) *hashing {
	h := &hashing{r: r}
	h.h.Reset()
	return h
}

// Read reads and hashes.
func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	_, _ = h.h.Write(p[:n]) // never fails
	return n, err
}

func (h *hashing) sum() state.Hash { return state.Hash(h.h.Sum128().Bytes()) }

// untilDone ends a long read with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

// Read reads unless the context has ended.
func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
