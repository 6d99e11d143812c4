//go:build failpoints && unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/emulator"
	"iksync/watcher/faultfs"
)

// failWorld is two trees, a library and a state file that live through many rounds
// of one scenario.
type failWorld struct {
	*movesRun
	scenario *failScenario
	round    int
	traced   string   // what the backfill said
	replaced []string // files of the round that get another fileId, as they must
	web      *httptest.Server
}

// failScenario is what happens in each round before the backfill that fails, in a way
// that can be repeated.
type failScenario struct {
	name    string
	library emulator.Behaviour
	more    string // configuration of the roots
	begin   func(w *failWorld) error
	prepare func(w *failWorld) error // runs backfills itself
	change  func(w *failWorld) error
}

// flip gives two names in turn: what has the first now is to have the second.
func (w *failWorld) flip(a, b string) (from, to string) {
	if w.exists(a) {
		return a, b
	}
	return b, a
}

func (w *failWorld) exists(rel string) bool { return w.trees.exists(rel) }

func (w *failWorld) toggle(names ...string) error {
	for i := 0; i+1 < len(names); i += 2 {
		from, to := w.flip(names[i], names[i+1])
		if err := os.MkdirAll(filepath.Dir(w.trees.abs(to)), 0o755); err != nil {
			return err
		}
		if err := w.trees.rename(from, to); err != nil {
			return err
		}
	}
	return nil
}

// write makes files of contents that nothing else has.
func (w *failWorld) write(names ...string) error {
	for _, name := range names {
		if err := w.trees.write(name, movesNoise(rand.New(rand.NewPCG(uint64(w.round), rand.Uint64())), 200+rand.IntN(2000))); err != nil {
			return err
		}
	}
	return nil
}

func (w *failWorld) remove(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(w.trees.abs(name)); err != nil {
			return err
		}
		w.trees.say("rm %s", name)
	}
	return nil
}

// fails runs a backfill that is to die at a failpoint.
func (w *failWorld) fails(point string) error {
	if err := w.configure(); err != nil {
		return err
	}
	w.env = []string{"IKSYNC_FAILPOINTS=" + point}
	defer func() { w.env = nil }()
	code, err := w.backfill(context.Background(), 0, 0)
	if err == nil && code != -1 {
		err = fmt.Errorf("%s did not come while preparing:\n%s", point, w.output)
	}
	return err
}

func (w *failWorld) passes() error {
	if err := w.configure(); err != nil {
		return err
	}
	code, err := w.backfill(context.Background(), 0, 0)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d while preparing:\n%s", code, w.output)
	}
	return err
}

