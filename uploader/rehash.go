package uploader

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
)

const (
	// rehashRate bounds the reading of files that need not be read, bytes a second.
	rehashRate = 32 << 20
	// rehashPiece is how much is read at a time.
	rehashPiece = 1 << 20
	// rehashPage is how many records are looked up at a time; rehashCost is what a file
	// costs besides its bytes, in bytes.
	rehashPage, rehashCost = 100, 64 << 10
	// rehashRest is the longest wait between two looks whether there is something to read.
	rehashRest = time.Hour
	// rehashShare is the part of the period that a pass is to take, so that it ends in time.
	rehashShare = 0.9
)

// rehash reads every recorded file of a root again within each period, to find content
// that changed while nothing else shows it: writes through a memory mapping, and damage.
func (p *Pool) rehash(ctx context.Context, root *Root) error {
	for {
		pass, err := p.q.Rehash(ctx, root.ID)
		if err != nil {
			return err
		}
		if !pass.Ended.IsZero() {
			if left := time.Until(pass.Began.Add(p.o.Rehash)); left > 0 {
				if pause(ctx, min(left, rehashRest)); ctx.Err() != nil {
					return nil
				}
				continue
			}
			pass = queue.RehashPass{RootID: root.ID, Began: time.Now()}
		}
		if err := p.rehashPass(ctx, root, pass); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

func (p *Pool) rehashPass(ctx context.Context, root *Root, pass queue.RehashPass) error {
	files, bytes, err := p.q.LeftToRehash(ctx, pass)
	if err != nil {
		return err
	}
	left := bytes + files*rehashCost
	for ctx.Err() == nil {
		page, err := p.q.ToRehash(ctx, pass, rehashPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			pass.Ended = time.Now()
			p.o.Log.Info("files read again", zap.String("root", root.Dir.Name()), zap.Int64("files", pass.Read), zap.Duration("took", pass.Ended.Sub(pass.Began)))
			return p.q.NoteRehash(ctx, pass)
		}
		for _, f := range page {
			for root.away() {
				if pause(ctx, pausedPoll); ctx.Err() != nil {
					return nil
				}
			}
			began := time.Now()
			if read, err := p.rehashFile(ctx, root, f); err != nil || ctx.Err() != nil {
				return err
			} else if read {
				pass.Read++
			}
			cost := f.Stat.Size + rehashCost
			wait := p.rehashWait(pass, cost, max(left, cost)) - time.Since(began)
			left -= cost
			pass.After = f.Path
			if wait > time.Second { // it may be long
				if err := p.q.NoteRehash(ctx, pass); err != nil {
					return err
				}
			}
			pause(ctx, max(wait, 0))
		}
		if err := p.q.NoteRehash(ctx, pass); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// rehashWait is how long a file may take of the time that is left for a pass. A clock
// that jumps makes that the whole period at most, and the least that the rate allows.
func (p *Pool) rehashWait(pass queue.RehashPass, cost, left int64) time.Duration {
	period := time.Duration(float64(p.o.Rehash) * rehashShare)
	remaining := min(max(period-time.Since(pass.Began), 0), period)
	return max(time.Duration(float64(remaining)*float64(cost)/float64(left)), time.Duration(cost)*time.Second/rehashRate)
}

// rehashFile reads a file that its metadata shows as recorded, and lists it as failed
// when its content is another. It is false when there was nothing to read.
func (p *Pool) rehashFile(ctx context.Context, root *Root, f *state.File) (bool, error) {
	if f.Absent != state.Present || !f.Content().Read {
		return false, nil
	}
	var sum state.Hash
	var st state.Stat
	err := p.o.low(func() (err error) {
		sum, st, err = p.slowContent(ctx, root, f)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return false, nil
	case errors.Is(err, errChanged), err != nil && gone(err):
		return false, nil // a scan or an event sees to that
	case err != nil:
		p.o.Log.Warn("file can't be read again", zap.String("path", f.Path), zap.Error(err))
		return false, nil
	}
	if state.Prove(f.Content(), contentRead(st, sum), state.SamePath) == state.Equal {
		return true, nil
	}
	const reason = "the content changed while size and times did not: iksync retry sends it; if the disk has damaged it, restore the file instead"
	noted, err := p.q.Altered(ctx, f, st, reason)
	if noted {
		p.o.Log.Error("content changed without a trace", zap.String("root", root.Dir.Name()), zap.String("path", f.Path),
			zap.String("hint", "iksync retry sends it; if the disk has damaged it, restore the file"))
	}
	return true, err
}

// slowContent reads the file of a record at a bounded rate. It is errChanged when metadata
// does not show the file as it is recorded.
func (p *Pool) slowContent(ctx context.Context, root *Root, f *state.File) (state.Hash, state.Stat, error) {
	file, st, err := p.openFile(root, &queue.Job{Path: f.Path, Stat: f.Stat})
	if err != nil {
		return state.Hash{}, st, err
	}
	defer file.Close()
	if state.Prove(f.Content(), state.Content{Stat: st}, state.SamePath) != state.Equal {
		return state.Hash{}, st, errChanged
	}
	sum, err := slowHash(ctx, file, st.Size)
	if err != nil {
		return sum, st, err
	}
	if after, err := p.statOf(file); err != nil || !after.Same(st) {
		return sum, st, errors.Join(errChanged, err)
	}
	return sum, st, nil
}

func slowHash(ctx context.Context, file *os.File, size int64) (state.Hash, error) {
	h := newHashing(&untilDone{ctx: ctx, r: io.LimitReader(file, size)})
	for n := int64(0); n < size; {
		began := time.Now()
		piece, err := io.CopyN(io.Discard, h, min(rehashPiece, size-n))
		n += piece
		if errors.Is(err, io.EOF) {
			return state.Hash{}, errChanged
		}
		if err != nil {
			return state.Hash{}, err
		}
		if n < size {
			pause(ctx, time.Duration(piece)*time.Second/rehashRate-time.Since(began))
		}
	}
	return h.sum(), nil
}

// low runs fn with the lowest priority there is.
func (o *Options) low(fn func() error) error {
	if o.LowPriority == nil {
		return fn()
	}
	return o.LowPriority(fn)
}
