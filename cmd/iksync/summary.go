package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

// maxListed bounds the paths that a summary names; all are counted.
const maxListed = 20

// result is how a run ended.
type result struct {
	work        *work
	roots       []rootSummary
	reports     []watcher.Report
	stats       uploader.Stats
	mismatches  []uploader.Mismatch
	failed      map[string]int64 // by class
	failures    []failure
	held        map[string]int64
	holds       []failure
	remaining   int64
	gone        int64    // records of files that are absent, and whose copies stay so far
	braked      []string // why removals of a root wait for approval
	elsewhere   []elsewhere
	undecided   error // of roots that wait for somebody's decision; nil when none does
	seconds     float64
	statePath   string
	interrupted bool
	cause       error
	emulator    *embedded

	emptyFolders   int64 // that a later run removes
	unremoved      int64 // copies that were to be removed and are there still
	unremovedFirst []failure
	unresolved     []control.Unresolved
	serves         bool // the emulator goes on
}

type rootSummary struct {
	Path   string `json:"path"`
	Folder string `json:"folder"`
}

// elsewhere are files of a root that are in the library outside of its folder: they were
// uploaded when it had another one.
type elsewhere struct {
	Root   string `json:"root"`
	Folder string `json:"folder"`
	Files  int64  `json:"files"`
	First  string `json:"first"` // remote path of one
}

func (e *elsewhere) String() string {
	are, stay := "are", "they stay where they are"
	if e.Files == 1 {
		are, stay = "is", "it stays where it is"
	}
	return fmt.Sprintf("%s of %s %s in the library outside of %s, such as %s: %s, and new ones go to %s", files(e.Files), display(e.Root), are, e.Folder, e.First, stay, e.Folder)
}

// advice says what a changed folder means for them.
func (e *elsewhere) advice() string {
	return fmt.Sprintf("%s: changing folder affects new uploads only; %s stay outside of %s (such as %s): iksync relocate --folder %q moves them",
		e.Root, quantity(e.Files, "asset", "assets"), e.Folder, e.First, e.Root)
}

// outsideFolder tells which files of a root are outside of its folder; nil when none is.
func outsideFolder(ctx context.Context, q *queue.Queue, r *openRoot) (*elsewhere, error) {
	n, first, err := q.Outside(ctx, r.state.ID, r.config.Folder)
	if err != nil || n == 0 {
		return nil, err
	}
	return &elsewhere{Root: r.config.Path, Folder: r.config.Folder, Files: n, First: first}, nil
}

// changeOf names a change of the library, and why its outcome is not known.
func changeOf(u *control.Unresolved) string {
	if u.Target == "" {
		return fmt.Sprintf("%s: %s", u.Source, u.Reason)
	}
	return fmt.Sprintf("%s -> %s: %s", u.Source, u.Target, u.Reason)
}

type failure struct {
	Path      string `json:"path"`
	Class     string `json:"class"`
	Reason    string `json:"reason"`
	RequestID string `json:"request_id,omitempty"`
	Attempts  int    `json:"attempts,omitempty"`
}

type renamed struct {
	Path   string `json:"path"`
	Wanted string `json:"wanted"`
	Given  string `json:"given"`
}

// summary is a result in the form that --json prints.
type summary struct {
	InStep         bool                 `json:"in_step"`
	Interrupted    bool                 `json:"interrupted"`
	Error          string               `json:"error,omitempty"`
	Roots          []rootSummary        `json:"roots"`
	Files          int64                `json:"files"`
	Bytes          int64                `json:"bytes"`
	Uploaded       int64                `json:"uploaded"`
	UploadedBytes  int64                `json:"uploaded_bytes"`
	Unchanged      int64                `json:"unchanged"`
	Touched        int64                `json:"touched"`
	Skipped        map[string]int64     `json:"skipped"`
	Waiting        map[string]int64     `json:"waiting"`
	WaitingFirst   []failure            `json:"waiting_first,omitempty"`
	Failed         map[string]int64     `json:"failed"`
	FailedFirst    []failure            `json:"failed_first,omitempty"`
	Unreadable     int64                `json:"unreadable"`
	UnreadablePath []failure            `json:"unreadable_first,omitempty"`
	Remaining      int64                `json:"remaining"`
	Moved          int64                `json:"moved"`
	MovedFolders   int64                `json:"moved_folders"`
	Copied         int64                `json:"copied"`
	Aliased        int64                `json:"aliased"`
	Removed        int64                `json:"removed"`
	NotRemoved     int64                `json:"not_removed"`
	NotRemovedPath []failure            `json:"not_removed_first,omitempty"`
	Unresolved     int64                `json:"unresolved"`
	UnresolvedList []control.Unresolved `json:"unresolved_first,omitempty"`
	EmptyFolders   int64                `json:"empty_folders_left"`
	Gone           int64                `json:"gone"`
	Braked         []string             `json:"braked,omitempty"`
	Elsewhere      []elsewhere          `json:"elsewhere,omitempty"`
	Renamed        int64                `json:"renamed"`
	RenamedFirst   []renamed            `json:"renamed_first,omitempty"`
	Retries        int64                `json:"retries"`
	Requests       int64                `json:"requests"`
	Seconds        float64              `json:"seconds"`
	State          string               `json:"state"`
	EmulatorDir    string               `json:"emulator_dir,omitempty"`
}

