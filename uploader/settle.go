package uploader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// How long a job waits after a failed attempt: full jitter up to first doubled
// with each attempt, longest at most.
const (
	firstRetry, longestRetry = time.Second, 5 * time.Minute
	// A file that ImageKit throttles is left alone for minutes.
	firstThrottled, longestThrottled = time.Minute, 30 * time.Minute
	// A file that changes is left to settle.
	changedRetry = 2 * time.Second
	// defaultThrottle is the pause after a 429 that does not say how long.
	defaultThrottle = 5 * time.Second
)

// errState says that the state file can't be read or written.
var errState = errors.New("the state file can't be used")

// settle decides what follows a failed attempt. It is the one place that does.
func (p *Pool) settle(ctx context.Context, job *queue.Job, err error) {
	now := time.Now()
	var api *imagekit.Error
	switch {
	case ctx.Err() != nil && !errors.As(err, &api):
		p.giveBack(job)
	case errors.As(err, &api):
		p.settleAPI(job, api, now)
	case errors.Is(err, errState):
		p.fail(err)
		p.giveBack(job)
	case gone(err) && p.absent(job):
		// The file's absence says nothing while its root is not there.
		p.put(job, queue.Failure{Free: true, NotBefore: now.Add(firstRetry)})
	case gone(err), errors.Is(err, errNotRegular):
		p.stats.vanished.Add(1)
		p.q.Drop(job, p.there(job), p.done(job))
	case errors.Is(err, errChanged):
		p.settleChanged(job, nil)
	case errors.Is(err, errWrongAnswer):
		p.settleWrong(job, err, now)
	default: // the file can't be read
		p.deadLetter(job, queue.Failure{Class: "unreadable", Reason: err.Error()})
	}
}

// there returns what looks whether the file of a job is there after all.
func (p *Pool) there(job *queue.Job) func() bool {
	return func() bool {
		root, err := p.root(job)
		if err != nil {
			return false
		}
		file, _, err := open(root, job)
		return err == nil && file.Close() == nil
	}
}

// gone reports whether err says that nothing is at a path.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// settleChanged lets a file that changed while it was sent settle. What was stored of
// it, if anything, is recorded, so that its fileId is known whatever becomes of
// the file.
func (p *Pool) settleChanged(job *queue.Job, stored *state.File) {
	p.stats.changed.Add(1)
	p.retry(job, queue.Failure{Class: "changing", Reason: errChanged.Error(), Resend: true, Stored: stored, Doubt: job.Recorded && stored == nil,
		NotBefore: time.Now().Add(max(changedRetry, backoff(job.Attempts, changedRetry, longestRetry)))})
}

// maxWrongAnswers is after how many wrong answers a file is given up. Each of them has
// stored a version, of which ImageKit keeps 100.
const maxWrongAnswers = 3

// settleWrong sends a file again whose answer was wrong, or gives it up.
func (p *Pool) settleWrong(job *queue.Job, err error, now time.Time) {
	f := queue.Failure{Class: "wrong_answer", Reason: err.Error(), Wrong: true, Resend: true, Doubt: job.Recorded, Unsure: now,
		NotBefore: now.Add(backoff(job.Attempts, firstRetry, longestRetry))}
	if n := job.WrongAnswers + 1; n >= maxWrongAnswers {
		f.Reason += fmt.Sprintf(" (wrong answer %d: no further try, because each stores a version; iksync retry tries once more)", n)
		p.deadLetter(job, f)
		return
	}
	p.retry(job, f)
}

// reached notes that ImageKit answered to a job; sound is that it accepts the
// account and the key.
func (p *Pool) reached(job *queue.Job, sound bool) {
	if over := p.gate.reached(sound, job.Began); over != nil {
		p.o.Log.Info("uploads go on: ImageKit answers as it should again", zap.Stringer("class", over.Class), zap.Duration("after", time.Since(over.Since)))
	}
}

