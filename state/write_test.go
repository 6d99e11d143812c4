package state_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"iksync/state"
)

func TestAFailedWriteLeavesNothing(t *testing.T) {
	db, root := openNew(t)
	err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		if err := tx.PutFile(record(root.ID, "a")); err != nil {
			return err
		}
		return errBoom
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("error is %v, should be the function's", err)
	}
	if got := paths(t, db, 0); got != nil {
		t.Errorf("recorded: %q", got)
	}
	put(t, db, record(root.ID, "b"))
}

// group commit: what waits while the writer is busy goes into one transaction.
func TestAnErrorUndoesOnlyItselfInAGroup(t *testing.T) {
	db, root := openNew(t)
	for round, failing := range [][]int{{0}, {9}, {3, 4}, {0, 5, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, nil} {
		busy, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		db.WriteLater(state.Relaxed, func(*state.Tx) error {
			once.Do(func() { close(busy) })
			<-release
			return nil
		}, func(error) {})
		<-busy
		results := make(chan error, 10)
		want := []string(nil)
		for i := range 10 {
			bad := slices.Contains(failing, i)
			path := fmt.Sprintf("%d/%d", round, i)
			if !bad {
				want = append(want, path)
			}
			db.WriteLater(state.Durable, func(tx *state.Tx) error {
				if err := tx.PutFile(record(root.ID, path)); err != nil {
					return err
				}
				if bad {
					return errBoom
				}
				return nil
			}, func(err error) {
				if bad != errors.Is(err, errBoom) || !bad && err != nil {
					err = fmt.Errorf("%s is told %v", path, err)
				} else {
					err = nil
				}
				results <- err
			})
		}
		close(release)
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		var got []string
		for _, p := range paths(t, db, root.ID) {
			if p[:2] == fmt.Sprintf("%d/", round) {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %v failing %q is recorded, should be %q", failing, got, want)
		}
	}
}

func TestExactlyTheSuccessfulWritesOfManyGoroutinesAreThere(t *testing.T) {
	db, root := openNew(t)
	const goroutines, each = 32, 30
	var mu sync.Mutex
	var want []string
	var told atomic.Int64
	var wg, later sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				path := fmt.Sprintf("%02d/%02d", g, i)
				bad := (g+i)%5 == 0
				durability := state.Durability((g + i) % 2)
				fn := func(tx *state.Tx) error {
					if err := tx.PutFile(record(root.ID, path)); err != nil {
						return err
					}
					if bad {
						return errBoom
					}
					return nil
				}
				done := func(err error) {
					told.Add(1)
					if (err != nil) != bad {
						t.Errorf("%s is told %v", path, err)
					}
					if err == nil {
						mu.Lock()
						defer mu.Unlock()
						want = append(want, path)
					}
				}
				if i%3 == 0 {
					done(db.Write(t.Context(), durability, fn))
					continue
				}
				later.Add(1)
				db.WriteLater(durability, fn, func(err error) {
					done(err)
					later.Done()
				})
			}
		})
	}
	wg.Wait()
	later.Wait()
	if told.Load() != goroutines*each {
		t.Errorf("%d outcomes were told, should be %d", told.Load(), goroutines*each)
	}
	slices.Sort(want)
	if got := paths(t, db, root.ID); !slices.Equal(got, want) {
		t.Errorf("%d are recorded, %d were told to be", len(got), len(want))
	}
}

func TestEveryWriteLaterIsToldOnceAlsoByClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	root := ensureRoot(t, db, "/photos")
	const n = 2000 // more than the line holds
	told := make([]atomic.Int32, n)
	var refused atomic.Int64
	var wg sync.WaitGroup
	half := make(chan struct{})
	for g := range 4 {
		wg.Go(func() {
			for i := g; i < n; i += 4 {
				if i == n/2 {
					close(half)
				}
				f := record(root.ID, fmt.Sprintf("%05d", i))
				db.WriteLater(state.Durable, func(tx *state.Tx) error { return tx.PutFile(f) }, func(err error) {
					told[i].Add(1)
					switch {
					case errors.Is(err, state.ErrClosed):
						refused.Add(1)
					case err != nil:
						t.Error(err)
					}
				})
			}
		})
	}
	<-half
	closeDB(t, db)
	wg.Wait()
	for i := range told {
		if got := told[i].Load(); got != 1 {
			t.Fatalf("operation %d was told %d times", i, got)
		}
	}
	again := open(t, path)
	if got := int64(len(paths(t, again, root.ID))); got != n-refused.Load() {
		t.Errorf("%d are recorded; %d were refused of %d", got, refused.Load(), n)
	}
}

func TestAWriteAfterCloseIsRefused(t *testing.T) {
	db, _ := openNew(t)
	closeDB(t, db)
	if err := db.Write(t.Context(), state.Durable, func(*state.Tx) error { return nil }); !errors.Is(err, state.ErrClosed) {
		t.Errorf("Write says %v", err)
	}
	told := 0
	db.WriteLater(state.Relaxed, func(*state.Tx) error { return nil }, func(err error) {
		if told++; !errors.Is(err, state.ErrClosed) {
			t.Errorf("WriteLater says %v", err)
		}
	})
	if told != 1 {
		t.Errorf("done was called %d times", told)
	}
}

func TestAWriteWhoseContextHasEndedIsNotRun(t *testing.T) {
	db, root := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := db.Write(ctx, state.Durable, func(tx *state.Tx) error { return tx.PutFile(record(root.ID, "a")) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if got := paths(t, db, 0); got != nil {
		t.Errorf("recorded: %q", got)
	}
}

// Each writer sees what the one before it did: read, add one, write.
func TestWritesAreOneAfterTheOther(t *testing.T) {
	db, root := openNew(t)
	put(t, db, record(root.ID, "counter"))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 10 {
				err := db.Write(t.Context(), state.Relaxed, func(tx *state.Tx) error {
					var n int64
					if err := tx.QueryRow(`SELECT size FROM files WHERE root_id = ?`, root.ID).Scan(&n); err != nil {
						return err
					}
					return tx.Exec(`UPDATE files SET size = ?`, n+1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	f, err := db.FileAt(t.Context(), root.ID, "counter")
	if err != nil {
		t.Fatal(err)
	}
	if f.Stat.Size != 7+320 {
		t.Errorf("the counter is %d, should be %d", f.Stat.Size, 7+320)
	}
}

func TestARecordThatWasToldToBeCommittedSurvivesKill9(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	c := startChild(t, "record", path)
	var told []string
	for range 300 {
		told = append(told, c.line(t))
	}
	told = append(told, c.kill(t)...)

	db := open(t, path)
	have := make(map[string]bool)
	for _, p := range paths(t, db, 0) {
		have[p] = true
	}
	for _, p := range told {
		// The last line may have been cut by the kill.
		if len(p) == len("000000.jpg") && !have[p] {
			t.Errorf("%s was told to be recorded and is not there", p)
		}
	}
}