func (r *result) summary() summary {
	s := summary{
		Interrupted: r.interrupted, Roots: r.roots,
		Uploaded: r.stats.Uploaded, UploadedBytes: r.stats.UploadedBytes, Touched: r.stats.Touched, Unchanged: r.stats.Touched,
		Skipped: make(map[string]int64), Waiting: r.held, WaitingFirst: r.holds, Failed: r.failed, FailedFirst: r.failures,
		Remaining: r.remaining, Retries: r.stats.Retries, Requests: r.stats.Requests, Seconds: r.seconds, State: r.statePath,
		Renamed: r.stats.Renamed, Moved: r.stats.Moved, MovedFolders: r.stats.MovedFolders, Copied: r.stats.Copied, Aliased: r.stats.Aliased, Removed: r.stats.Removed,
		NotRemoved: r.unremoved, NotRemovedPath: r.unremovedFirst, Unresolved: int64(len(r.unresolved)), UnresolvedList: r.unresolved[:min(len(r.unresolved), maxListed)],
		EmptyFolders: r.emptyFolders,
		Gone:         r.gone, Braked: r.braked, Elsewhere: r.elsewhere,
	}
	if r.cause != nil && !r.interrupted {
		s.Error = r.cause.Error()
	}
	if r.emulator != nil {
		s.EmulatorDir = r.emulator.dir
	}
	for i := range r.reports {
		rep := &r.reports[i]
		s.Files += rep.Files
		s.Bytes += rep.Bytes
		s.Unchanged += rep.InStep
		s.Renamed += rep.Renamed
		s.Unreadable += rep.Problems
		for rule, n := range rep.Skipped {
			s.Skipped[rule] += n
		}
		for _, p := range rep.Problem {
			if len(s.UnreadablePath) < maxListed {
				s.UnreadablePath = append(s.UnreadablePath, failure{Path: display(p.Path), Class: "unreadable", Reason: p.Err.Error()})
			}
		}
		for _, n := range rep.Renames {
			s.RenamedFirst = append(s.RenamedFirst, renamed{display(n.Path), n.Wanted, n.Given})
		}
	}
	for _, m := range r.mismatches {
		s.RenamedFirst = append(s.RenamedFirst, renamed{display(m.Path), m.Asked, m.Given})
	}
	s.RenamedFirst = s.RenamedFirst[:min(len(s.RenamedFirst), maxListed)]
	s.InStep = r.exit() == nil
	return s
}

// exit returns the error that ends the program with the true code.
func (r *result) exit() error {
	var api *imagekit.Error
	switch {
	case errors.As(r.cause, &api) && api.Class == imagekit.Credentials:
		return exit(exitKey, fmt.Errorf("ImageKit refuses the private key, so nothing more was sent: %w", r.cause))
	case r.interrupted:
		return exit(exitInterrupted, nil)
	case r.cause != nil:
		return exit(exitFailed, r.cause)
	case r.undecided != nil:
		return r.undecided
	case len(r.failed) > 0 || r.remaining > 0 || r.unremoved > 0 || len(r.unresolved) > 0:
		return exit(exitFailed, nil)
	}
	for i := range r.reports {
		if r.reports[i].Problems > 0 || !r.reports[i].Completed {
			return exit(exitFailed, nil)
		}
	}
	return nil
}