// call calls the management API as somebody else.
func (w *failWorld) call(method, path, body string) error {
	r, err := http.NewRequest(method, w.url+"/v1"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("k", "")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return nil
}

func (w *failWorld) idAt(remote string) string {
	for _, a := range w.library.server.Assets() {
		if a.FilePath == remote {
			return a.FileID
		}
	}
	return ""
}

// failScenarios reach all failpoints together.
func failScenarios() []*failScenario {
	return []*failScenario{
		{
			name: "files",
			begin: func(w *failWorld) error {
				return w.write("one/new-0a/f.jpg", "one/new-0b/f.jpg", "two/new-0a/f.jpg", "two/new-0b/f.jpg", "one/edit.jpg", "two/edit.jpg", "one/touch.jpg", "two/touch.jpg")
			},
			change: func(w *failWorld) error {
				was, is := w.round-1, w.round
				err := errors.Join(
					w.write(fmt.Sprintf("one/new-%da/f.jpg", is), fmt.Sprintf("one/new-%db/f.jpg", is), fmt.Sprintf("two/new-%da/f.jpg", is), fmt.Sprintf("two/new-%db/f.jpg", is), "one/edit.jpg", "two/edit.jpg"),
					w.remove(fmt.Sprintf("one/new-%da", was), fmt.Sprintf("one/new-%db", was), fmt.Sprintf("two/new-%da", was), fmt.Sprintf("two/new-%db", was)),
				)
				for _, name := range []string{"one/touch.jpg", "two/touch.jpg"} {
					at := time.Unix(1_600_000_000+int64(w.round), 0)
					err = errors.Join(err, os.Chtimes(w.trees.abs(name), at, at))
				}
				return err
			},
		},
		{
			// Folders are empty, and quiet for long enough.
			name: "folders",
			more: "    empty_folders: remove\n",
			prepare: func(w *failWorld) error {
				names := []string{fmt.Sprintf("one/f%d/1.jpg", w.round), fmt.Sprintf("one/g%d/x/2.jpg", w.round)}
				if err := errors.Join(w.write(names...), w.passes(), w.remove(filepath.Dir(names[0]), filepath.Dir(filepath.Dir(names[1]))), w.passes()); err != nil {
					return err
				}
				return w.change("UPDATE folders SET quiet_ms = 300000")
			},
			change: func(w *failWorld) error { return w.write(fmt.Sprintf("one/h%d/x/3.jpg", w.round)) },
		},
		{
			name: "moves",
			begin: func(w *failWorld) error {
				return w.write("one/name.jpg", "one/a/dir.jpg", "one/a/both.jpg", "one/x.jpg", "one/y.jpg", "two/x.jpg", "two/y.jpg", "one/over.jpg", "two/back.jpg")
			},
			change: func(w *failWorld) error {
				return errors.Join(
					w.toggle("one/name.jpg", "one/other.jpg", "one/a/dir.jpg", "one/b/dir.jpg", "one/a/both.jpg", "one/b/is.jpg", "one/over.jpg", "two/over.jpg", "two/back.jpg", "one/back.jpg"),
					w.trees.swap("one/x.jpg", "one/y.jpg"), w.trees.swap("two/x.jpg", "two/y.jpg"),
				)
			},
		},
		{
			name: "trees",
			begin: func(w *failWorld) error {
				var err error
				for _, dir := range []string{"one/named", "one/p/moved", "one/p/both", "two/across", "two/named"} {
					err = errors.Join(err, w.write(dir+"/1.jpg", dir+"/2.jpg", dir+"/sub/3.jpg"))
				}
				return err
			},
			change: func(w *failWorld) error {
				return w.toggle("one/named", "one/renamed", "one/p/moved", "one/q/moved", "one/p/both", "one/q/other", "two/across", "one/across", "two/named", "two/renamed")
			},
		},
		{
			name:    "new ids",
			library: emulator.Behaviour{NewFileIDOnMove: true},
			begin: func(w *failWorld) error {
				return w.write("one/named/1.jpg", "one/named/2.jpg", "one/p/moved/1.jpg", "one/p/moved/2.jpg", "one/name.jpg", "one/a/both.jpg", "one/x.jpg", "one/y.jpg")
			},
			change: func(w *failWorld) error {
				return errors.Join(w.toggle("one/named", "one/renamed", "one/p/moved", "one/q/moved", "one/name.jpg", "one/other.jpg", "one/a/both.jpg", "one/b/is.jpg"), w.trees.swap("one/x.jpg", "one/y.jpg"))
			},
		},
		{
			name:  "copies",
			more:  "    duplicates: copy\n",
			begin: func(w *failWorld) error { return w.write("one/first.jpg", "two/second.jpg") },
			change: func(w *failWorld) error {
				fresh := fmt.Sprintf("one/fresh-%d.jpg", w.round)
				w.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Count: 1, Latency: emulator.Duration(100 * time.Millisecond)}}})
				return errors.Join(
					w.trees.copy("one/first.jpg", fmt.Sprintf("one/c%d/first.jpg", w.round), false), w.trees.copy("one/first.jpg", fmt.Sprintf("one/c%d/other.jpg", w.round), false),
					w.trees.copy("two/second.jpg", fmt.Sprintf("one/c%d/second.jpg", w.round), false), w.trees.copy("two/second.jpg", fmt.Sprintf("two/again-%d.jpg", w.round), false),
					w.write(fresh), w.trees.copy(fresh, fmt.Sprintf("one/too-%d.jpg", w.round), false), w.trees.copy(fresh, fmt.Sprintf("two/too-%d.jpg", w.round), false),
				)
			},
		},
		{
			name:  "same",
			more:  "    duplicates: skip\n",
			begin: func(w *failWorld) error { return w.write("one/first.jpg", "two/second.jpg") },
			change: func(w *failWorld) error {
				return errors.Join(
					w.trees.copy("one/first.jpg", fmt.Sprintf("one/c%d/first.jpg", w.round), false),
					w.trees.copy("two/second.jpg", fmt.Sprintf("one/c%d/second.jpg", w.round), false),
				)
			},
		},
		{
			name: "filtered",
			begin: func(w *failWorld) error {
				if err := errors.Join(w.write("two/kept.raw", "two/kept/2.raw", "one/one.raw", "one/2.raw"), w.passes()); err != nil {
					return err
				}
				w.trees.rawOut = true // the first round has them back
				return nil
			},
			change: func(w *failWorld) error {
				w.trees.rawOut = !w.trees.rawOut
				return w.write("two/new.jpg")
			},
		},
		{
			// A process died and left uploads without an answer.
			name:  "unsure",
			begin: func(w *failWorld) error { return w.write("one/edit.jpg") },
			prepare: func(w *failWorld) error {
				if err := w.write(fmt.Sprintf("one/n%d.jpg", w.round), fmt.Sprintf("two/n%d.jpg", w.round), "one/edit.jpg"); err != nil {
					return err
				}
				return w.fails(failpoint.Uploaded + "=kill@3")
			},
		},
		{
			// And the files are gone since.
			name: "orphans",
			prepare: func(w *failWorld) error {
				names := []string{fmt.Sprintf("one/n%d.jpg", w.round), fmt.Sprintf("two/n%d.jpg", w.round)}
				if err := w.write(names...); err != nil {
					return err
				}
				return errors.Join(w.fails(failpoint.Uploaded+"=kill@2"), w.remove(names...))
			},
		},
		{
			name: "vanished",
			prepare: func(w *failWorld) error {
				names := []string{fmt.Sprintf("one/n%d.jpg", w.round), fmt.Sprintf("two/n%d.jpg", w.round)}
				if err := w.write(names...); err != nil {
					return err
				}
				return errors.Join(w.fails(failpoint.Upload+"=kill@2"), w.remove(names...))
			},
		},
		{
			name: "held",
			prepare: func(w *failWorld) error {
				names := []string{"one/empty.jpg", "two/empty.jpg"}
				err := errors.Join(w.trees.write(names[0], nil), w.trees.write(names[1], nil))
				return errors.Join(err, w.passes(), w.remove(names...))
			},
		},
		{
			// A move was broken off, and the file moved back.
			name:  "astray",
			begin: func(w *failWorld) error { return w.write("one/a/there.jpg", "two/a/there.jpg") },
			prepare: func(w *failWorld) error {
				back := func() error {
					return w.toggle("one/a/there.jpg", "one/b/away.jpg", "two/a/there.jpg", "two/b/away.jpg")
				}
				return errors.Join(back(), w.fails(failpoint.LibraryMove+"=kill@2"), back())
			},
		},
		{
			// Files have suffixes in the library until others are gone.
			name: "names",
			prepare: func(w *failWorld) error {
				if w.round > 1 {
					if err := w.remove(fmt.Sprintf("one/x_y-%d.jpg", w.round-1), fmt.Sprintf("two/x_y-%d.jpg", w.round-1)); err != nil {
						return err
					}
				}
				first := w.write(fmt.Sprintf("one/x y-%d.jpg", w.round), fmt.Sprintf("two/x y-%d.jpg", w.round))
				return errors.Join(first, w.passes(), w.write(fmt.Sprintf("one/x_y-%d.jpg", w.round), fmt.Sprintf("two/x_y-%d.jpg", w.round)), w.passes())
			},
			change: func(w *failWorld) error {
				return w.remove(fmt.Sprintf("one/x y-%d.jpg", w.round), fmt.Sprintf("two/x y-%d.jpg", w.round))
			},
		},
		{
			// Somebody moved and deleted things in the library; and a copy looks like a move.
			name: "others",
			begin: func(w *failWorld) error {
				return w.write("one/lost.jpg", "two/lost.jpg", "one/moved.jpg", "two/moved.jpg", "one/like.jpg")
			},
			change: func(w *failWorld) error {
				var err error
				for _, root := range []string{"one", "two"} {
					lost, now := w.flip(root+"/lost.jpg", root+"/found.jpg")
					err = errors.Join(err, w.call("DELETE", "/files/"+w.idAt("/"+lost), ""))
					w.replaced = append(w.replaced, now)
					moved, _ := w.flip(root+"/moved.jpg", root+"/here.jpg")
					err = errors.Join(err, w.call("POST", "/files/move", fmt.Sprintf(`{"sourceFilePath":"/%s","destinationPath":"/%s/elsewhere"}`, moved, root)))
					err = errors.Join(err, w.toggle(root+"/lost.jpg", root+"/found.jpg", root+"/moved.jpg", root+"/here.jpg"))
					err = errors.Join(err, w.trees.copy("one/like.jpg", fmt.Sprintf("%s/like-%d.jpg", root, w.round), true))
				}
				return err
			},
		},
		{
			// One upload takes its time, so what is recorded waits for its fsync.
			name: "slow",
			change: func(w *failWorld) error {
				w.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{
					{Endpoint: "upload", Path: "late", Count: 1, Latency: emulator.Duration(150 * time.Millisecond)},
					{Endpoint: "upload", Path: "last", Count: 1, Latency: emulator.Duration(300 * time.Millisecond)},
				}})
				return w.write(fmt.Sprintf("one/soon-%d.jpg", w.round), fmt.Sprintf("one/late-%d.jpg", w.round), fmt.Sprintf("one/last-%d.jpg", w.round))
			},
		},
		{
			// The state file is of the first schema.
			name:  "old",
			begin: func(w *failWorld) error { return w.write("one/1.jpg") },
			prepare: func(w *failWorld) error {
				w.state = filepath.Join(w.trees.base, "state", fmt.Sprintf("old-%d.db", w.round))
				return firstSchema(w.state)
			},
		},
		{
			// There is no state file yet.
			name:  "new",
			begin: func(w *failWorld) error { return w.write("one/1.jpg") },
			prepare: func(w *failWorld) error {
				w.state = filepath.Join(w.trees.base, "state", fmt.Sprintf("new-%d.db", w.round))
				return nil
			},
		},
	}
}

