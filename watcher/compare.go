package watcher

import (
	"path"

	"iksync/queue"
	"iksync/state"
)

// verdict is what is to be done about a path.
type verdict int

const (
	inStep  verdict = iota // the record shows it as it is
	waiting                // a job shows it as it is
	failing                // the same, and the job has failed
	held                   // the same, and the job is held
	differs                // neither: queue it
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
	if record != nil && record.Stat.Same(observed) {
		return inStep
	}
	return differs
}

// change makes the change of a file, whatever is recorded of it.
func (o *Options) change(p string, st state.Stat, priority int) queue.Change {
	c := queue.Change{RootID: o.Root.ID, Path: p, Stat: st, Priority: priority}
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
