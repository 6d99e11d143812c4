package queue_test

import (
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// emptiedFolder is a queue whose folder /d, which iksync made, has lost its only file.
func emptiedFolder(t *testing.T) *fixture {
	t.Helper()
	f := open(t)
	f.noErr(f.q.NoteFolder(t.Context(), "/d", true))
	f.gone("d/a")
	f.remove(f.brakeless())
	return f
}

const quietFor = 5 * time.Minute

// quiet is a look at a moment of the machine's n-th start.
func (f *fixture) quiet(boot string, up time.Duration) []string {
	f.Helper()
	got, err := f.q.QuietFolders(f.Context(), "/", queue.Clock{Boot: boot, Up: up}, quietFor, 100)
	f.noErr(err)
	return got
}

func (f *fixture) wantQuiet(boot string, up time.Duration, want bool) {
	f.Helper()
	if got := f.quiet(boot, up); (len(got) == 1 && got[0] == "/d") != want {
		f.Errorf("after %v of %s the folders that may be asked for are %q", up, boot, got)
	}
}

// setLook dates the last look back by the time of day.
func (f *fixture) setLook(back time.Duration) {
	f.Helper()
	f.noErr(f.db.Write(f.Context(), state.Relaxed, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE folders SET look_at = look_at - ?`, back.Milliseconds())
	}))
}

// TestQuietFolders counts the time between looks that found nothing, by the slower of
// two clocks, over restarts.
func TestQuietFolders(t *testing.T) {
	t.Parallel()
	t.Run("waits for its time", func(t *testing.T) {
		f := emptiedFolder(t)
		f.wantQuiet("boot 1", time.Hour, false)
		f.setLook(quietFor - time.Second)
		f.wantQuiet("boot 1", time.Hour+quietFor-time.Second, false)
		f.reopen()
		f.setLook(2 * time.Second)
		f.wantQuiet("boot 1", time.Hour+quietFor+time.Second, true)
	})
	t.Run("a clock that is set ends nothing early", func(t *testing.T) {
		f := emptiedFolder(t)
		f.wantQuiet("boot 1", time.Hour, false)
		f.setLook(24 * time.Hour)
		f.wantQuiet("boot 1", time.Hour+time.Minute, false)
		f.setLook(-24 * time.Hour) // and back
		f.wantQuiet("boot 1", 2*time.Hour, false)
		f.setLook(quietFor)
		f.wantQuiet("boot 1", 2*time.Hour+quietFor, true)
	})
	t.Run("the time between two starts of the machine does not count", func(t *testing.T) {
		f := emptiedFolder(t)
		f.wantQuiet("boot 1", time.Hour, false)
		f.setLook(time.Hour)
		f.wantQuiet("boot 2", 24*time.Hour, false)
		f.setLook(quietFor)
		f.wantQuiet("boot 2", 24*time.Hour+quietFor, true)
	})
	for name, happens := range map[string]func(f *fixture){
		"an upload that was claimed and came to nothing": func(f *fixture) {
			f.enqueue(f.change("d/b", 1))
			job := f.claimOne()
			f.must(f.outcome(func(done func(error)) { f.q.Drop(&job, nil, done) }))
		},
		"a move through it": func(f *fixture) {
			f.upload("e", 1)
			i := &queue.Intent{Kind: queue.MoveFile, File: f.record("e").ID, Source: "/e", Target: "/d/e"}
			f.noErr(f.q.Intend(f.Context(), i))
			f.noErr(f.q.Forget(f.Context(), i))
		},
		"a copy into it": func(f *fixture) {
			f.noErr(f.q.Forget(f.Context(), f.intendCopy("x", "/d/x")))
		},
		"another delete": func(f *fixture) {
			f.gone("d/c")
			f.remove(f.brakeless())
		},
	} {
		t.Run(name+" begins the wait anew", func(t *testing.T) {
			f := emptiedFolder(t)
			f.wantQuiet("boot 1", time.Hour, false)
			happens(f)
			f.setLook(quietFor)
			f.wantQuiet("boot 1", time.Hour+quietFor, false)
			f.setLook(quietFor)
			f.wantQuiet("boot 1", time.Hour+2*quietFor, true)
		})
	}
	for name, there := range map[string]func(f *fixture){
		"a record":           func(f *fixture) { f.upload("d/b", 1) },
		"a record far below": func(f *fixture) { f.upload("d/x/y/b", 1) },
		"a job":              func(f *fixture) { f.enqueue(f.change("d/b", 1)) },
		"a job that waits": func(f *fixture) {
			f.enqueue(f.change("d/b", 1))
			f.fail(f.claimOne(), queue.Failure{Class: "x", Dead: true})
		},
		"an intent to move there": func(f *fixture) { f.intendFolder(queue.MoveFolder, "/x", "/d/x") },
		"an intent to move from":  func(f *fixture) { f.intendFolder(queue.MoveFolder, "/d/x", "/x") },
		"an intent about it":      func(f *fixture) { f.intendFolder(queue.MoveFolder, "/d", "/x") },
		"an intent to copy there": func(f *fixture) { f.intendCopy("y", "/d/y") },
	} {
		t.Run(name+" below it keeps it", func(t *testing.T) {
			f := emptiedFolder(t)
			f.wantQuiet("boot 1", time.Hour, false)
			f.setLook(quietFor)
			f.wantQuiet("boot 1", time.Hour+quietFor, true) // it would go
			there(f)
			err := f.q.Intend(t.Context(), &queue.Intent{Kind: queue.RemoveFolder, Source: "/d"})
			if err == nil {
				t.Error("its removal is intended")
			}
			f.setLook(quietFor)
			f.wantQuiet("boot 1", time.Hour+2*quietFor, false)
			f.setLook(quietFor)
			f.wantQuiet("boot 1", time.Hour+3*quietFor, false)
		})
	}
	t.Run("only what iksync made", func(t *testing.T) {
		f := open(t)
		f.noErr(f.q.NoteFolder(t.Context(), "/d", false))
		f.gone("d/a")
		f.remove(f.brakeless())
		f.quiet("boot 1", 0)
		f.setLook(quietFor)
		f.wantQuiet("boot 1", quietFor, false)
	})
	t.Run("a folder that was moved is not known where it was", func(t *testing.T) {
		f := emptiedFolder(t)
		f.upload("d/b", 1)
		i := &queue.Intent{Kind: queue.MoveFolder, Source: "/d", Target: "/e", From: queue.Place{RootID: f.root, Path: "d"}, To: queue.Place{RootID: f.root, Path: "e"}}
		f.noErr(f.q.Intend(t.Context(), i))
		_, err := f.q.MovedTree(t.Context(), i, nil, func(*state.File, string) (string, string) { return "", "" })
		f.noErr(err)
		if known, err := f.q.KnowsFolder(t.Context(), "/d"); known || err != nil {
			t.Errorf("it is known still (%v)", err)
		}
	})
}

func (f *fixture) intendCopy(path, target string) *queue.Intent {
	f.Helper()
	f.upload(path, 1)
	i := &queue.Intent{Kind: queue.CopyFile, Source: "/" + path, Target: target, Hash: f.record(path).Hash}
	f.noErr(f.q.Intend(f.Context(), i))
	return i
}

func (f *fixture) intendFolder(kind queue.IntentKind, source, target string) {
	f.Helper()
	f.noErr(f.q.Intend(f.Context(), &queue.Intent{Kind: kind, Source: source, Target: target}))
}

// TestNothingIsIntendedBelowAFolderThatIsRemoved nor claimed.
func TestNothingIsIntendedBelowAFolderThatIsRemoved(t *testing.T) {
	t.Parallel()
	f := emptiedFolder(t)
	f.upload("e", 1)
	f.intendFolder(queue.RemoveFolder, "/d", "")
	f.enqueue(f.change("d/b", 1))
	if jobs := f.claim(10); len(jobs) > 0 {
		t.Errorf("claimed %q", pathsOf(jobs))
	}
	if err := f.q.Intend(t.Context(), &queue.Intent{Kind: queue.MoveFile, File: f.record("e").ID, Source: "/e", Target: "/d/e"}); err == nil {
		t.Error("a move into it is intended")
	}
	if err := f.q.Intend(t.Context(), &queue.Intent{Kind: queue.MoveFolder, Source: "/x", Target: "/d/x"}); err == nil {
		t.Error("the move of a folder into it is intended")
	}
}

// TestAnIntentThatIsSetAsideBlocksItsOwnAlone: its record, its source and its target.
func TestAnIntentThatIsSetAsideBlocksItsOwnAlone(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.uploads("a", "b", "d/1", "d/2")
	i := &queue.Intent{Kind: queue.MoveFile, File: f.record("a").ID, Source: "/a", Target: "/c"}
	tree := &queue.Intent{Kind: queue.MoveFolder, Source: "/d", Target: "/e"}
	for _, i := range []*queue.Intent{i, tree} {
		f.noErr(f.q.Intend(t.Context(), i))
		f.noErr(f.q.PutOffIntent(t.Context(), i, "no sense", time.Now().Add(time.Hour), true))
	}
	f.enqueue(f.change("a", 2), f.change("b", 2), f.change("c", 1), f.change("d/1", 2), f.change("d/3", 1), f.change("e/1", 1), f.change("f", 1))
	if jobs := f.claim(100); len(jobs) != 2 || jobs[0].Path != "b" || jobs[1].Path != "f" {
		t.Errorf("claimed %q", pathsOf(jobs))
	}
	for what, other := range map[string]*queue.Intent{
		"its record":            {Kind: queue.MoveFile, File: f.record("a").ID, Source: "/a", Target: "/z"},
		"its target":            {Kind: queue.MoveFile, File: f.record("b").ID, Source: "/b", Target: "/c"},
		"below the source":      {Kind: queue.MoveFile, File: f.record("d/1").ID, Source: "/d/1", Target: "/z"},
		"into the target":       {Kind: queue.MoveFile, File: f.record("b").ID, Source: "/b", Target: "/e/b"},
		"the source, a folder":  {Kind: queue.MoveFolder, Source: "/d", Target: "/z"},
		"the target's parent":   {Kind: queue.RemoveFolder, Source: "/e"},
		"a folder in the other": {Kind: queue.MoveFolder, Source: "/z", Target: "/e/z"},
	} {
		if err := f.q.Intend(t.Context(), other); err == nil {
			t.Errorf("something is intended for %s", what)
		}
	}
	if moves, err := f.q.HasMoves(t.Context(), []int64{f.root}); moves || err != nil {
		t.Errorf("a run waits for it (%v)", err)
	}
	if n := len(f.wantIntents(2)); n != 2 {
		t.Errorf("%d intents", n)
	}
	f.reopen()
	if _, err := f.q.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if moves, err := f.q.HasMoves(t.Context(), []int64{f.root}); !moves || err != nil {
		t.Errorf("the next start does not look into it (%v)", err)
	}
}

func (f *fixture) wantIntents(n int) []queue.Intent {
	f.Helper()
	all, err := f.q.Intents(f.Context())
	f.noErr(err)
	for _, i := range all {
		if !i.Aside || i.Tries != 1 || i.Reason != "no sense" {
			f.Errorf("%+v", i)
		}
	}
	if len(all) != n {
		f.Errorf("%d intents, should be %d", len(all), n)
	}
	return all
}