// change changes the state file as time does.
func (w *failWorld) change(query string) error {
	db, err := sql.Open("sqlite3", (&url.URL{Scheme: "file", Path: w.state}).String())
	if err != nil {
		return err
	}
	_, err = db.Exec(query)
	return errors.Join(err, db.Close())
}

// firstSchema makes a state file of the first schema.
func firstSchema(path string) error {
	script, err := os.ReadFile("../../state/migrations/0001_initial.sql")
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		return err
	}
	_, err = db.Exec(string(script) + "; PRAGMA application_id = 0x696b7379; PRAGMA user_version = 1")
	return errors.Join(err, db.Close())
}

func newFailWorld(t *testing.T, s *failScenario, on world) (*failWorld, error) {
	dir := t.TempDir()
	trees := dir
	if on != worldExt4 {
		trees = filepath.Join(dir, "trees")
		if err := os.Mkdir(trees, 0o755); err != nil {
			return nil, err
		}
	}
	w := &failWorld{scenario: s, movesRun: &movesRun{
		program: &movesProgram{world: on, policies: [2][2]string{{"delete", "trash"}, {"trash", "keep"}}, newIDs: s.library.NewFileIDOnMove, more: s.more},
		config:  filepath.Join(dir, "config.yaml"), state: filepath.Join(dir, "state", "iksync.db"),
		trees: &movesTrees{base: trees, roots: []string{"one", "two"}}, library: &movesLibrary{},
		rand: rand.New(rand.NewPCG(failSeed, 2)),
	}}
	w.disk = on.mount(t, trees, failSeed)
	var err error
	if w.library.server, err = emulator.New(emulator.Options{Behaviour: s.library}); err != nil {
		return nil, err
	}
	w.web = httptest.NewServer(w.library)
	w.url = w.web.URL
	err = w.write("one/"+anchor, "two/"+anchor)
	if s.begin != nil {
		err = errors.Join(err, s.begin(w))
	}
	if err == nil {
		err = w.passes()
	}
	return w, err
}

