package uploader

import (
	"io"
	"slices"
	"sync/atomic"
	"time"

	"iksync/queue"
	"iksync/state"
)

// Transfer is an upload on its way.
type Transfer struct {
	RootID int64
	Path   string
	Remote string
	Size   int64 // bytes
	Sent   int64 // bytes read of the file so far
	Began  time.Time
}

// transfer is what a worker tells of one.
type transfer struct {
	job   *queue.Job
	size  int64
	began time.Time
	sent  atomic.Int64
}

// counted counts what is read of a transfer's file.
type counted struct {
	io.Reader
	n *atomic.Int64
}

// Read reads and counts.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (p *Pool) beginTransfer(job *queue.Job, size int64) *transfer {
	t := &transfer{job: job, size: size, began: time.Now()}
	p.mu.Lock()
	p.transfers[job.ID] = t
	p.mu.Unlock()
	return t
}

func (p *Pool) endTransfer(t *transfer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.transfers[t.job.ID] == t {
		delete(p.transfers, t.job.ID)
	}
}

// Transfers returns the uploads that are on their way, the longest first.
func (p *Pool) Transfers() []Transfer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Transfer, 0, len(p.transfers))
	for _, t := range p.transfers {
		all = append(all, Transfer{RootID: t.job.RootID, Path: t.job.Path, Remote: t.job.RemotePath, Size: t.size, Sent: min(t.sent.Load(), t.size), Began: t.began})
	}
	slices.SortFunc(all, func(a, b Transfer) int { return a.Began.Compare(b.Began) })
	return all
}

// Done is an upload that ended well.
type Done struct {
	RootID       int64
	Path         string
	FileID       string
	RemotePath   string
	URL          string
	ThumbnailURL string
	FileType     string
	Size         int64 // bytes
	New          bool  // the path had no record before
	Took         time.Duration
	At           time.Time
}

// maxRecent is how many of them are remembered.
const maxRecent = 48

// remember keeps an upload for [Pool.Recent].
func (c *counters) remember(job *queue.Job, f *state.File) {
	d := Done{RootID: f.RootID, Path: f.Path, FileID: f.FileID, RemotePath: f.RemotePath, URL: f.URL, ThumbnailURL: f.ThumbnailURL, FileType: f.FileType,
		Size: f.Stat.Size, New: !job.Recorded, Took: f.UploadedAt.Sub(job.Began), At: f.UploadedAt}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.recent) < maxRecent {
		c.recent = append(c.recent, d)
		return
	}
	c.recent[c.next] = d
	c.next = (c.next + 1) % maxRecent
}

// Recent returns the last uploads that ended well, the newest first.
func (p *Pool) Recent() []Done {
	c := &p.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(slices.Clone(c.recent[c.next:]), c.recent[:c.next]...)
	slices.Reverse(all)
	return all
}
