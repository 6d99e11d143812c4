package uploader_test

import (
	"strings"
	"testing"
	"time"

	"iksync/uploader"
	"iksync/uploader/emulator"
)

// A long upload that was on its way when all others began to wait keeps none of
// them from going on.
func TestOthersGoOnWhileALongUploadIsOnItsWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	d := r.behindDoor(0, "")
	arrived, let := d.hold()
	r.write("big.mp4", strings.Repeat("v", 3<<20))
	r.enqueue("big.mp4")
	p := r.run(func(o *uploader.Options) { o.Probe = 100 * time.Millisecond })
	t.Cleanup(let)
	<-arrived
	d.set(403, "Your account has exceeded its upload limit.")
	r.writeMany(20)
	await(t, "the breaker", func() bool { return p.Stats().Breaker != nil })
	d.set(0, "")
	end := time.Now().Add(3 * time.Second)
	await(t, "the others", func() bool { return p.Stats().Uploaded == 20 || time.Now().After(end) })
	if s := p.Stats(); s.Uploaded != 20 {
		t.Errorf("none is tried before the long one has ended: %+v", s)
	}
}

// What began before the account was refused and ends well shows nothing of it.
func TestTheEndOfAnEarlierUploadIsNoProofThatAllMayGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	d := r.behindDoor(0, "")
	arrived, let := d.hold()
	r.write("big.mp4", strings.Repeat("v", 3<<20))
	r.enqueue("big.mp4")
	p := r.run(func(o *uploader.Options) { o.Probe = 100 * time.Millisecond })
	t.Cleanup(let)
	<-arrived
	d.set(401, "no")
	r.writeMany(20)
	await(t, "the breaker", func() bool { return p.Stats().Breaker != nil })
	since := p.Stats().Breaker.Since
	let()
	await(t, "the big one", func() bool { return r.record("big.mp4") != nil })
	came := len(d.uploads())
	await(t, "probes", func() bool { return len(d.uploads()) >= came+2 })
	if b := p.Stats().Breaker; b == nil || !b.Since.Equal(since) || len(p.alerts()) != 1 {
		t.Errorf("the breaker was closed in between: since %s, now %+v, alerts %v", since, b, p.alerts())
	}
}