func (w *failWorld) close() error {
	w.web.Close()
	return w.library.server.Close()
}

// failSeed decides what is drawn of a world.
const failSeed = 7

// failTries is how many rounds may not reach a failpoint.
const failTries = 2

// failCase is what goes wrong in a round.
type failCase struct {
	point, action string
	hit           int
}

func (c failCase) String() string { return fmt.Sprintf("%s=%s@%d", c.point, c.action, c.hit) }

// run runs a round, and tells whether the failpoint was reached. An error is what
// is wrong after it.
func (w *failWorld) run(ctx context.Context, c failCase) (reached bool, err error) {
	w.round++
	w.output = ""
	w.trees.say("round %d: %s", w.round, c)
	w.remount()
	w.replaced = nil
	for _, step := range []func(*failWorld) error{w.scenario.prepare, w.scenario.change} {
		if step != nil {
			if err := step(w); err != nil {
				return false, err
			}
		}
	}
	defer w.library.server.SetFaults(emulator.Faults{})
	before, err := w.records(ctx)
	if err != nil && w.scenario.name != "old" && w.scenario.name != "new" { // which have no such schema yet
		return false, err
	}
	if before == nil {
		before = &recorded{}
	}
	disk, err := w.trees.look()
	if err != nil {
		return false, err
	}
	e := expect(before, disk)
	for _, at := range w.replaced {
		delete(e.ids, at)
	}
	if err := w.configure(); err != nil {
		return false, err
	}
	w.output = ""
	w.env = []string{"IKSYNC_FAILPOINTS=" + c.String()}
	code, err := w.backfill(ctx, 0, 0)
	w.env = nil
	if err != nil {
		return false, err
	}
	w.traced = w.output
	reached = strings.Contains(w.output, "failpoint "+c.point+": "+c.action)
	switch {
	case reached && c.action == "kill" && code != -1:
		return reached, fmt.Errorf("it was to die, and ended with %d", code)
	case !reached && code != 0 || c.action == "trace" && code != 0:
		return reached, fmt.Errorf("exit code %d", code)
	}
	if code == 0 {
		if err = w.sound(ctx, before, e); err == nil {
			return reached, nil
		}
	}
	for range 2 {
		if code, err = w.backfill(ctx, 0, 0); err != nil {
			return reached, err
		}
		if err = w.sound(ctx, before, e); code == 0 && err == nil {
			return reached, nil
		}
		if code != 0 {
			err = errors.Join(fmt.Errorf("exit code %d", code), err)
		}
	}
	return reached, err
}

