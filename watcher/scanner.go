package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher/filter"
)

// Symlinks says what is done with symbolic links below a root.
type Symlinks int

const (
	// SkipSymlinks leaves them out; they are counted.
	SkipSymlinks Symlinks = iota
	// FollowInside takes those that lead to a file or directory inside the root.
	FollowInside
)

// Options configure a [Scanner].
type Options struct {
	Root     state.Root
	Filter   *filter.Set
	Limits   Limits
	Symlinks Symlinks
	// Remote gives the wanted remote path of a path below the root; its error is
	// why the file can't be uploaded.
	Remote func(path string) (string, error)
	// Priority is that of the jobs that are made.
	Priority int
	// Watch, when not nil, is called with each directory ("" is the root) before
	// it is listed.
	Watch func(dir string, st state.Stat)
	// Unsettled, when not nil, is asked about each file that differs; when it
	// says true the file is not queued, because it is seen to otherwise.
	Unsettled func(path string, st state.Stat) bool
	// Skipped, when not nil, is called with each path that is not wanted ("/" at the end of a
	// directory's) and with the rule that decided.
	Skipped func(path, rule string)
	// Young, when not nil, is called with each file that the filters leave out
	// only because it is too young.
	Young func(path string)
}

const (
	// Batches start small, so that the first upload starts with the first files, and grow.
	firstBatch = 16
	maxBatch   = 1000
	// flushAfter bounds how long a found change waits for its batch.
	flushAfter = 200 * time.Millisecond
)

// Scanner walks one root once.
type Scanner struct {
	o     Options
	q     *queue.Queue
	tally *tally

	known   *knownRows
	links   *os.Root // for symlinks that are followed
	scratch []byte   // of getdents
	path    []byte   // of the entry that is looked at
	above   []fileID // the directories above, against loops through symlinks
	start   time.Time
	trust   trusts

	batch     []queue.Change
	batchSize int
	flushed   time.Time
	queueing  chan enqueued  // of the batch that is being queued while the walk goes on; nil when none is
	spare     []queue.Change // that batch, and afterwards its memory
	cancel    []string       // jobs that are not to be done any more: their files are not wanted
	settled   []string       // held jobs of files that are as recorded
	displaced []queue.Change
	// By device, of recorded files that differ in nothing else: how many have their inode
	// number, and how many another.
	numbered, renumbered map[uint64]int64
	paths                map[uint64]string // of one of the latter
	// doubtful are those of the latter whose content was read in this mount.
	doubtful []queue.Change
	present  []string // records whose files are there again; they are queued, too: a record may have gone meanwhile
	absent   []queue.Absent
	vacancy  vacancy // the last directory that absent files were in
	identity rootIdentity
	empty    bool  // the root is, so nothing is inferred
	found    int64 // files with the recorded size and modification time
}

// enqueued is what became of a batch.
type enqueued struct {
	queue.Enqueued
	err error
}

// maxDisplaced bounds the changes that are kept to the end.
const maxDisplaced = 10_000

type fileID struct{ dev, ino uint64 }

// NewScanner returns a scanner that queues what differs to q.
func NewScanner(q *queue.Queue, o Options) *Scanner {
	return &Scanner{o: o, q: q, tally: newTally(), trust: make(trusts),
		numbered: make(map[uint64]int64), renumbered: make(map[uint64]int64), paths: make(map[uint64]string)}
}

// Report returns what the scan has found so far; it may be called while Run runs.
func (s *Scanner) Report() Report { return s.tally.report() }

// Run walks the root and queues every difference. What can't be looked at is a
// problem in the report, not an error: what the records say of it stays. An
// error is one that ends the scan: the root is gone, the state file fails, or
// ctx has ended.
func (s *Scanner) Run(ctx context.Context) error { return s.RunBelow(ctx, "") }

