package watcher

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAScanThatNothingWaitsForTakesHalfOfTheTimeAtMost(t *testing.T) {
	for name, limited := range map[string]bool{"with a budget": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := budget{limited: limited}
				began, worked := time.Now(), time.Duration(0)
				for range 1000 {
					b.spend(t.Context())
					work := time.NewTimer(3 * time.Millisecond)
					<-work.C
					worked += 3 * time.Millisecond
				}
				took := time.Since(began)
				if limited && took < 2*worked-2*slice || !limited && took != worked {
					t.Errorf("worked %s in %s", worked, took)
				}
			})
		})
	}
}

func TestAPauseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget{limited: true, began: time.Now().Add(-time.Hour)}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		b.spend(ctx)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

func TestLowPriorityRunsTheFunctionAndReturnsItsError(t *testing.T) {
	want := errors.New("its own")
	if err := LowPriority(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("returned %v", err)
	}
}
