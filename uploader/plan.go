package uploader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// What a step does.
const (
	StepUpload     = "upload"      // a new asset
	StepUpdate     = "update"      // a new version of one
	StepTouch      = "touch"       // the content is as recorded: nothing is sent
	StepMove       = "move"        // rename or move an asset
	StepMoveFolder = "move_folder" // and a whole folder
	StepCopy       = "copy"        // let ImageKit copy one
	StepAlias      = "alias"       // record the fileId of another file of the same content
	StepTrash      = "trash"
	StepDelete     = "delete"
	StepUnreadable = "unreadable"
)

// Step is one thing that a plan does.
type Step struct {
	Do         string
	RootID     int64
	Path       string // local, below the root
	From       string // local path before, of a move; the other file, of a copy or an alias
	Remote     string
	FromRemote string
	Size       int64  // bytes sent
	Files      int64  // of a folder; else 1
	Why        string // where that is not plain
}

// Plan does on a copy of the state file all that Run would do, with a library in which
// everything succeeds and nothing happens, and tells each step. The pool's
// state file is changed by it: it must be a copy that is thrown away. remote, when not nil, is
// asked whether something is in the way. It returns how many calls of ImageKit's API
// there would be.
func (p *Pool) Plan(ctx context.Context, remote *imagekit.Client, tell func(Step)) (calls int64, err error) {
	lib := newPlanned(p.db, p.q, remote)
	p.library, p.tell = lib, tell
	if err := p.indexHashes(ctx); err != nil {
		return 0, err
	}
	ids := p.rootIDs()
	for {
		if did, _, err := p.mover.step(ctx); err != nil {
			return 0, err
		} else if !did {
			break
		}
	}
	// A list of its own, since the steps end the jobs.
	uploads := int64(0)
	for more := true; more; {
		more = false // an upload can make others necessary
		for item, err := range p.q.List(ctx, ids, queue.Ready) {
			if err != nil {
				return 0, err
			}
			sent, err := p.planUpload(ctx, lib, item.RootID, item.Path)
			if err != nil {
				return 0, err
			}
			if sent {
				more = true
				uploads++
			}
		}
	}
	if err := p.mover.remove(ctx); err != nil {
		return 0, err
	}
	if err := p.mover.shortenAtEnd(ctx); err != nil && !errors.Is(err, errLater) {
		return 0, err
	}
	return lib.calls + uploads, ctx.Err()
}

// planUpload tells what becomes of one job; true when its file is sent.
func (p *Pool) planUpload(ctx context.Context, lib *planned, rootID int64, local string) (bool, error) {
	job, err := p.q.ClaimOne(ctx, rootID, local, lease)
	if err != nil || job == nil {
		return false, err
	}
	root, err := p.root(job)
	if err != nil {
		return false, err
	}
	step := Step{Do: StepUpload, RootID: rootID, Path: local, Remote: job.RemotePath, Size: job.Stat.Size, Files: 1}
	file, st, err := p.openFile(root, job)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
		return false, nil // it went since the scan
	}
	if err != nil {
		step.Do, step.Why, step.Size = StepUnreadable, err.Error(), 0
		p.tell(step)
		return false, nil
	}
	defer file.Close()
	if job.Recorded {
		step.Do = StepUpdate
		if job.Size == st.Size && !job.Hash.IsZero() {
			sum, err := contentOf(ctx, file, st)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if err == nil && state.Prove(job.Content(), contentRead(st, sum), state.SamePath) == state.Equal {
				step.Do, step.Size = StepTouch, 0
			}
		}
	} else if root.Duplicates != UploadDuplicates {
		done, err := p.duplicate(ctx, root, job, file, st)
		if err != nil && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if done {
			return false, p.flush()
		}
	}
	if step.Do == StepUpload {
		folder, _ := split(job.RemotePath)
		if err := p.noteFolders(ctx, root, folder); err != nil {
			return false, err
		}
		size, is, err := lib.inTheWay(ctx, job.RemotePath)
		if err != nil {
			return false, err
		}
		if is {
			step.Why = fmt.Sprintf("the library has a file of %d bytes there, which gets a new version", size)
		}
	}
	if root.Duplicates != UploadDuplicates && step.Do != StepTouch {
		sum, err := contentOf(ctx, file, st)
		if err != nil {
			p.tell(step)
			return true, ctx.Err()
		}
		// Recorded as if it were there, so that its duplicates are seen, and those that it had.
		asset := &imagekit.Asset{FileID: "planned:" + job.RemotePath, Name: path.Base(job.RemotePath), FilePath: job.RemotePath, Size: st.Size}
		p.q.Complete(job, p.file(job, asset, st, sum), func(error) {})
		if err := p.flush(); err != nil {
			return false, err
		}
	}
	p.tell(step)
	return step.Do != StepTouch, nil
}

// told tells a step of a plan.
func (p *Pool) told(s Step) {
	if p.tell != nil {
		p.tell(s)
	}
}

// toldMove tells that a file's asset is moved.
func (p *Pool) toldMove(mv *queue.Move, was string) {
	p.told(Step{Do: StepMove, RootID: mv.RootID, Path: mv.Path, From: mv.Donor.Path, Remote: mv.Remote, FromRemote: was, Files: 1})
}

// toldRemoval tells that a copy is removed.
func (p *Pool) toldRemoval(i *queue.Intent, f *state.File) {
	do := StepDelete
	if i.Kind == queue.TrashFile {
		do = StepTrash
	}
	p.told(Step{Do: do, RootID: f.RootID, Path: f.Path, Remote: i.Target, FromRemote: i.Source, Files: 1,
		Why: f.Absent.String() + " since " + f.AbsentAt.UTC().Format(time.RFC3339)})
}
