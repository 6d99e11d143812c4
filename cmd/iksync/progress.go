package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"go.uber.org/zap"

	"iksync/queue"
	"iksync/uploader"
	"iksync/watcher"
)

const (
	redrawEvery = 200 * time.Millisecond
	logEvery    = 10 * time.Second
)

// work is what progress is read from.
type work struct {
	began    time.Time
	leftover queue.Depth // jobs of an earlier run
	pool     *uploader.Pool
	scanners []*watcher.Scanner
	counted  atomic.Bool // every scan has ended
}

// snapshot is the progress at one moment.
type snapshot struct {
	files, allFiles int64
	bytes, allBytes int64
	seen, failed    int64
	counting        bool
	elapsed         time.Duration
}

func (w *work) snapshot() snapshot {
	st := w.pool.Stats()
	s := snapshot{
		files:    st.Uploaded + st.Touched + st.Vanished + st.Held + st.Failed + st.Moved + st.Copied + st.Aliased,
		bytes:    st.Sent,
		allFiles: w.leftover.Jobs, allBytes: w.leftover.Bytes,
		failed: st.Failed, counting: !w.counted.Load(), elapsed: time.Since(w.began),
	}
	for _, sc := range w.scanners {
		r := sc.Report()
		s.allFiles += r.Queued
		s.allBytes += r.QueuedBytes
		s.seen += r.Files
		s.failed += r.Problems
	}
	s.allFiles = max(s.allFiles, s.files)
	s.bytes = min(s.bytes, max(s.allBytes, st.UploadedBytes)) // repeated attempts count once
	s.allBytes = max(s.allBytes, s.bytes)
	return s
}

func (s snapshot) rate() float64 {
	if s.elapsed < time.Second {
		return 0
	}
	return float64(s.bytes) / s.elapsed.Seconds()
}

// eta is how long the rest takes at the rate so far; "" while that can't be said.
func (s snapshot) eta() string {
	rate := s.rate()
	if rate <= 0 || s.allBytes <= s.bytes {
		return ""
	}
	left := time.Duration(float64(s.allBytes-s.bytes) / rate * float64(time.Second))
	return left.Round(time.Second).String()
}

func (s snapshot) totals() string {
	if s.counting {
		return fmt.Sprintf(" (still counting: %s seen)", humanize.Comma(s.seen))
	}
	return ""
}

// progress shows how far the work is: bars on a terminal, else a log line now and then.
type progress struct {
	out   io.Writer
	bars  *mpb.Progress // nil without a terminal
	files *mpb.Bar
	bytes *mpb.Bar
	quit  chan struct{}
	once  sync.Once
	ended sync.WaitGroup
}

func newProgress(out io.Writer, bars bool) *progress {
	p := &progress{out: out, quit: make(chan struct{})}
	if bars {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithRefreshRate(redrawEvery), mpb.WithWidth(40))
	}
	return p
}

// logOutput is where logs go: above the bars when there are any.
func (p *progress) logOutput() io.Writer {
	if p.bars != nil {
		return p.bars
	}
	return p.out
}

func (p *progress) start(w *work, log *zap.Logger) {
	if p.bars == nil {
		p.ended.Go(func() { p.logLines(w, log) })
		return
	}
	now := func(show func(snapshot) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string { return show(w.snapshot()) })
	}
	p.files = p.bars.AddBar(0, mpb.PrependDecorators(decor.Name("files ")), mpb.AppendDecorators(now(func(s snapshot) string {
		failed := ""
		if s.failed > 0 {
			failed = fmt.Sprintf(", %s failed", humanize.Comma(s.failed))
		}
		return fmt.Sprintf(" %s of %s%s%s", humanize.Comma(s.files), humanize.Comma(s.allFiles), failed, s.totals())
	})))
	p.bytes = p.bars.AddBar(0, mpb.PrependDecorators(decor.Name("bytes ")), mpb.AppendDecorators(now(func(s snapshot) string {
		eta := s.eta()
		if eta != "" {
			eta = ", " + eta + " left"
		}
		return fmt.Sprintf(" %s of %s, %s/s%s", humanize.Bytes(uint64(s.bytes)), humanize.Bytes(uint64(s.allBytes)), humanize.Bytes(uint64(s.rate())), eta)
	})))
	p.ended.Go(func() {
		ticker := time.NewTicker(redrawEvery)
		defer ticker.Stop()
		for {
			p.draw(w.snapshot())
			select {
			case <-p.quit:
				p.draw(w.snapshot())
				return
			case <-ticker.C:
			}
		}
	})
}

func (p *progress) draw(s snapshot) {
	// A bar whose value reaches its total ends by itself; only stop ends these.
	p.files.SetTotal(s.allFiles+1, false)
	p.files.SetCurrent(s.files)
	p.bytes.SetTotal(s.allBytes+1, false)
	p.bytes.SetCurrent(s.bytes)
}

func (p *progress) logLines(w *work, log *zap.Logger) {
	ticker := time.NewTicker(logEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-ticker.C:
		}
		s := w.snapshot()
		log.Info("progress", zap.Int64("files", s.files), zap.Int64("files_total", s.allFiles), zap.Int64("bytes", s.bytes),
			zap.Int64("bytes_total", s.allBytes), zap.Int64("bytes_per_second", int64(s.rate())), zap.String("eta", s.eta()),
			zap.Int64("failed", s.failed), zap.Bool("still_counting", s.counting), zap.Int64("seen", s.seen))
	}
}

// stop ends the display. It is safe to call twice, and without start.
func (p *progress) stop() {
	p.once.Do(func() {
		close(p.quit)
		p.ended.Wait()
		if p.bars == nil {
			return
		}
		for _, bar := range []*mpb.Bar{p.files, p.bytes} {
			if bar != nil {
				bar.Abort(false)
			}
		}
		p.bars.Wait()
	})
}