// RunBelow is Run for one directory of the root and what is below it; "" is the
// root itself. A directory that the filters cut is not looked at.
func (s *Scanner) RunBelow(ctx context.Context, below string) error {
	top, err := openRootDir(s.o.Root.Path)
	if err != nil {
		return fmt.Errorf("scan root %s: %w", s.o.Root.Path, err)
	}
	defer func() { top.close() }()
	if s.links, err = os.OpenRoot(s.o.Root.Path); err != nil {
		return fmt.Errorf("scan root %s: %w", s.o.Root.Path, err)
	}
	defer s.links.Close()
	scope := s.o.Filter.Root()
	if below != "" {
		way := 0 // length of the path of top
		for name := range strings.SplitSeq(below, "/") {
			inner, decision := scope.Enter(name)
			if decision.Excluded {
				return nil
			}
			self, err := top.self()
			if err != nil {
				return fmt.Errorf("scan %s below root %s: %w", below, s.o.Root.Path, err)
			}
			s.above = append(s.above, fileID{self.stat.Dev, self.stat.Ino})
			way += len(name)
			next, err := top.open(name)
			if s.o.Symlinks == FollowInside && (errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)) {
				next, err = s.openLink(below[:way])
			}
			if err != nil {
				return fmt.Errorf("scan %s below root %s: %w", below, s.o.Root.Path, err)
			}
			way++
			top.close()
			top, scope = next, inner
		}
	}
	rows, stop := readKnown(ctx, s.q, s.o.Root.ID, below)
	defer stop()
	s.known = rows
	s.scratch = make([]byte, direntBuffer)
	s.path = make([]byte, 0, 512)
	if below != "" {
		s.path = append(append(s.path, below...), '/')
	}
	s.start, s.flushed, s.batchSize = time.Now(), time.Now(), firstBatch
	if s.identity, err = identify(s.o.Root.Path); err != nil {
		return fmt.Errorf("scan root %s: %w", s.o.Root.Path, err)
	}

	err = s.walk(ctx, top, scope)
	if err == nil {
		err = s.passRest(ctx)
	}
	if err == nil {
		err = s.emitDisplaced(ctx)
	}
	if last := s.awaitBatch(); err == nil {
		err = last
	}
	if err == nil {
		err = ctx.Err() // rows that were not read look like rows that are not there
	}
	if err != nil {
		return fmt.Errorf("scan root %s: %w", s.o.Root.Path, err)
	}
	if below == "" {
		if err := s.confirm(ctx); err != nil {
			return fmt.Errorf("scan root %s: %w", s.o.Root.Path, err)
		}
	}
	s.tally.completed.Store(true)
	return nil
}

// confirm notes that the whole of the root was seen, which alone lets anything
// be inferred for the library from what was not.
func (s *Scanner) confirm(ctx context.Context) error {
	after, err := identify(s.o.Root.Path)
	if err != nil || s.empty || !after.same(s.identity) {
		return nil
	}
	id := after.recorded()
	return s.q.Scanned(ctx, s.o.Root.ID, queue.Scan{
		Began: s.start, Identity: id.ID, Earlier: id.Earlier, Weak: id.Weak, InStep: s.tally.inStep.Load(), Found: s.found,
	})
}

