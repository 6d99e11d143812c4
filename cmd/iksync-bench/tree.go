package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"iksync/state"
)

// sparse is the size of the files of generated trees. They are holes.
const sparse = 2 << 10

// tree is a generated one: numbered files in numbered directories, two levels deep.
type tree struct {
	at    string
	top   string // directory below at that holds it, with "/" at its end; "" is at itself
	files int
	each  int // files of a directory
}

// photos is the tree of that many files, some to each directory.
func photos(at string, files, each int) *tree { return &tree{at: at, files: files, each: each} }

func (t *tree) dirs() int { return (t.files + t.each - 1) / t.each }

const fanOut = 100 // directories in one of the first level

// dir is the path of a directory below the root. Numbers have their zeros, so that
// their order is that of the paths.
func (t *tree) dir(n int) string { return fmt.Sprintf("%s%04d/%02d", t.top, n/fanOut, n%fanOut) }

// file is the path of a file below the root.
func (t *tree) file(n int) string { return fmt.Sprintf("%s/photo%08d.jpg", t.dir(n/t.each), n) }

func (t *tree) path(below string) string { return filepath.Join(t.at, below) }

// write makes the tree, each file with an inode of its own.
func (t *tree) write(ctx context.Context) error {
	return t.eachFile(ctx, func(name string, _ int) error {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		return errors.Join(f.Truncate(sparse), f.Close())
	})
}

// linksEach is how many names an inode gets; ext4 takes 65,000.
const linksEach = 50_000

// link makes the tree of hard links to few inodes, which are in a directory beside it:
// ten million inodes are not to be had everywhere.
func (t *tree) link(ctx context.Context) error {
	inodes := t.at + "-inodes"
	if err := os.MkdirAll(inodes, 0o755); err != nil {
		return err
	}
	for i := range t.inodes() {
		if err := errors.Join(os.WriteFile(t.inode(i), nil, 0o644), os.Truncate(t.inode(i), sparse)); err != nil {
			return err
		}
	}
	return t.eachFile(ctx, func(name string, n int) error { return os.Link(t.inode(n/linksEach), name) })
}

func (t *tree) inodes() int { return (t.files + linksEach - 1) / linksEach }

func (t *tree) inode(i int) string { return filepath.Join(t.at+"-inodes", fmt.Sprintf("%04d", i)) }

// eachFile makes the directories and has each file made.
func (t *tree) eachFile(ctx context.Context, file func(name string, n int) error) error {
	for d := range t.dirs() {
		if err := errors.Join(ctx.Err(), os.MkdirAll(t.path(t.dir(d)), 0o755)); err != nil {
			return err
		}
		for n := d * t.each; n < min(t.files, (d+1)*t.each); n++ {
			if err := file(t.path(t.file(n)), n); err != nil {
				return err
			}
		}
	}
	return nil
}

// stat is of the file as it is now.
func (t *tree) stat(n int) (state.Stat, error) {
	info, err := os.Lstat(t.path(t.file(n)))
	if err != nil {
		return state.Stat{}, err
	}
	return state.StatOf(info), nil
}

// linked gives the stats of a tree of hard links without looking at each.
func (t *tree) linked() (func(n int) (state.Stat, error), error) {
	stats := make([]state.Stat, t.inodes())
	for i := range stats {
		info, err := os.Lstat(t.inode(i))
		if err != nil {
			return nil, err
		}
		stats[i] = state.StatOf(info)
	}
	return func(n int) (state.Stat, error) { return stats[n/linksEach], nil }, nil
}

// record is what iksync has of a file after ImageKit took it. Ids grow, as ImageKit's
// do, whose first part is a time.
func (t *tree) record(root int64, n int, st state.Stat, base string) *state.File {
	path := t.file(n)
	name := filepath.Base(path)
	width, height := int64(4000), int64(3000)
	if n%3 == 0 {
		width, height = height, width
	}
	uploaded := time.UnixMilli(1_750_000_000_000 + int64(n))
	f := &state.File{
		RootID: root, Path: path, Stat: st, Hash: hash(n),
		FileID: t.fileID(n), VersionID: t.versionID(n), Name: name, RemotePath: "/" + path, URL: base + "/demo/" + path,
		ThumbnailURL: base + "/demo/tr:n-ik_ml_thumbnail/" + path, Width: width, Height: height, FileType: "image",
		UploadedAt: uploaded, CheckedAt: uploaded,
	}
	f.Response = fmt.Appendf(nil, `{"fileId":%q,"name":%q,"size":%d,"versionInfo":{"id":%q,"name":"Version 1"},"filePath":%q,"url":%q,"fileType":"image","height":%d,"width":%d,"thumbnailUrl":%q,"AITags":null}`,
		f.FileID, f.Name, st.Size, f.VersionID, f.RemotePath, f.URL, height, width, f.ThumbnailURL)
	return f
}

func hash(n int) (h state.Hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n+1)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(h[8:], uint64(n+1)*0xbf58476d1ce4e5b9)
	return h
}

func (t *tree) fileID(n int) string { return fmt.Sprintf("%024x", 0x6745<<32+int64(n)*2) }

func (t *tree) versionID(n int) string { return fmt.Sprintf("%024x", 0x6745<<32+int64(n)*2+1) }

// batch is how many records are written in one transaction.
const batch = 10_000

// records writes a state file in which the tree is in step.
func (t *tree) records(ctx context.Context, file string, record func(root int64, n int) (*state.File, error)) (err error) {
	db, err := state.Open(ctx, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	root, err := db.EnsureRoot(ctx, t.at, "/")
	if err != nil {
		return err
	}
	for from := 0; from < t.files; from += batch {
		err := db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
			for n := from; n < min(t.files, from+batch); n++ {
				f, err := record(root.ID, n)
				if err != nil {
					return err
				}
				if err := tx.PutFile(f); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recordsOf is what t.records takes for a tree that was uploaded to nowhere.
func (t *tree) recordsOf(stat func(n int) (state.Stat, error)) func(root int64, n int) (*state.File, error) {
	return func(root int64, n int) (*state.File, error) {
		st, err := stat(n)
		if err != nil {
			return nil, err
		}
		return t.record(root, n, st, "https://ik.imagekit.io"), nil
	}
}
