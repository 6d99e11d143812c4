package main

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zeebo/xxh3"

	"iksync/uploader/emulator"
)

// killRig is a tree, a library, and the real binary between them.
type killRig struct {
	t       *testing.T
	tree    string
	state   string
	library *emulator.Server
	url     string
	uploads atomic.Int64 // requests that have begun
	killAt  atomic.Int64 // the request at whose arrival the process is killed; 0 is never
	reached chan struct{}
}

const killWorkers = 8

func newKillRig(t *testing.T, files int) *killRig {
	t.Helper()
	k := &killRig{t: t, tree: t.TempDir(), state: filepath.Join(t.TempDir(), "iksync.db"), reached: make(chan struct{}, 1)}
	for i := range files {
		dir := filepath.Join(k.tree, fmt.Sprintf("%02d", i%20), "ä sub")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		content := bytes.Repeat([]byte(fmt.Sprintf("%d ", i)), 1+rand.N(2000))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %d.bin", i)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if k.library, err = emulator.New(emulator.Options{}); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/upload") && k.uploads.Add(1) == k.killAt.Load() {
			k.reached <- struct{}{}
		}
		k.library.ServeHTTP(w, r)
	}))
	k.url = web.URL
	t.Cleanup(func() {
		web.Close()
		if err := k.library.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *killRig) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	k.t.Helper()
	cmd := exec.CommandContext(k.t.Context(), "iksync", append(args, "--state", k.state)...)
	cmd.Env = append(os.Environ(), "IMAGEKIT_PRIVATE_KEY=k", "IKSYNC_UPLOAD_URL="+k.url+"/api/v1/files/upload", "IKSYNC_API_URL="+k.url+"/v1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

func (k *killRig) backfill() (*exec.Cmd, *bytes.Buffer) {
	return k.command("backfill", k.tree, "--to", "/kill-test", "--workers", fmt.Sprint(killWorkers))
}

// killed runs a backfill and kills it when so many more uploads have begun.
func (k *killRig) killed(after int64) {
	k.t.Helper()
	k.killAt.Store(k.uploads.Load() + after)
	cmd, out := k.backfill()
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-k.reached:
		if err := cmd.Process.Kill(); err != nil {
			k.t.Fatal(err)
		}
		<-ended
	case err := <-ended:
		k.t.Fatalf("the backfill ended before it was killed: %v\n%s", err, out)
	}
}

// TestKilledBackfillsConverge proves promise 2: whatever moment a process dies
// at, the next one ends with every file uploaded, every fileId recorded, no
// second asset, and nothing sent twice but what was in flight.
func TestKilledBackfillsConverge(t *testing.T) {
	t.Parallel()
	const files, kills = 2000, 10
	k := newKillRig(t, files)
	for range kills {
		k.killed(1 + rand.N[int64](files/kills-2*killWorkers))
	}
	k.killAt.Store(0)
	cmd, out := k.backfill()
	if err := cmd.Run(); err != nil {
		t.Fatalf("the last backfill: %v\n%s", err, out)
	}
	k.compare(files)
	twice := k.uploads.Load() - files
	t.Logf("%d kills, %d uploads sent twice", kills, twice)
	// In flight are those of the workers, and those that are answered and not yet on disk.
	if most := int64(kills * 6 * killWorkers); twice > most {
		t.Errorf("%d files were sent twice; %d at most were in flight", twice, most)
	}
	before := k.uploads.Load()
	cmd, out = k.backfill()
	if err := cmd.Run(); err != nil || k.uploads.Load() != before {
		t.Errorf("a backfill with nothing to do: %v, %d uploads\n%s", err, k.uploads.Load()-before, out)
	}
}

// compare holds the tree, the library and the export against each other.
func (k *killRig) compare(files int) {
	k.t.Helper()
	cmd, out := k.command("export", "--format", "csv")
	if err := cmd.Run(); err != nil {
		k.t.Fatalf("export: %v\n%s", err, out)
	}
	rows, err := csv.NewReader(out).ReadAll()
	if err != nil {
		k.t.Fatal(err)
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	exported := make(map[string][]string)
	for _, row := range rows[1:] {
		exported[row[column("local_path")]] = row
	}
	assets := make(map[string]emulator.Asset)
	for _, a := range k.library.Assets() {
		assets[a.FilePath] = a
	}
	if len(exported) != files || len(assets) != files {
		k.t.Errorf("%d files: %d exported, %d assets", files, len(exported), len(assets))
	}
	err = filepath.WalkDir(k.tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(k.tree, path)
		if err != nil {
			return err
		}
		hash := xxh3.Hash128(content).Bytes()
		row, ok := exported[filepath.ToSlash(rel)]
		if !ok {
			k.t.Errorf("%s is not exported", rel)
			return nil
		}
		asset := assets[row[column("remote_path")]]
		if asset.Hash != hash || row[column("hash")] != hex.EncodeToString(hash[:]) || row[column("file_id")] != asset.FileID {
			k.t.Errorf("%s: exported %v, asset %+v", rel, row, asset)
		}
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
}
