package watcher

import (
	"path"
	"time"

	"iksync/queue"
	"iksync/state"
)

// verdict is what is to be done about a path.
type verdict int

const (
	inStep      verdict = iota // the record shows it as it is
	waiting                    // a job shows it as it is
	failing                    // the same, and the job has failed
	held                       // the same, and the job is held
	differs                    // neither: queue it
	notCompared                // the record may show it: the file is queued to be read
)

// String says what was found.
func (v verdict) String() string {
	switch v {
	case inStep:
		return "as recorded"
	case waiting:
		return "in the queue already"
	case failing:
		return "has failed like that before"
	case held:
		return "can't be uploaded as it is"
	case notCompared:
		return "may be as recorded: queued to be compared"
	}
	return "differs from its record: queued"
}

// compare decides about a wanted file, as observed on disk, from its record and
// its job (nil when there is none) and from why it can't be uploaded as it is
// ("" when it can). It is the one place that decides.
func compare(observed state.Stat, record, job *queue.Known, hold string) verdict {
	if job != nil {
		isHeld := job.State == queue.Held
		if job.Ignored() && job.Stat.Same(observed) {
			return held
		}
		if !job.Stat.Same(observed) || isHeld != (hold != "") || job.Reason != hold {
			return differs
		}
		switch job.State {
		case queue.Held:
			return held
		case queue.Failed:
			return failing
		}
		return waiting
	}
	if record == nil {
		return differs
	}
	switch state.Prove(record.Content(), state.Content{Stat: observed}, state.SamePath) {
	case state.Equal:
		return inStep
	case state.NotCompared:
		if observed.Mount != 0 { // elsewhere another inode is another file, whose own may be under another name
			return notCompared
		}
	}
	return differs
}

// change makes the change of a file that has been seen to be so since a time, whatever is
// recorded of it.
func (o *Options) change(p string, st state.Stat, since time.Duration, priority int) queue.Change {
	c := queue.Change{RootID: o.Root.ID, Path: p, Stat: st, SeenAt: since, Priority: priority}
	c.HoldClass, c.Hold = o.Limits.Hold(path.Base(p), st.Size)
	if c.Hold == "" {
		remote, err := o.Remote(p)
		if err != nil {
			c.HoldClass, c.Hold = HoldTooDeep, err.Error()
		}
		c.Remote = remote
	}
	return c
}
