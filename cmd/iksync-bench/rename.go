package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"iksync/state"
	"iksync/uploader/emulator"
)

func renameRow(sizes ...int) row {
	return row{
		name: "rename", takes: "8 min, 2 GB of disk, 4 GB of memory",
		goal: "one folder job, nothing sent again; the records follow and other files go on meanwhile",
		text: fmt.Sprintf("a directory of %s and of %s records renamed beside a daemon, a new file elsewhere every 100 ms", count(sizes[0]), count(sizes[1])),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			return func(ctx context.Context) (results []result, err error) {
				for i, files := range sizes {
					r, err := b.rename(ctx, filepath.Join(dir, fmt.Sprint(i)), files)
					if err != nil {
						return nil, err
					}
					results = append(results, r)
				}
				return results, nil
			}, nil
		},
	}
}

// rename makes a tree, has it in the library and in step, and renames its directory.
func (b *bench) rename(ctx context.Context, dir string, files int) (result, error) {
	defer os.RemoveAll(dir)
	s, err := startServer(emulator.Options{Behaviour: emulator.Behaviour{FolderLimit: 10 * files}}, 0)
	if err != nil {
		return result{}, err
	}
	defer s.close()
	t := photos(filepath.Join(dir, "tree"), files, 1000)
	t.top = "before/"
	if err := t.write(ctx); err != nil {
		return result{}, err
	}
	for n := range fanOut {
		if err := os.MkdirAll(t.path(fmt.Sprintf("others/%02d", n)), 0o755); err != nil {
			return result{}, err
		}
	}
	record := func(root int64, n int) (*state.File, error) {
		st, err := t.stat(n)
		if err != nil {
			return nil, err
		}
		return s.put(t.record(root, n, st, ""))
	}
	if err := t.records(ctx, filepath.Join(dir, "iksync.db"), record); err != nil {
		return result{}, err
	}
	d, err := b.daemon(ctx, dir, t.at, s)
	if err != nil {
		return result{}, err
	}
	defer d.stop()
	if _, err := d.await(ctx, d.scanned); err != nil {
		return result{}, err
	}
	return b.renamed(ctx, s, d, t)
}

func (b *bench) renamed(ctx context.Context, s *server, d *daemon, t *tree) (result, error) {
	stats := s.Stats()
	sent := stats.Uploads
	p := &probes{s: s, dir: func(i int) string { return t.path(fmt.Sprintf("others/%02d", i%fanOut)) }, every: 100 * time.Millisecond}
	done := make(chan struct{})
	probed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { probed <- p.run(ctx, done) }()
	began := time.Now()
	err := os.Rename(t.path("before"), t.path("after"))
	if err == nil {
		err = followed(ctx, d)
	}
	took := time.Since(began)
	if err != nil {
		cancel()
	}
	close(done)
	if e := <-probed; err == nil {
		err = e
	}
	if err != nil {
		return result{}, d.trouble(err)
	}
	spent, err := d.stop()
	if err != nil {
		return result{}, err
	}
	r := result{name: count(t.files) + " records"}
	r.add("ns/op", float64(took))
	after := s.Stats()
	r.add("folder-jobs", float64(after.Requests["renameFolder"]+after.Requests["moveFolder"]-stats.Requests["renameFolder"]-stats.Requests["moveFolder"]))
	r.add("sent-again", float64(after.Uploads-sent-int64(len(p.made))))
	r.add("library-busy-ns", float64(s.moving.Load()))
	p.figures(&r, "others-")
	r.add("peak-B", float64(spent.rss))
	return r, s.close()
}

// followed waits until no record is where the directory was.
func followed(ctx context.Context, d *daemon) error {
	db, err := state.OpenReadOnly(ctx, d.state)
	if err != nil {
		return err
	}
	defer db.Close()
	roots, err := db.Roots(ctx)
	if err != nil {
		return err
	}
	for {
		var some *state.File
		for some, err = range db.FilesBelow(ctx, roots[0].ID, "before") {
			break
		}
		if err != nil || some == nil {
			return err
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("it ended by itself: %w", err)
		default:
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// put uploads a file of a record into the emulator, without the network, and gives
// the record what it answers.
func (s *server) put(f *state.File) (*state.File, error) {
	const boundary = "putputputputputput"
	var body bytes.Buffer
	for _, field := range [][2]string{{"fileName", f.Name}, {"folder", path.Dir(f.RemotePath)}, {"useUniqueFileName", "false"}} {
		fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, field[0], field[1])
	}
	fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=%q\r\nContent-Type: image/jpeg\r\n\r\n", boundary, f.Name)
	body.Write(make([]byte, f.Stat.Size))
	fmt.Fprintf(&body, "\r\n--%s--\r\n", boundary)
	req, err := http.NewRequest(http.MethodPost, s.base+"/api/v1/files/upload", &body)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("bench", "")
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	to := &memoryWriter{header: make(http.Header), status: http.StatusOK}
	s.Server.ServeHTTP(to, req)
	var answer struct {
		FileID, Name, FilePath, URL, ThumbnailURL, FileType string
		Width, Height                                       int64
		VersionInfo                                         struct{ ID string }
	}
	if err := json.Unmarshal(to.Bytes(), &answer); err != nil || to.status != http.StatusOK {
		return nil, fmt.Errorf("put %s into the emulator: status %d, %.200q", f.RemotePath, to.status, to.Bytes())
	}
	f.FileID, f.VersionID, f.Name, f.RemotePath, f.URL, f.ThumbnailURL = answer.FileID, answer.VersionInfo.ID, answer.Name, answer.FilePath, answer.URL, answer.ThumbnailURL
	f.Width, f.Height, f.FileType, f.Response = answer.Width, answer.Height, answer.FileType, to.Bytes()
	return f, nil
}

// memoryWriter keeps an answer.
type memoryWriter struct {
	bytes.Buffer
	header http.Header
	status int
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) { w.status = status }
