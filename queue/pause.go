package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"iksync/state"
)

// Forever is a pause that lasts until it is ended.
var forever = time.UnixMilli(math.MaxInt64)

// Pause lets the jobs of the roots wait until a time; the zero time is until
// [Queue.Resume]. It lasts across restarts. Who runs jobs asks [Queue.PausedUntil].
func (q *Queue) Pause(ctx context.Context, roots []int64, until time.Time) error {
	if until.IsZero() {
		until = forever
	}
	return q.setPause(ctx, roots, until)
}

// Resume ends pauses.
func (q *Queue) Resume(ctx context.Context, roots []int64) error {
	return q.setPause(ctx, roots, time.UnixMilli(0))
}

func (q *Queue) setPause(ctx context.Context, roots []int64, until time.Time) error {
	ids, err := json.Marshal(roots)
	if err != nil {
		return fmt.Errorf("pause or resume roots: %w", err)
	}
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE roots SET paused_until = ? WHERE id IN (SELECT value FROM json_each(?))`, until.UnixMilli(), string(ids))
	})
	if err != nil {
		return fmt.Errorf("pause or resume roots: %w", err)
	}
	q.mu.Lock()
	for _, id := range roots {
		q.paused[id] = until
	}
	q.mu.Unlock()
	q.notify()
	return nil
}

// Paused is a pause of a root.
type Paused struct {
	Until time.Time // the zero time until it is resumed
}

// PausedUntil returns the pause of a root; nil when there is none. It knows those of
// the file once [Queue.Recover] has been called.
func (q *Queue) PausedUntil(rootID int64) *Paused {
	q.mu.Lock()
	until, ok := q.paused[rootID]
	q.mu.Unlock()
	if !ok {
		return nil
	}
	return pausedUntil(until, q.now())
}

func pausedUntil(until, now time.Time) *Paused {
	switch {
	case until.Equal(forever):
		return &Paused{}
	case until.After(now):
		return &Paused{Until: until}
	}
	return nil
}

// Pauses reads the pauses of the file, by root.
func (q *Queue) Pauses(ctx context.Context) (map[int64]*Paused, error) {
	all, err := q.readPauses(ctx)
	if err != nil {
		return nil, err
	}
	pauses := make(map[int64]*Paused)
	for id, until := range all {
		if p := pausedUntil(until, q.now()); p != nil {
			pauses[id] = p
		}
	}
	return pauses, nil
}

func (q *Queue) readPauses(ctx context.Context) (map[int64]time.Time, error) {
	rows, err := q.db.Query(ctx, `SELECT id, paused_until FROM roots WHERE paused_until <> 0`)
	if err != nil {
		return nil, fmt.Errorf("read which roots are paused: %w", err)
	}
	defer rows.Close()
	pauses := make(map[int64]time.Time)
	for rows.Next() {
		var id, until int64
		if err := rows.Scan(&id, &until); err != nil {
			return nil, fmt.Errorf("read which roots are paused: %w", err)
		}
		pauses[id] = time.UnixMilli(until)
	}
	return pauses, rows.Err()
}
