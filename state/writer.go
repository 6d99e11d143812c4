package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"iksync/state/failpoint"
)

// Durability says what a committed operation must survive.
type Durability int

const (
	// Durable survives a power cut: it is what records a fileId.
	Durable Durability = iota
	// Relaxed survives the death of the process; a power cut may undo it.
	Relaxed
)

const (
	// maxBatch bounds the operations of one transaction.
	maxBatch = 512
	// linger is how long an operation for which nobody waits may wait for company
	// before it is committed, and so survives the death of the process.
	linger = 10 * time.Millisecond
	// syncEvery is how long a committed operation for which nobody waits may wait
	// for its fsync, and so survives a power cut.
	syncEvery = 100 * time.Millisecond
	// backlog bounds the operations that wait for the writer; then callers block.
	backlog = 1024
)

// An operation is run inside a transaction. When another operation of the
// same transaction fails it is run once more, alone: it must not depend on
// what a run before left in memory.
type operation struct {
	run     func(*Tx) error
	done    func(error)
	relaxed bool
	lazy    bool
}

// writer runs operations on the one writing connection.
type writer struct {
	conn *sql.Conn
	ops  chan *operation
	dead chan struct{} // closed when the goroutine has ended

	mu     sync.RWMutex // guards closed against sends after it
	closed bool

	patient atomic.Bool                    // wait while the file can't be written
	trouble atomic.Pointer[error]          // why it waits; nil when it does not
	hurry   chan struct{}                  // ends a wait
	told    func(query string, args []any) // for tests: what is about to be run; nil tells nobody

	// Owned by the loop:
	stmts       map[string]*sql.Stmt  // prepared once, by text
	forms       map[form]int64        // ids of those that were met, as far as they are in the file
	latest      map[string]*knownForm // of them, by the file type, the one that was met last
	filled      []byte                // what fill made of it, for its memory
	synchronous Durability
	unsynced    []*operation // committed and durable to be: done is called after the next fsync
	synced      time.Time    // when the last fsync was
}

func startWriter(conn *sql.Conn) *writer {
	w := &writer{
		conn:   conn,
		ops:    make(chan *operation, backlog),
		dead:   make(chan struct{}),
		stmts:  make(map[string]*sql.Stmt),
		forms:  make(map[form]int64),
		latest: make(map[string]*knownForm),
		hurry:  make(chan struct{}, 1),
	}
	go w.loop()
	return w
}

// Write runs fn in a transaction and returns once it is committed. An error of
// fn undoes fn alone and is returned. fn may be run a second time when another
// operation of its transaction fails, so it must set, not add to, what it
// returns through its closure. ctx is looked at before the operation is in line,
// not after: what is in line will be committed.
func (db *DB) Write(ctx context.Context, d Durability, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	result := make(chan error, 1)
	op := &operation{run: fn, done: func(err error) { result <- err }, relaxed: d == Relaxed}
	if err := db.send(op); err != nil {
		return err
	}
	return <-result
}

// WriteLater is Write for callers that don't wait: it returns when fn is in
// line, and done is called with the outcome, from the writer's goroutine, after
// the commit. It blocks only while the line is full. done must not write.
func (db *DB) WriteLater(d Durability, fn func(*Tx) error, done func(error)) {
	op := &operation{run: fn, done: done, relaxed: d == Relaxed, lazy: true}
	if err := db.send(op); err != nil {
		done(err)
	}
}

func (db *DB) send(op *operation) error {
	w := db.writer
	if w == nil {
		return errors.New("the state file was opened read-only")
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return ErrClosed
	}
	w.ops <- op
	return nil
}

// WaitWhenFull sets whether writes wait while the file can't be written (its disk
// is full or read-only) and go on by themselves, instead of failing at once.
// Trouble tells why they wait.
func (db *DB) WaitWhenFull(wait bool) {
	db.writer.patient.Store(wait)
	if !wait {
		db.writer.stopWaiting()
	}
}

// Trouble is why writes wait at present; nil when they don't.
func (db *DB) Trouble() error {
	if db.writer == nil {
		return nil
	}
	if err := db.writer.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *writer) stopWaiting() {
	select {
	case w.hurry <- struct{}{}:
	default:
	}
}

// retryEvery is how often it is tried whether the file can be written again.
const retryEvery = time.Second

// insist runs a batch, again and again while the file can't be written and
// somebody has patience. What is done in the library meanwhile waits in line, in
// memory.
func (w *writer) insist(batch []*operation) error {
	for {
		err := w.transact(batch)
		if !Unwritable(err) || !w.patient.Load() {
			w.trouble.Store(nil)
			return err
		}
		w.trouble.Store(&err)
		timer := time.NewTimer(retryEvery)
		select {
		case <-timer.C:
		case <-w.hurry:
		}
		timer.Stop()
	}
}