// walk looks at one directory, whose path with "/" at its end is in s.path.
func (s *Scanner) walk(ctx context.Context, d *dir, scope filter.Scope) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	self, err := d.self()
	if err == nil {
		_, err = s.trust.mount(self.stat.Dev, func() (state.Trust, error) { return d.trust(s.q.Mounts()) })
	}
	if err != nil {
		return s.keep(ctx, err)
	}
	id := fileID{self.stat.Dev, self.stat.Ino}
	for _, up := range s.above {
		if up == id { // a bind mount, or a symlink that is followed
			s.skip("loop")
			return s.keep(ctx, nil)
		}
	}
	s.above = append(s.above, id)
	defer func() { s.above = s.above[:len(s.above)-1] }()

	if len(s.batch) > 0 && time.Since(s.flushed) >= flushAfter {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	if s.o.Watch != nil {
		s.o.Watch(strings.TrimSuffix(string(s.path), "/"), self.stat)
	}
	entries, err := d.entries(s.scratch)
	if errors.Is(err, fs.ErrNotExist) && len(s.path) > 0 {
		return nil // removed since it was opened
	}
	if err != nil {
		return s.keep(ctx, err)
	}
	s.tally.dirs.Add(1)
	if s.o.Symlinks == FollowInside {
		s.resolve(entries)
	}
	if len(entries) == 0 && len(s.path) == 0 && s.known.peek() != nil {
		s.empty = true
		return s.keep(ctx, errEmptyRoot)
	}
	sortEntries(entries)
	base := len(s.path)
	defer func() { s.path = s.path[:base] }()
	for i := range entries {
		if i%1024 == 1023 && ctx.Err() != nil {
			return ctx.Err()
		}
		s.path = append(s.path[:base], entries[i].name...)
		if entries[i].kind == directory {
			err = s.directory(ctx, d, &entries[i], scope)
		} else {
			err = s.entry(ctx, d, &entries[i], scope)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Scanner) directory(ctx context.Context, d *dir, e *entry, scope filter.Scope) error {
	inner, decision := scope.Enter(e.name[:len(e.name)-1])
	if decision.Excluded {
		s.skip(decision.Rule.String())
		return nil
	}
	below, err := s.openDir(d, e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since it was listed
	}
	if err != nil {
		return s.keep(ctx, err)
	}
	defer below.close()
	return s.walk(ctx, below, inner)
}

// skip notes that what is at s.path is not wanted.
func (s *Scanner) skip(rule string) {
	s.tally.skip(rule)
	if s.o.Skipped != nil {
		s.o.Skipped(string(s.path), rule)
	}
}

func (s *Scanner) openDir(d *dir, e *entry) (*dir, error) {
	if !e.link {
		return d.open(e.name)
	}
	return s.openLink(string(s.path))
}

// openLink opens a directory through symlinks, which may not lead out of the root.
func (s *Scanner) openLink(path string) (*dir, error) {
	f, err := s.links.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return openLinked(f)
}

// resolve replaces symlinks by what they lead to inside the root.
func (s *Scanner) resolve(entries []entry) {
	for i := range entries {
		e := &entries[i]
		if e.kind != symlink {
			continue
		}
		info, err := s.links.Stat(string(s.path) + e.name)
		switch {
		case err != nil: // it leads out of the root, or nowhere
		case info.IsDir():
			e.kind, e.link = directory, true
			e.name += "/"
		case info.Mode().IsRegular():
			e.kind, e.link = regular, true
		}
	}
}

// entry looks at anything but a directory.
func (s *Scanner) entry(ctx context.Context, d *dir, e *entry, scope filter.Scope) error {
	switch e.kind {
	case symlink:
		s.skip("symlink")
		return nil
	case special:
		s.skip("special")
		return nil
	}
	info, err := s.stat(d, e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.tally.fault(string(s.path), err)
		_, _, err := s.meet(ctx)
		return err
	}
	if info.kind != regular { // replaced since it was listed
		s.skip("special")
		return nil
	}
	if decision := scope.File(e.name, info.stat.Size, info.stat.Mtime(), s.start); decision.Excluded {
		s.skip(decision.Rule.String())
		if !decision.Retry.IsZero() && s.o.Young != nil {
			s.o.Young(string(s.path))
		}
		return nil
	}
	info.stat.Mount, err = s.trust.mount(info.stat.Dev, func() (state.Trust, error) {
		return s.q.Mounts().At(filepath.Join(s.o.Root.Path, string(s.path))) // a file that is mounted, or behind a symlink
	})
	if err != nil {
		s.tally.fault(string(s.path), err)
		_, _, err := s.meet(ctx)
		return err
	}
	return s.file(ctx, e.name, info.stat)
}

// trusts is what is proven of files, by device.
type trusts map[uint64]state.Trust

// mount returns Stat.Mount of files on a device, of which ask is asked once.
func (t trusts) mount(dev uint64, ask func() (state.Trust, error)) (int64, error) {
	trust, ok := t[dev]
	if !ok {
		var err error
		if trust, err = ask(); err != nil {
			return 0, err
		}
		t[dev] = trust
	}
	return trust.Mount, nil
}

func (s *Scanner) stat(d *dir, e *entry) (fileInfo, error) {
	if !e.link {
		return d.stat(e.name)
	}
	info, err := s.links.Stat(string(s.path))
	if err != nil {
		return fileInfo{}, err
	}
	k := special
	if info.Mode().IsRegular() {
		k = regular
	}
	return fileInfo{kind: k, stat: state.StatOf(info)}, nil
}

// file compares a wanted file with what is known of it.
func (s *Scanner) file(ctx context.Context, name string, st state.Stat) error {
	record, job, err := s.meet(ctx)
	if err != nil {
		return err
	}
	s.tally.files.Add(1)
	s.tally.bytes.Add(st.Size)
	if record != nil {
		s.observe(record, st)
	}
	recorded := record != nil && state.Prove(record.Content(), state.Content{Stat: st}, state.SamePath) == state.Equal
	back := false
	if record != nil && record.Stat.Alike(st) {
		s.found++
		// It is not absent any more, even if it can't be compared for a long time. Otherwise
		// it would not be missed when its disk is away again.
		if back = record.Absent != state.Present; back {
			s.present = append(s.present, string(s.path))
		}
	}
	if recorded && job != nil && job.State == queue.Held {
		s.settled = append(s.settled, string(s.path)) // it was empty for a while, say
		job = nil
	}
	var class, reason, remote string
	if !recorded { // what is uploaded stays so, whatever the limits are by now
		class, reason = s.o.Limits.Hold(name, st.Size)
	}
	decision := compare(st, record, job, reason)
	if decision == differs && reason == "" {
		if remote, err = s.o.Remote(string(s.path)); err != nil {
			class, reason = HoldTooDeep, err.Error()
			decision = compare(st, record, job, reason)
		}
	}
	switch decision {
	case inStep:
		s.tally.inStep.Add(1)
		if back {
			return s.emit(ctx, s.o.change(string(s.path), st, st.SeenSince(time.Now()), s.o.Priority))
		}
	case waiting:
		s.tally.waiting.Add(1)
		s.tally.waitingBytes.Add(st.Size)
	case failing:
		s.tally.failing.Add(1)
	case held:
		if job.Ignored() {
			class = queue.ClassIgnored
		}
		s.tally.hold(class)
	case notCompared:
		if record.Stat.Same(st) && !back && len(s.doubtful) < maxDisplaced {
			// Only its inode number differs, and it was read in this mount. It is another file, or
			// the file system gives all files other numbers.
			s.doubtful = append(s.doubtful, s.o.change(string(s.path), st, st.SeenSince(time.Now()), queue.ComparePriority))
			return nil
		}
		s.tally.notCompared.Add(1)
		return s.emit(ctx, s.o.change(string(s.path), st, st.SeenSince(time.Now()), queue.ComparePriority))
	case differs:
		if s.o.Unsettled != nil && s.o.Unsettled(string(s.path), st) {
			s.tally.waiting.Add(1)
			return nil
		}
		if reason != "" {
			s.tally.hold(class)
		}
		change := queue.Change{
			RootID: s.o.Root.ID, Path: string(s.path), Stat: st, Remote: remote, Hold: reason, HoldClass: class, Priority: s.o.Priority,
			SeenAt: st.SeenSince(time.Now()),
		}
		if record != nil && st.Mount == 0 && record.Stat.Ino != st.Ino && len(s.displaced) < maxDisplaced {
			// Another file is in the place of the recorded one, which may be under another name
			// by now. Its asset must not become that of this file before that is known.
			s.displaced = append(s.displaced, change)
			return nil
		}
		return s.emit(ctx, change)
	}
	return nil
}

// observe counts whether a recorded file that differs in nothing else has its inode number.
func (s *Scanner) observe(record *queue.Known, st state.Stat) {
	before := record.Stat
	if before.Mount != st.Mount || !before.Alike(st) || before.CtimeNs != st.CtimeNs {
		return
	}
	if before.Ino == st.Ino {
		s.numbered[st.Dev]++
		return
	}
	s.renumbered[st.Dev]++
	s.paths[st.Dev] = string(s.path)
}

// leastRenumbered is how many files of a file system, and so all that are otherwise
// unchanged, must have another inode number before none of its numbers is trusted.
const leastRenumbered = 4

// disprove sees whether a file system that should keep inode numbers has changed all of
// them although nothing else changed. What was kept to the end is then only compared.
func (s *Scanner) disprove() error {
	for dev, n := range s.renumbered {
		if n < leastRenumbered || s.numbered[dev] > 0 || s.trust[dev].Mount != 0 {
			continue
		}
		path := filepath.Join(s.o.Root.Path, s.paths[dev])
		if err := s.q.Mounts().Disprove(path); err != nil {
			return err
		}
		trust, err := s.q.Mounts().At(path)
		if err != nil {
			return err
		}
		for i := range s.displaced {
			if c := &s.displaced[i]; c.Stat.Dev == dev {
				c.Stat.Mount, c.Priority = trust.Mount, queue.ComparePriority
			}
		}
	}
	return nil
}

// emitDisplaced queues what was kept to the end, and all that is left.
func (s *Scanner) emitDisplaced(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	if err := s.disprove(); err != nil {
		return err
	}
	for _, change := range s.doubtful {
		if n := s.renumbered[change.Stat.Dev]; n >= leastRenumbered && n > s.numbered[change.Stat.Dev] {
			s.tally.inStep.Add(1)
			continue
		}
		s.tally.notCompared.Add(1)
		if err := s.emit(ctx, change); err != nil {
			return err
		}
	}
	for _, change := range s.displaced {
		if err := s.emit(ctx, change); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// meet passes the rows of paths before s.path, which the walk did not meet,
// and returns those of s.path.
func (s *Scanner) meet(ctx context.Context) (record, job *queue.Known, err error) {
	for {
		k := s.known.peek()
		if k == nil {
			return record, job, s.known.err
		}
		switch {
		case k.Path == string(s.path):
			row := *k
			if k.Job {
				job = &row
			} else {
				record = &row
			}
		case k.Path > string(s.path):
			return record, job, nil
		default:
			if err := s.pass(ctx, k); err != nil {
				return nil, nil, err
			}
		}
		s.known.skip()
	}
}

// pass deals with what is known of a path that the walk did not meet: it is
// gone, or not wanted any more.
func (s *Scanner) pass(ctx context.Context, k *queue.Known) error {
	if !k.Job {
		return s.unseen(ctx, k)
	}
	if k.State != queue.Leased && !s.wanted(k.Path) {
		s.cancel = append(s.cancel, k.Path)
	}
	if len(s.cancel) >= maxBatch {
		return s.flush(ctx)
	}
	return nil
}

// wanted looks whether a path that the walk did not meet is there after all:
// it may have come since its directory was listed.
func (s *Scanner) wanted(path string) bool {
	info, err := s.links.Lstat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
	}
	return info.Mode().IsRegular() && !s.o.Filter.Path(path, info.Size(), info.ModTime(), s.start).Excluded
}

// errEmptyRoot is what an unmounted directory looks like.
var errEmptyRoot = errors.New("the directory is empty, but files of it are known: perhaps it is not mounted; nothing is inferred")

// keep passes the rows below a directory that could not be looked at, whose
// path is in s.path, and leaves them as they are: nothing is inferred from not
// seeing.
func (s *Scanner) keep(ctx context.Context, problem error) error {
	if problem != nil {
		s.tally.fault(string(s.path), problem)
	}
	if _, _, err := s.meet(ctx); err != nil {
		return err
	}
	for k := s.known.peek(); k != nil && strings.HasPrefix(k.Path, string(s.path)); k = s.known.peek() {
		s.known.skip()
	}
	return s.known.err
}

// passRest deals with the rows behind the last path of the walk.
func (s *Scanner) passRest(ctx context.Context) error {
	for k := s.known.peek(); k != nil; k = s.known.peek() {
		if err := s.pass(ctx, k); err != nil {
			return err
		}
		s.known.skip()
	}
	return s.known.err
}

func (s *Scanner) emit(ctx context.Context, c queue.Change) error {
	s.batch = append(s.batch, c)
	if len(s.batch) < s.batchSize && time.Since(s.flushed) < flushAfter {
		return nil
	}
	return s.flush(ctx)
}

// flush notes all that was found. The walk need not wait until the batch is queued; what
// is found next does.
func (s *Scanner) flush(ctx context.Context) error {
	if err := s.awaitBatch(); err != nil {
		return err
	}
	if len(s.cancel) > 0 {
		if err := s.q.Cancel(ctx, s.o.Root.ID, s.cancel, s.start, s.wanted); err != nil {
			return err
		}
		s.cancel = s.cancel[:0]
	}
	if len(s.settled) > 0 {
		if err := s.q.Cancel(ctx, s.o.Root.ID, s.settled, s.start, nil); err != nil {
			return err
		}
		s.settled = s.settled[:0]
	}
	if len(s.present) > 0 {
		if err := s.q.MarkPresent(ctx, s.o.Root.ID, s.present); err != nil {
			return err
		}
		s.present = s.present[:0]
	}
	if len(s.absent) > 0 {
		if _, err := s.q.MarkAbsent(ctx, s.o.Root.ID, s.absent); err != nil { // each is a path of its own
			return err
		}
		s.absent = s.absent[:0]
	}
	if len(s.batch) > 0 {
		s.batch, s.spare = s.spare[:0], s.batch
		s.batchSize = min(2*s.batchSize, maxBatch)
		batch, queueing := s.spare, make(chan enqueued, 1)
		s.queueing = queueing
		go func() {
			done, err := s.q.Enqueue(ctx, batch)
			queueing <- enqueued{done, err}
		}()
	}
	s.flushed = time.Now()
	return nil
}

// awaitBatch waits until the batch is queued that is on its way.
func (s *Scanner) awaitBatch() error {
	if s.queueing == nil {
		return nil
	}
	done := <-s.queueing
	s.queueing = nil
	if done.err != nil {
		return done.err
	}
	s.tally.enqueued(done.Enqueued)
	return nil
}