// sound holds the library against trees and records, and looks whether the state
// file is whole and what is to be kept is there.
func (w *failWorld) sound(ctx context.Context, before *recorded, e *expectation) error {
	err := w.judge(ctx, e, true)
	now, rerr := w.records(ctx)
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	for at, f := range before.files {
		if f.Absent != state.Filtered || !strings.HasPrefix(at, "two/") {
			continue // the only policy here that keeps
		}
		if r := now.files[at]; r == nil || r.FileID != f.FileID || w.idAt(r.RemotePath) != f.FileID {
			err = errors.Join(err, fmt.Errorf("the copy of %s was to be kept", at))
		}
	}
	db, oerr := state.OpenReadOnly(ctx, w.state)
	if oerr != nil {
		return errors.Join(err, oerr)
	}
	defer db.Close()
	rows, qerr := db.Query(ctx, "PRAGMA integrity_check")
	if qerr != nil {
		return errors.Join(err, qerr)
	}
	defer rows.Close()
	for rows.Next() {
		var said string
		if serr := rows.Scan(&said); serr != nil || said != "ok" {
			err = errors.Join(err, serr, fmt.Errorf("the state file is damaged: %s", said))
		}
	}
	return errors.Join(err, rows.Err())
}

// failPlan gives each scenario its cases: every failpoint with every action at the
// first and a later hit, and with some action in every scenario that reaches it. All
// is each action at each hit in each scenario.
func failPlan(hits map[*failScenario]map[string]int, scenarios []*failScenario, all bool) map[*failScenario][]failCase {
	plan := make(map[*failScenario][]failCase)
	for n, point := range failpoint.Names {
		if all {
			for _, s := range scenarios {
				for hit := range hits[s][point] {
					plan[s] = append(plan[s], failCase{point, "kill", hit + 1}, failCase{point, "error", hit + 1})
				}
			}
			continue
		}
		for i, c := range []failCase{{point, "kill", 1}, {point, "error", 1}, {point, "kill", 2}, {point, "error", 2}} {
			var able []*failScenario
			for _, s := range scenarios {
				if hits[s][point] >= c.hit {
					able = append(able, s)
				}
			}
			for j, s := range able {
				if j%4 == (i+n)%4 && len(able) > 4 && !strings.HasPrefix(point, "state.") && !strings.HasPrefix(point, "queue.re") || j == (i+n)%len(able) {
					if many := hits[s][point]; c.hit == 2 && many > 4 {
						c.hit = 2 + (n+j)%(many-2) // any later one
					}
					plan[s] = append(plan[s], c)
				}
			}
		}
	}
	return plan
}

