package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
)

const (
	// comparedTogether is how many contents are compared before the next listing;
	// comparedAtOnce of them at the same time.
	comparedTogether = 64
	comparedAtOnce   = 4
	// recordEvery is how long proofs wait to be recorded: a kill loses no more.
	recordEvery = 10 * time.Second
)

// hashCheck compares the contents of assets with those that are recorded.
type hashCheck struct {
	v         *verification
	client    *imagekit.Client
	statePath string
	roots     map[int64]uploader.Root
	mounts    *state.Mounts
	waiting   []*hashed
	proofs    []queue.Proof // that are not recorded yet
	recorded  time.Time
}

// hashed is a record and its asset.
type hashed struct {
	d     difference
	file  *state.File
	found *queue.Found
	calls int64

	equal bool
	read  *state.Stat // of the local file, where that was read
	err   error       // nothing was compared
}

func newHashCheck(v *verification, client *imagekit.Client, statePath string) *hashCheck {
	return &hashCheck{v: v, client: client, statePath: statePath, roots: make(map[int64]uploader.Root), recorded: time.Now()}
}

// check compares the content of an asset that is where it is recorded, with its size, if
// that is asked for.
func (h *hashCheck) check(ctx context.Context, s *uploader.Survey, d difference, f *state.File, found *queue.Found) error {
	v := h.v
	switch {
	case f.Stat.MtimeNs == state.NoTime: // it is sent again as it is
		return nil
	case f.Hash.IsZero() && f.Absent != state.Present: // there is nothing to compare with
		return nil
	case !v.all && v.sample == 0 && f.Proven() && found.VersionID == f.VersionID:
		return nil
	case h.transformed(f):
		v.report.Unverifiable++
		return nil
	}
	h.waiting = append(h.waiting, &hashed{d: d, file: f, found: found})
	if len(h.waiting) < comparedTogether {
		return nil
	}
	return h.compare(ctx, s)
}

// transformed reports whether the library has other bytes of a file by design.
func (h *hashCheck) transformed(f *state.File) bool {
	params := h.roots[f.RootID].Params(f.Path)
	return f.StoredSize != nil || params.Prepares()
}

// compare compares what waits.
func (h *hashCheck) compare(ctx context.Context, s *uploader.Survey) error {
	waiting := h.waiting
	h.waiting = nil
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(comparedAtOnce)
	for _, c := range waiting {
		group.Go(func() error {
			c.err = h.one(gctx, c)
			var api *imagekit.Error
			if errors.As(c.err, &api) && api.Class == imagekit.Offline {
				return fmt.Errorf("the library's files can't be downloaded: %w", c.err) // none can
			}
			return gctx.Err()
		})
	}
	err := group.Wait()
	for _, c := range waiting {
		s.Calls += c.calls
		h.note(c, err != nil)
	}
	if time.Since(h.recorded) > recordEvery {
		h.record(context.WithoutCancel(ctx))
	}
	return err
}

// one compares one asset with what is recorded; without a recorded hash with the file.
func (h *hashCheck) one(ctx context.Context, c *hashed) error {
	here := c.file.Hash
	if here.IsZero() {
		root := h.roots[c.file.RootID]
		st, sum, err := root.LocalContent(ctx, h.mounts, c.file.Path, 0)
		if err != nil {
			return err
		}
		here, c.read = sum, &st
	}
	own := uploader.Survey{Client: h.client} // s counts for one goroutine alone
	there, err := own.ContentOf(ctx, c.found)
	c.calls = own.Calls
	c.equal = err == nil && there == here
	if c.equal && c.read != nil {
		c.file.Hash = here
	}
	return err
}

// note notes what came of one comparison. What failed in a run that is broken off says
// nothing.
func (h *hashCheck) note(c *hashed, broken bool) {
	switch {
	case c.err != nil:
		if !broken {
			c.d.Kind, c.d.Detail, c.d.Repair = diffUnclear, "its content could not be compared: "+c.err.Error(), "run verify --hash again"
			h.v.add(c.d, repair{})
		}
	case c.equal:
		h.v.report.Compared++
		if c.file.Unproven {
			h.proofs = append(h.proofs, queue.Proof{File: c.file.ID, FileID: c.file.FileID, Hash: c.file.Hash, Read: c.read})
		}
	default:
		h.v.report.Compared++
		c.d.Kind, c.d.Detail, c.d.Repair = diffContent, "the library has another content of the same size", "it is uploaded as a new version"
		h.v.add(c.d, repair{kind: diffContent, file: c.file.ID, fileID: c.file.FileID})
	}
}

// sameContent reports whether an asset is known to have the content of a record. It is
// found out only where something follows from it.
func (h *hashCheck) sameContent(ctx context.Context, s *uploader.Survey, f *state.File, found *queue.Found) (bool, error) {
	if !h.v.repair || f.Hash.IsZero() || found.Size != f.LibrarySize() || h.transformed(f) {
		return false, nil
	}
	c := hashed{file: f, found: found}
	err := h.one(ctx, &c)
	s.Calls += c.calls
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return err == nil && c.equal, nil
}

// record records what was proven in the state file: by the daemon that has it, else by
// itself. What can't be recorded waits for the next time.
func (h *hashCheck) record(ctx context.Context) {
	h.recorded = time.Now()
	report := &h.v.report
	report.NotRecorded = ""
	for len(h.proofs) > 0 {
		some := h.proofs[:min(len(h.proofs), control.MaxProofs)]
		n, err := h.prove(ctx, some)
		if err != nil {
			report.NotRecorded = err.Error()
			return
		}
		report.Proven += n
		h.proofs = h.proofs[len(some):]
	}
}

func (h *hashCheck) prove(ctx context.Context, proofs []queue.Proof) (int64, error) {
	n, err := control.NewClient(h.statePath).Prove(ctx, proofs)
	if !errors.Is(err, control.ErrNoDaemon) {
		return n, err
	}
	db, err := openState(ctx, h.statePath)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return newQueue(db).Prove(ctx, proofs)
}
