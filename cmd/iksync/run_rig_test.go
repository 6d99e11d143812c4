//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/emulator"
)

// patience is after how long a test gives up waiting. Nothing is measured by it.
const patience = 3 * time.Minute

// lookEvery is how often a condition is looked at.
const lookEvery = 20 * time.Millisecond

// waitFor waits until what is true.
func waitFor(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for !isTrue() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// runRig is directories, a library, and the configuration of the daemon between
// them.
type runRig struct {
	*testing.T
	base     string
	config   string
	state    string
	library  *library
	settings map[string]string // lines of the configuration
	roots    []runRoot
	url      string
	killed   bool // a daemon was killed
}

// runRoot is a root of the configuration.
type runRoot struct {
	path, folder string
	more         string // further keys, with their indent
}

// newRunRig makes a library and a configuration with one root, "photos", that
// is empty.
func newRunRig(t *testing.T, o emulator.Options) *runRig {
	t.Helper()
	l, err := newLibrary(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &runRig{
		T: t, base: base, config: filepath.Join(base, "config.yaml"), state: filepath.Join(base, "state", "iksync.db"), library: l, url: l.http.URL,
		settings: map[string]string{"settle": "300ms", "rescan": "2s", "poll": "1s", "shutdown_grace": "20s", "workers": "8", "log": "{format: json}"},
	}
	r.addRoot("photos", "")
	return r
}

// addRoot makes a directory and configures it as a root of the same folder.
func (r *runRig) addRoot(name, more string) string {
	r.Helper()
	path := filepath.Join(r.base, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		r.Fatal(err)
	}
	r.roots = append(r.roots, runRoot{path, "/" + name, more})
	r.configure()
	return path
}

// tree is the first root's directory.
func (r *runRig) tree() string { return r.roots[0].path }

// set changes a setting of the configuration.
func (r *runRig) set(key, value string) {
	r.Helper()
	r.settings[key] = value
	r.configure()
}

// configure writes the configuration.
func (r *runRig) configure() {
	r.Helper()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(r.settings)) {
		fmt.Fprintf(&b, "%s: %s\n", key, r.settings[key])
	}
	b.WriteString("roots:\n")
	for _, root := range r.roots {
		fmt.Fprintf(&b, "  - path: %s\n    folder: %s\n%s", root.path, root.folder, root.more)
	}
	r.must(os.WriteFile(r.config, []byte(b.String()), 0o600))
}

func (r *runRig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// write makes a file of the first root, with the directories above it; its
// content is its path unless given.
func (r *runRig) write(path string, content ...string) {
	r.Helper()
	r.must(writeFile(filepath.Join(r.tree(), path), strings.Join(append(content, path)[:max(len(content), 1)], "")))
}

func writeFile(path, content string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}

// daemonProcess is an `iksync run` of a test.
type daemonProcess struct {
	*testing.T
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the process writes.
func (d *daemonProcess) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.Write(p)
}

func (d *daemonProcess) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.String()
}

// command makes a command that knows the library, the state file and what env adds.
func (r *runRig) command(name string, args []string, env ...string) *exec.Cmd {
	r.Helper()
	path, err := exec.LookPath(name)
	r.must(err)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "IMAGEKIT_PRIVATE_KEY=k", "NO_PROXY=*", "IKSYNC_UPLOAD_URL="+r.url+"/api/v1/files/upload",
		"IKSYNC_API_URL="+r.url+"/v1", "IKSYNC_STATE="+r.state, "GORACE="+raceOptions)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// start starts the daemon.
func (r *runRig) start(env ...string) *daemonProcess {
	r.Helper()
	return r.begin(r.command("iksync", []string{"run", "--config", r.config}, env...))
}

// begin starts a command as a daemon, which is killed when the test leaves it running.
func (r *runRig) begin(cmd *exec.Cmd) *daemonProcess {
	r.Helper()
	d := &daemonProcess{T: r.T, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = d, d
	r.must(cmd.Start())
	go func() {
		defer close(d.ended)
		_ = cmd.Wait() // its state is looked at
	}()
	r.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended unless the test failed
		<-d.ended
		if strings.Contains(d.log(), "DATA RACE") {
			r.Error("the race detector reports a race")
		}
		if r.Failed() {
			lines := strings.SplitAfter(d.log(), "\n")
			r.Logf("the end of what the daemon said:\n%s", strings.Join(lines[max(0, len(lines)-60):], ""))
		}
	})
	return d
}

func (d *daemonProcess) running() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// says waits until the log holds all of the texts.
func (d *daemonProcess) says(texts ...string) {
	d.Helper()
	for _, text := range texts {
		waitFor(d.T, "the log says "+text, func() bool { return strings.Contains(d.log(), text) || !d.running() })
		if !strings.Contains(d.log(), text) {
			d.Fatalf("the daemon ended and never said %q", text)
		}
	}
}

func (d *daemonProcess) signal(s os.Signal) {
	d.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.Fatal(err)
	}
}

// ends waits for the process's end and wants its exit code.
func (d *daemonProcess) ends(code int) {
	d.Helper()
	waitFor(d.T, "the daemon ends", func() bool { return !d.running() })
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.Errorf("the exit code is %d, not %d", got, code)
	}
}