// failSample is how many failpoints are tried in a scenario on another file system.
const failSample = 4

// TestFailpointsOnOtherFileSystems lets a backfill die at some of the steps where the disk
// proves no identity: what it writes down there differs.
func TestFailpointsOnOtherFileSystems(t *testing.T) {
	t.Parallel()
	if !faultfs.Usable(t) {
		t.Skip("there is no FUSE")
	}
	var group errgroup.Group
	group.SetLimit(4)
	for i, s := range failScenarios() {
		if s.name == "old" || s.name == "new" { // about the state file alone
			continue
		}
		for j, on := range []world{worldFAT, worldFUSE} {
			group.Go(func() error {
				w, err := newFailWorld(t, s, on)
				if w != nil {
					t.Cleanup(func() { _ = w.close() })
				}
				if err == nil {
					_, err = w.run(t.Context(), failCase{"all", "trace", 1})
				}
				if err != nil {
					return fmt.Errorf("%s on %s, where nothing fails: %w\n%v", s.name, on, err, w)
				}
				traced := w.traced
				var points []string
				for _, name := range failpoint.Names {
					if strings.Contains(traced, "failpoint "+name+": trace\n") {
						points = append(points, name)
					}
				}
				r := rand.New(rand.NewPCG(failSeed, uint64(2*i+j)))
				for n := range min(failSample, len(points)) {
					c := failCase{points[r.IntN(len(points))], []string{"kill", "error"}[n%2], 1}
					if _, err := w.run(t.Context(), c); err != nil {
						return fmt.Errorf("%s on %s, %s: %w\n%v", s.name, on, c, err, w)
					}
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// TestFailpoints lets a backfill die and fail between any two steps of what it
// writes down and what it asks of the library, and wants the next to put all right.
//
// IKSYNC_FAILPOINTS_ALL=1 tries every hit of every failpoint in every scenario;
// IKSYNC_FAILPOINTS_ONLY=queue.placed those whose names begin so.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	scenarios := failScenarios()
	only, all := os.Getenv("IKSYNC_FAILPOINTS_ONLY"), os.Getenv("IKSYNC_FAILPOINTS_ALL") != ""
	points := slices.DeleteFunc(slices.Clone(failpoint.Names), func(p string) bool { return slices.Contains(relocationPoints, p) })
	began := time.Now()
	var mu sync.Mutex
	hits := make(map[*failScenario]map[string]int)
	worlds := make(map[*failScenario]*failWorld)
	var group errgroup.Group
	group.SetLimit(4)
	for _, s := range scenarios {
		group.Go(func() error {
			w, err := newFailWorld(t, s, worldExt4)
			if w != nil {
				t.Cleanup(func() { _ = w.close() })
			}
			if err == nil {
				_, err = w.run(t.Context(), failCase{"all", "trace", 1})
			}
			if err != nil {
				return fmt.Errorf("%s, where nothing fails: %w\n%v", s.name, err, w)
			}
			mu.Lock()
			defer mu.Unlock()
			worlds[s], hits[s] = w, make(map[string]int)
			for _, name := range failpoint.Names {
				hits[s][name] = strings.Count(w.traced, "failpoint "+name+": trace\n")
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("traced in %v", time.Since(began))
	plan := failPlan(hits, scenarios, all)
	reached := make(map[failCase]int)
	missed := make(map[string]int)
	rounds := 0
	work := func(w *failWorld, cases []failCase) error {
		for _, c := range cases {
			var did bool
			var err error
			for tries := 0; tries < failTries && !did && err == nil; tries++ { // rounds are not all alike
				did, err = w.run(t.Context(), c)
			}
			mu.Lock()
			rounds++
			if c.hit = min(c.hit, 2); did {
				reached[c]++
			} else {
				missed[w.scenario.name+": "+c.String()]++
			}
			mu.Unlock()
			if err == nil {
				continue
			}
			t.Errorf("%s, %s: %v\n%v", w.scenario.name, c, err, w)
			if w, err = newFailWorld(t, w.scenario, w.program.world); err != nil {
				return err
			}
			t.Cleanup(func() { _ = w.close() })
		}
		return nil
	}
	group = errgroup.Group{}
	group.SetLimit(8)
	for _, s := range scenarios {
		cases := slices.DeleteFunc(plan[s], func(c failCase) bool { return !strings.HasPrefix(c.point, only) })
		const each = 12
		for n := 0; n*each < len(cases); n++ {
			part := cases[n*each : min(len(cases), (n+1)*each)]
			group.Go(func() (err error) {
				w := worlds[s]
				if n > 0 {
					if w, err = newFailWorld(t, s, worldExt4); err != nil {
						return err
					}
					t.Cleanup(func() { _ = w.close() })
				}
				return work(w, part)
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	for _, point := range points { // again where it is the likeliest
		for _, action := range []string{"kill", "error"} {
			c := failCase{point, action, 1}
			most := slices.MaxFunc(scenarios, func(a, b *failScenario) int { return hits[a][point] - hits[b][point] })
			for tries := 0; strings.HasPrefix(point, only) && reached[c] == 0 && tries < failTries; tries++ {
				if err := work(worlds[most], []failCase{c}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, point := range points {
		for _, action := range []string{"kill", "error"} {
			if strings.HasPrefix(point, only) && reached[failCase{point, action, 1}] == 0 {
				t.Errorf("%s=%s was never reached", point, action)
			}
		}
	}
	t.Logf("%d rounds, %d failures reached, in %v", rounds, len(reached), time.Since(began))
	for _, what := range slices.Sorted(maps.Keys(missed)) {
		t.Logf("not reached this time: %s", what)
	}
	if testing.Verbose() {
		var b bytes.Buffer
		for _, point := range failpoint.Names {
			fmt.Fprintf(&b, "%s:", point)
			for _, s := range scenarios {
				if n := hits[s][point]; n > 0 {
					fmt.Fprintf(&b, " %s %d,", s.name, n)
				}
			}
			b.WriteByte('\n')
		}
		t.Log(b.String())
	}
}
