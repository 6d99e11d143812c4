//go:build failpoints

package failpoint

import (
	"errors"
	"testing"
)

// TestFailpointsFailAtTheirHitAlone counts the hits of each failpoint.
func TestFailpointsFailAtTheirHitAlone(t *testing.T) {
	t.Parallel()
	p, err := parse(StateCommit + "=error@2; " + Upload + "=error;" + Uploaded + "=trace")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, false} {
		err := p.hit(StateCommit)
		if (err != nil) != want {
			t.Errorf("hit %d: %v", i+1, err)
		}
		var asked *Error
		if want && (!errors.As(err, &asked) || asked.Name != StateCommit) {
			t.Errorf("the error is %v", err)
		}
	}
	if p.hit(Upload) == nil || p.hit(Upload) != nil {
		t.Error("without a number it is the first hit")
	}
	if p.hit(Uploaded) != nil || p.hit(ClaimCommit) != nil {
		t.Error("what is traced or not asked for fails")
	}
}

// TestFailpointsThatAreUnknownAreRefused keeps a test from testing nothing.
func TestFailpointsThatAreUnknownAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"nowhere=kill", StateCommit, StateCommit + "=die", StateCommit + "=kill@0", StateCommit + "=kill@x", StateCommit + "=kill;" + StateCommit + "=error"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