// stop ends the daemon as a service manager does.
func (d *daemonProcess) stop() {
	d.Helper()
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

// kill ends it as a power cut does.
func (d *daemonProcess) kill() {
	d.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.Fatal(err)
	}
	<-d.ended
}

// wanted hashes what the roots hold, by remote path.
func (r *runRig) wanted() map[string][16]byte {
	r.Helper()
	want := make(map[string][16]byte)
	for _, root := range r.roots {
		r.must(filepath.WalkDir(root.path, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == ".git" {
				return fs.SkipDir
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			want[root.folder+strings.TrimPrefix(path, root.path)] = xxh3.Hash128(content).Bytes()
			return err
		}))
	}
	return want
}

// assets is what the library holds, by path.
func (r *runRig) assets() map[string]emulator.Asset {
	assets := make(map[string]emulator.Asset)
	for _, a := range r.library.server.Assets() {
		assets[a.FilePath] = a
	}
	return assets
}

// holds reports whether the library has exactly the contents of want, and
// below the folders of left whatever was there once; why is one that differs.
func (r *runRig) holds(want map[string][16]byte, left ...string) (why string, ok bool) {
	if n := r.library.server.Stats().Assets; n < len(want) {
		return fmt.Sprintf("%d assets, not %d", n, len(want)), false
	}
	assets := r.assets()
	for path, hash := range want {
		if a, ok := assets[path]; !ok {
			return path + " is missing", false
		} else if a.Hash != hash {
			return path + " has another content", false
		}
		delete(assets, path)
	}
	for path := range assets {
		if !slices.ContainsFunc(left, func(folder string) bool { return strings.HasPrefix(path, folder) }) {
			return path + " has no file", false
		}
	}
	return "", true
}

// inStep waits until the library is what the roots hold, nothing waits to be
// uploaded, and the export is the library.
func (r *runRig) inStep(left ...string) {
	r.Helper()
	want := r.wanted()
	why := ""
	defer func() {
		if r.Failed() {
			r.Logf("not in step: %s", why)
		}
	}()
	waitFor(r.T, "the library is what the roots hold", func() bool {
		if n := r.library.server.Stats().Assets; n < len(want) {
			why = fmt.Sprintf("%d assets, not %d", n, len(want))
			return false
		}
		depths := r.depths()
		if n := depths[queue.Ready].Jobs + depths[queue.Leased].Jobs; n > 0 {
			why = fmt.Sprintf("%d jobs wait", n)
			return false
		}
		var ok bool
		why, ok = r.holds(want, left...)
		return ok
	})
	r.exportIsLibrary(left...)
}

// depths counts the jobs of all roots.
func (r *runRig) depths() map[queue.State]queue.Depth {
	r.Helper()
	db, err := state.OpenReadOnly(r.Context(), r.state)
	r.must(err)
	defer db.Close()
	roots, err := db.Roots(r.Context())
	r.must(err)
	ids := make([]int64, len(roots))
	for i := range roots {
		ids[i] = roots[i].ID
	}
	depths, err := newQueue(db).Depths(r.Context(), ids)
	r.must(err)
	return depths
}

// exportIsLibrary wants every record to match its asset, and every asset to have
// its record. After a kill an asset may lack it below the folders of left: its
// upload was in flight, and its file gone before it could be sent again.
func (r *runRig) exportIsLibrary(left ...string) {
	r.Helper()
	out, err := r.command("iksync", []string{"export", "--format", "csv"}).Output()
	if err != nil {
		r.Fatalf("export: %v", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	r.must(err)
	column := func(name string) int { return slices.Index(rows[0], name) }
	remote, id, hash := column("remote_path"), column("file_id"), column("hash")
	assets := r.assets()
	for _, row := range rows[1:] {
		a, ok := assets[row[remote]]
		if !ok || a.FileID != row[id] || hex.EncodeToString(a.Hash[:]) != row[hash] {
			r.Errorf("exported is %v, the library has %+v", row, a)
		}
		delete(assets, row[remote])
	}
	for path, a := range assets {
		if !r.killed || !slices.ContainsFunc(left, func(folder string) bool { return strings.HasPrefix(path, folder) }) {
			r.Errorf("not exported is %+v", a)
		}
	}
}

// nothingIsLeft wants a backfill to find nothing to do.
func (r *runRig) nothingIsLeft() {
	r.Helper()
	before := r.library.server.Stats().Requests["upload"]
	out, err := r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"}).CombinedOutput()
	if after := r.library.server.Stats().Requests["upload"]; err != nil || after != before {
		r.Errorf("a backfill with nothing to do: %v, %d uploads\n%s", err, after-before, out)
	}
}

// came waits until so many uploads have come since hold.
func (r *runRig) came(n int) {
	r.Helper()
	l := r.library
	waitFor(r.T, fmt.Sprintf("%d uploads come", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.came-l.mark >= n
	})
}

// has reports whether the library holds a file with that content.
func (r *runRig) has(path, content string) bool {
	a, ok := r.assets()[path]
	return ok && a.Hash == xxh3.HashString128(content).Bytes()
}

// gets waits until the library holds files of the first root whose content is their path.
func (r *runRig) gets(paths ...string) {
	r.Helper()
	for _, path := range paths {
		waitFor(r.T, path+" is in the library", func() bool { return r.has(r.roots[0].folder+"/"+path, path) })
	}
}
