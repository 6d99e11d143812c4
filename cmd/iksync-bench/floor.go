package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// floorMain is the floor as a process of its own.
func floorMain(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	url := flags.String("url", "", "upload endpoint")
	workers := flags.Int("workers", 16, "uploads at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return floor(ctx, flags.Arg(0), *url, *workers)
}

// floor uploads every file below dir once and keeps nothing: what a program of
// an afternoon does, with the body streamed.
func floor(ctx context.Context, dir, url string, workers int) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: workers, MaxIdleConnsPerHost: workers}}
	paths := make(chan string, 2*workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(paths)
		return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			select {
			case paths <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range workers {
		group.Go(func() error {
			for p := range paths {
				if err := floorUpload(ctx, client, url, dir, p); err != nil {
					return fmt.Errorf("upload %s: %w", p, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func floorUpload(ctx context.Context, client *http.Client, url, dir, p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(dir, p)
	if err != nil {
		return err
	}
	const boundary = "floorfloorfloorfloorfloorfloor"
	var head bytes.Buffer
	for _, field := range [][2]string{{"fileName", filepath.Base(p)}, {"folder", "/" + path.Dir(filepath.ToSlash(rel))}, {"useUniqueFileName", "false"}} {
		fmt.Fprintf(&head, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, field[0], field[1])
	}
	fmt.Fprintf(&head, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=%q\r\nContent-Type: application/octet-stream\r\n\r\n", boundary, filepath.Base(p))
	tail := "\r\n--" + boundary + "--\r\n"
	length := int64(head.Len()) + info.Size() + int64(len(tail))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.MultiReader(&head, f, bytes.NewReader([]byte(tail))))
	if err != nil {
		return err
	}
	req.ContentLength = length
	req.SetBasicAuth("bench", "")
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", res.Status)
	}
	return nil
}
