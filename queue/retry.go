package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
)

// Selection says which of the failing jobs are meant. A job is failing when it is
// a dead letter, when its last try was in vain, or when it waits for its backoff;
// one that a worker has is not.
type Selection struct {
	Roots   []int64
	Path    string   // that path and what is below it; "" is all of the roots
	Classes []string // of the last error; none is any
	// Automatic leaves out what only a person may send: see [ClassAltered].
	Automatic bool
}

// selected wants the arguments of [Selection.args].
const selected = ` root_id IN (SELECT value FROM json_each(?1)) AND (?2 = x'' OR path = ?2 OR path > ?3 AND path < ?4)
	AND (?5 OR class IN (SELECT value FROM json_each(?6))) AND (state = 2 OR state = 0 AND leased = 0 AND (class <> '' OR not_before > ?7))
	AND NOT (?8 AND class = '` + ClassAltered + `')`

func (s *Selection) args(now time.Time) ([]any, error) {
	roots, err := json.Marshal(s.Roots)
	if err != nil {
		return nil, err
	}
	classes, err := json.Marshal(s.Classes)
	if err != nil {
		return nil, err
	}
	return []any{string(roots), []byte(s.Path), []byte(s.Path + "/"), []byte(s.Path + "0"), len(s.Classes) == 0, string(classes), now.UnixMilli(), s.Automatic}, nil
}

// Retry makes the failing jobs that are selected ready at once, with no attempts
// counted, and returns how many they are. What the last error was stays noted until
// they are tried.
func (q *Queue) Retry(ctx context.Context, s Selection) (n int64, err error) {
	args, err := s.args(q.now())
	if err != nil {
		return 0, fmt.Errorf("retry failing jobs: %w", err)
	}
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) (err error) {
		if err := failpoint.Hit(failpoint.RetryCommit); err != nil {
			return err
		}
		n, err = tx.ExecRows(`UPDATE jobs SET state = 0, attempts = 0, not_before = 0 WHERE`+selected, args...)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retry failing jobs: %w", err)
	}
	q.notify()
	return n, nil
}

// Failing returns the failing jobs that are selected, by root and path. The sequence
// ends after the first error.
func (q *Queue) Failing(ctx context.Context, s Selection) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		args, err := s.args(q.now())
		if err != nil {
			yield(Item{}, fmt.Errorf("list jobs: %w", err))
			return
		}
		rows, err := q.db.Query(ctx, `SELECT root_id, path, state, size, attempts, class, reason, request_id, not_before, updated_at
			FROM jobs WHERE`+selected+` ORDER BY root_id, path`, args...)
		scanItems(rows, err, yield)
	}
}