func (w *writer) close() error {
	w.patient.Store(false)
	w.stopWaiting()
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.ops)
	}
	w.mu.Unlock()
	<-w.dead
	var errs []error
	for _, stmt := range w.stmts { // SQLite keeps a connection alive that has statements
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

func (w *writer) loop() {
	defer close(w.dead)
	timer := time.NewTimer(linger)
	defer timer.Stop()
	batch := make([]*operation, 0, maxBatch)
	for {
		op, ok := w.next(timer)
		if !ok {
			w.sync()
			return
		}
		if op == nil { // time for an fsync
			w.sync()
			continue
		}
		batch = w.collect(append(batch[:0], op), timer)
		w.commit(batch)
		clear(batch)
	}
}

// next waits for an operation, or until what was committed is to be synced: nil
// then.
func (w *writer) next(timer *time.Timer) (op *operation, ok bool) {
	if len(w.unsynced) == 0 {
		op, ok = <-w.ops
		return op, ok
	}
	timer.Reset(time.Until(w.synced.Add(syncEvery)))
	select {
	case op, ok = <-w.ops:
		return op, ok
	case <-timer.C:
		return nil, true
	}
}

// collect adds what is waiting to the batch. While nobody waits for any of it,
// it stays open for linger.
func (w *writer) collect(batch []*operation, timer *time.Timer) []*operation {
	urgent := !batch[0].lazy
	timer.Reset(linger)
	for len(batch) < maxBatch {
		if urgent {
			select {
			case op, ok := <-w.ops:
				if !ok {
					return batch
				}
				batch = append(batch, op)
			default:
				return batch
			}
			continue
		}
		select {
		case op, ok := <-w.ops:
			if !ok {
				return batch
			}
			batch = append(batch, op)
			urgent = !op.lazy
		case <-timer.C:
			urgent = true
		}
	}
	return batch
}

// commit runs the batch as one transaction; when an operation fails, each in
// a transaction of its own, so that one bad operation undoes no other.
func (w *writer) commit(batch []*operation) {
	err := w.insist(batch)
	if err == nil || len(batch) == 1 {
		w.settle(batch, err)
		return
	}
	for i := range batch {
		w.settle(batch[i:i+1], w.insist(batch[i:i+1]))
	}
}

// settle tells the outcome of a transaction to those who can be told already:
// success that must survive a power cut is told after its fsync.
func (w *writer) settle(batch []*operation, err error) {
	if err == nil && w.synchronous == Durable {
		w.settled(nil)
	}
	for _, op := range batch {
		if err != nil || op.relaxed || w.synchronous == Durable {
			op.done(err)
			continue
		}
		if len(w.unsynced) == 0 {
			w.synced = time.Now()
		}
		w.unsynced = append(w.unsynced, op)
	}
}

// settled tells the outcome of the fsync to those who wait for it.
func (w *writer) settled(err error) {
	for _, op := range w.unsynced {
		op.done(err)
	}
	clear(w.unsynced)
	w.unsynced = w.unsynced[:0]
}

// sync makes what was committed survive a power cut: the fsync of any commit
// covers all before it.
func (w *writer) sync() {
	if len(w.unsynced) == 0 {
		return
	}
	nothing := &operation{run: func(*Tx) error { return failpoint.Hit(failpoint.StateSync) }}
	if err := w.insist([]*operation{nothing}); err != nil {
		w.settled(fmt.Errorf("sync the state file: %w", err))
		return
	}
	w.settled(failpoint.Hit(failpoint.StateSynced))
}

// transact runs the batch in one transaction. It is synced when an operation
// is durable and either somebody waits for it or the last fsync is long ago.
func (w *writer) transact(batch []*operation) (err error) {
	want := Relaxed
	overdue := len(w.unsynced) > 0 && time.Since(w.synced) >= syncEvery
	for _, op := range batch {
		if !op.relaxed && (!op.lazy || overdue) {
			want = Durable
		}
	}
	if err := w.setSynchronous(want); err != nil {
		return err
	}
	tx := &Tx{w: w}
	if err := tx.Exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if err != nil {
			// A full disk may have rolled the transaction back already: then this fails, as it may.
			_ = tx.Exec("ROLLBACK")
			clear(w.forms) // some may be gone with it
			clear(w.latest)
		}
	}()
	for _, op := range batch {
		if err := op.run(tx); err != nil {
			return err
		}
	}
	if want == Durable && len(w.unsynced) > 0 {
		// A commit that changes nothing does not reach the disk, nor what was committed before it.
		if err := tx.Exec("UPDATE syncs SET n = n + 1"); err != nil {
			return fmt.Errorf("sync the state file: %w", err)
		}
	}
	if err := failpoint.Hit(failpoint.StateCommit); err != nil {
		return err
	}
	if err := tx.Exec("COMMIT"); err != nil {
		return fmt.Errorf("commit to the state file: %w", err)
	}
	return failpoint.Hit(failpoint.StateCommitted)
}

func (w *writer) setSynchronous(d Durability) error {
	if w.synchronous == d {
		return nil
	}
	mode := "FULL"
	if d == Relaxed {
		mode = "NORMAL"
	}
	pragma := "PRAGMA synchronous = " + mode
	if w.told != nil {
		w.told(pragma, nil)
	}
	if _, err := w.conn.ExecContext(context.Background(), pragma); err != nil {
		return fmt.Errorf("set synchronous=%s: %w", mode, err)
	}
	w.synchronous = d
	return nil
}