// refusedAll notes that ImageKit takes no uploads at all at present, whatever the
// file. It ends a pool that is to end some day; else all wait, and one is
// tried now and then.
func (p *Pool) refusedAll(e *imagekit.Error, now time.Time) {
	if p.o.MaxAttempts > 0 {
		p.fail(e)
		return
	}
	if p.gate.trip(now, now.Add(p.o.Probe), e) {
		what := "ImageKit takes no uploads for this account at present: all wait, and go on by themselves"
		if e.Class == imagekit.Credentials {
			what = "ImageKit refuses the private key: all uploads wait, and go on by themselves once it is accepted (a key file that changes is read again)"
		}
		p.o.Log.Error(what, zap.String("reason", reason(e)), zap.String("request_id", e.RequestID), zap.Duration("tried_every", p.o.Probe))
	}
}

func (p *Pool) settleAPI(job *queue.Job, e *imagekit.Error, now time.Time) {
	f := queue.Failure{Class: e.Class.String(), Reason: reason(e), RequestID: e.RequestID, Doubt: job.Recorded && e.Ambiguous && e.Op == "upload"}
	if e.Class != imagekit.Offline {
		p.reached(job, e.Class == imagekit.File || e.Class == imagekit.FileThrottled)
	}
	switch e.Class {
	case imagekit.Account, imagekit.Credentials:
		f.Free = true
		p.refusedAll(e, now)
		p.put(job, f)
	case imagekit.Offline:
		f.Free = true
		p.offline(e, now)
		p.put(job, f)
	case imagekit.Throttled:
		wait := e.RetryAfter
		if wait == 0 {
			wait = backoff(job.Attempts, defaultThrottle, longPause)
		}
		p.gate.pause(now, wait)
		f.Free = true
		p.put(job, f)
	case imagekit.FileThrottled:
		f.NotBefore = now.Add(backoff(job.Attempts, firstThrottled, longestThrottled))
		p.retry(job, f)
	case imagekit.Transient:
		f.NotBefore = now.Add(max(e.RetryAfter, backoff(job.Attempts, firstRetry, longestRetry)))
		p.retry(job, f)
	default:
		p.deadLetter(job, f)
	}
}

// offline notes that no connection could be made.
func (p *Pool) offline(e *imagekit.Error, now time.Time) {
	switch n := p.gate.unreachable(now, e); {
	case n > maxOffline && p.o.MaxAttempts > 0:
		p.fail(e)
	case n == 1:
		p.o.Log.Warn("ImageKit can't be reached: uploads wait and are tried again, less and less often up to a minute", zap.String("reason", e.Message))
	}
}

// absent reports whether a job's root is not the directory that it was.
func (p *Pool) absent(job *queue.Job) bool {
	root, err := p.root(job)
	if err != nil {
		return true
	}
	return root.gone()
}

// reason is what a listing shows of a refusal: ImageKit's words first.
func reason(e *imagekit.Error) string {
	if e.Help != "" {
		return e.Message + " " + e.Help
	}
	return e.Message
}

// retry lets the job wait, or gives it up when it was tried often enough.
func (p *Pool) retry(job *queue.Job, f queue.Failure) {
	if p.o.MaxAttempts > 0 && job.Attempts+1 >= p.o.MaxAttempts && !f.Free {
		p.deadLetter(job, f)
		return
	}
	p.stats.retries.Add(1)
	p.o.Log.Debug("upload will be tried again", zap.String("path", job.Path), zap.String("class", f.Class),
		zap.String("reason", f.Reason), zap.Time("not_before", f.NotBefore), zap.Int("attempts", job.Attempts+1))
	p.put(job, f)
}

func (p *Pool) deadLetter(job *queue.Job, f queue.Failure) {
	f.Accepted, f.Resend = nil, true // what has not come by now is sent again, should it be tried again
	p.stats.failed.Add(1)
	f.Dead = true
	p.o.Log.Warn("upload failed", zap.String("path", job.Path), zap.String("class", f.Class),
		zap.String("reason", f.Reason), zap.String("request_id", f.RequestID))
	p.q.Fail(job, f, p.noting(job, func() Outcome {
		return Outcome{Kind: Failed, At: time.Now(), RootID: job.RootID, Path: job.Path, RemotePath: job.RemotePath,
			Class: f.Class, Reason: f.Reason, RequestID: f.RequestID, Attempts: job.Attempts + 1}
	}))
}

func (p *Pool) put(job *queue.Job, f queue.Failure) { p.q.Fail(job, f, p.done(job)) }

// giveBack returns a job that was broken off, or not begun.
func (p *Pool) giveBack(job *queue.Job) {
	p.put(job, queue.Failure{Free: true})
}