// report prints the summary.
func (b *backfill) report(r *result) error {
	s := r.summary()
	if b.json {
		enc := json.NewEncoder(b.out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	var text bytes.Buffer
	s.print(&text)
	if r.emulator != nil {
		r.emulator.explain(&text, s.UploadedBytes > 0, r.serves)
	}
	_, err := text.WriteTo(b.out)
	return err
}

func (s *summary) print(w io.Writer) {
	switch {
	case s.Interrupted:
		fmt.Fprintf(w, "Interrupted: %s left. Started again, it continues there.\n", files(s.Remaining))
	case s.InStep:
		fmt.Fprintf(w, "In step: %s, %s.\n", files(s.Files), humanize.Bytes(uint64(s.Bytes)))
	default:
		more := ""
		if s.NotRemoved > 0 {
			more += fmt.Sprintf(", %s not removed from the library", files(s.NotRemoved))
		}
		if s.Unresolved > 0 {
			more += fmt.Sprintf(", %s of the library unresolved", quantity(s.Unresolved, "change"))
		}
		fmt.Fprintf(w, "Not in step: %s failed, %s left%s.\n", files(sum(s.Failed)+s.Unreadable), files(s.Remaining), more)
	}
	line := func(name string, n int64, detail string) {
		if n > 0 {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-10s %8s  %s", name, humanize.Comma(n), detail), " "))
		}
	}
	rate := ""
	if s.Seconds > 0 {
		rate = fmt.Sprintf("%s in %s s (%.0f files/s, %s/s), %s", humanize.Bytes(uint64(s.UploadedBytes)),
			strconv.FormatFloat(s.Seconds, 'f', 1, 64), float64(s.Uploaded)/s.Seconds, humanize.Bytes(uint64(float64(s.UploadedBytes)/s.Seconds)), quantity(s.Requests, "request"))
	}
	line("uploaded", s.Uploaded, rate)
	touched := ""
	if s.Touched > 0 {
		touched = fmt.Sprintf("%s of them touched: read, found the same, not sent", humanize.Comma(s.Touched))
	}
	line("unchanged", s.Unchanged, touched)
	moves := "renamed or moved in the library; no byte sent"
	if s.MovedFolders > 0 {
		moves = fmt.Sprintf("in the library, with %s as a whole; no byte sent", quantity(s.MovedFolders, "folder"))
	}
	line("skipped", sum(s.Skipped), counts(s.Skipped))
	line("waiting", sum(s.Waiting), counts(s.Waiting))
	list(w, s.WaitingFirst, sum(s.Waiting))
	line("failed", sum(s.Failed), counts(s.Failed))
	list(w, s.FailedFirst, sum(s.Failed))
	line("unreadable", s.Unreadable, "")
	list(w, s.UnreadablePath, s.Unreadable)
	line("moved", s.Moved, moves)
	line("copied", s.Copied, "the library had their content; no byte sent")
	line("the same", s.Aliased, "as other files of the library: recorded with their fileIds, not sent")
	line("removed", s.Removed, "copies of files that are gone, deleted or moved to the trash folder as configured")
	line("not removed", s.NotRemoved, "copies of files that are gone: ImageKit did not remove them")
	list(w, s.NotRemovedPath, s.NotRemoved)
	line("unresolved", s.Unresolved, "changes of the library: ImageKit did not tell what became of them; the next run asks again")
	for i := range s.UnresolvedList {
		fmt.Fprintf(w, "      %s\n", changeOf(&s.UnresolvedList[i]))
	}
	line("folders", s.EmptyFolders, "that seem to be empty stay for now: a run removes one that was quiet for 5 minutes")
	line("gone", s.Gone, "not there, or not wanted, any more; their copies are in the library still")
	for _, why := range s.Braked {
		fmt.Fprintf(w, "      nothing is removed: %s (iksync approve)\n", why)
	}
	line("renamed", s.Renamed, "their own remote path was not to be had")
	for _, n := range s.RenamedFirst {
		fmt.Fprintf(w, "      %s: %s instead of %s\n", n.Path, n.Given, n.Wanted)
	}
	for i := range s.Elsewhere {
		fmt.Fprintf(w, "note: %s\n", &s.Elsewhere[i])
	}
	if s.Error == "" && !s.InStep && !s.Interrupted {
		fmt.Fprintln(w, "Run it again to try once more what failed.")
	}
	fmt.Fprintf(w, "State file: %s\n", s.State)
}

func list(w io.Writer, failures []failure, all int64) {
	for _, f := range failures {
		id := ""
		if f.RequestID != "" {
			id = " (request id " + f.RequestID + ")"
		}
		fmt.Fprintf(w, "      %s: %s%s\n", f.Path, f.Reason, id)
	}
	if more := all - int64(len(failures)); more > 0 {
		fmt.Fprintf(w, "      and %s more\n", humanize.Comma(more))
	}
}

func files(n int64) string { return quantity(n, "file") }

// quantity counts things; their plural has an s unless it is given.
func quantity(n int64, what string, plural ...string) string {
	switch {
	case n == 1:
		return "1 " + what
	case len(plural) > 0:
		return humanize.Comma(n) + " " + plural[0]
	}
	return humanize.Comma(n) + " " + what + "s"
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// counts lists what is counted, the most first.
func counts(m map[string]int64) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	for i, k := range keys {
		keys[i] = k + " " + humanize.Comma(m[k])
	}
	return strings.Join(keys, ", ")
}

// display makes a path's bytes safe to show: control characters and what is not
// UTF-8 are escaped.
func display(path string) string {
	if path == "" {
		return "(the root itself)"
	}
	if utf8.ValidString(path) && !strings.ContainsFunc(path, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return path
	}
	return strconv.Quote(path)
}
