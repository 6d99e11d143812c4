package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// Survey lists the library below the folder of a root, folder by folder, and can
// be broken off and gone on with: what is left is in the state file.
type Survey struct {
	Client *imagekit.Client
	Queue  *queue.Queue
	RootID int64
	Folder string
	// Skip is a folder that is left out, as the trash is.
	Skip string
	// Calls counts the calls of the API.
	Calls int64
}

// maxAsked bounds how often one call is repeated.
const maxAsked = 6

// ask repeats a call that failed for a while.
func (s *Survey) ask(ctx context.Context, call func() error) error {
	for n := 0; ; n++ {
		s.Calls++
		err := call()
		var api *imagekit.Error
		if err == nil || ctx.Err() != nil || n >= maxAsked || !errors.As(err, &api) {
			return err
		}
		switch api.Class {
		case imagekit.Transient, imagekit.Throttled, imagekit.Offline:
			pause(ctx, askAgain(api, n))
		default:
			return err
		}
	}
}

// Run lists every folder and hands each page of files to visit.
func (s *Survey) Run(ctx context.Context, visit func([]queue.Found) error) error {
	for ctx.Err() == nil {
		folder, err := s.Queue.NextFolder(ctx, s.RootID, s.Folder)
		if err != nil || folder == "" {
			return err
		}
		inside, err := s.List(ctx, folder, visit)
		if err != nil {
			return err
		}
		if err := s.Queue.Listed(ctx, s.RootID, folder, inside); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// List lists one folder, page by page, and returns the folders in it.
func (s *Survey) List(ctx context.Context, folder string, visit func([]queue.Found) error) (inside []string, err error) {
	list := func(ctx context.Context, folder string, skip, limit int) (page []imagekit.Entry, err error) {
		err = s.ask(ctx, func() (err error) {
			page, err = s.Client.List(ctx, folder, skip, limit)
			return err
		})
		return page, err
	}
	err = eachPage(ctx, folder, list, func(page []imagekit.Entry) error {
		found := make([]queue.Found, 0, len(page))
		for _, e := range page {
			if !e.Folder {
				found = append(found, *foundOf(e.Asset))
			} else if e.Path != s.Skip && strings.Count(e.Path, "/") < maxDepth {
				inside = append(inside, e.Path)
			}
		}
		return visit(found)
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	return inside, nil
}

func foundOf(a *imagekit.Asset) *queue.Found {
	return &queue.Found{Location: *location(a), Size: a.Size, Width: a.Width, Height: a.Height, FileType: a.FileType, Private: a.Private}
}

// Details asks for the asset of a record by its id; nil when it is not in the library.
func (s *Survey) Details(ctx context.Context, fileID string) (found *queue.Found, err error) {
	err = s.ask(ctx, func() error {
		asset, err := s.Client.Details(ctx, fileID)
		if asset != nil {
			found = foundOf(asset)
		}
		return err
	})
	return found, err
}

// Again lists once more the folders that files of the root would be sent to: what
// is new in the library may be missing from one listing. It looks at n at most.
func (s *Survey) Again(ctx context.Context, n int, visit func([]queue.Found) error) error {
	folders, err := s.Queue.FoldersToSend(ctx, s.RootID, n, path.Dir)
	if err != nil || len(folders) == 0 {
		return err
	}
	pause(ctx, 2*time.Second)
	for _, folder := range folders {
		if _, err := s.List(ctx, folder, visit); err != nil {
			return err
		}
	}
	return nil
}

// ContentOf downloads a file of the library and returns its hash. The original
// is asked for: what ImageKit delivers otherwise is optimised. A private file is asked
// for with a signed URL, and so is any where the account serves no other.
func (s *Survey) ContentOf(ctx context.Context, f *queue.Found) (state.Hash, error) {
	original, err := originalURL(f.URL)
	if err != nil {
		return state.Hash{}, err
	}
	var sum state.Hash
	get := func(signed bool) error {
		return s.ask(ctx, func() error {
			body, err := s.open(ctx, original, f.RemotePath, signed)
			if err != nil {
				return err
			}
			defer body.Close()
			h := newHashing(body)
			n, err := io.Copy(io.Discard, &untilDone{ctx: ctx, r: io.LimitReader(h, f.Size+1)})
			if err != nil {
				return err
			}
			if n != f.Size {
				return fmt.Errorf("%w: %s has %d bytes, and is listed with %d", errWrongAnswer, f.RemotePath, n, f.Size)
			}
			sum = h.sum()
			return nil
		})
	}
	err = get(f.Private)
	var api *imagekit.Error
	if !f.Private && errors.As(err, &api) && api.Status == http.StatusUnauthorized {
		err = get(true)
	}
	return sum, err
}

func (s *Survey) open(ctx context.Context, url, remotePath string, signed bool) (io.ReadCloser, error) {
	if signed {
		return s.Client.DownloadSigned(ctx, url, remotePath)
	}
	return s.Client.Download(ctx, url)
}

func originalURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("the URL of a file can't be read: %w", err)
	}
	q := u.Query()
	q.Set("tr", "orig-true")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// LocalContent hashes a file of a root. seenAt is since when the file is as it is, by
// [state.Uptime], as far as somebody has watched it; else 0. The stat that is returned
// belongs to exactly the content that was read, and no later write can leave it: the file
// stands still for as long as its time stamps are coarse, and is looked at before and
// after. A file that changes meanwhile is an error.
func (r *Root) LocalContent(ctx context.Context, mounts *state.Mounts, local string, seenAt time.Duration) (state.Stat, state.Hash, error) {
	file, st, err := open(r, &queue.Job{Path: local})
	if err != nil {
		return state.Stat{}, state.Hash{}, err
	}
	defer file.Close()
	trust, err := mounts.Of(int(file.Fd()))
	if err != nil {
		return state.Stat{}, state.Hash{}, err
	}
	st.Mount = trust.Mount
	if seenAt <= 0 || seenAt > state.Uptime() {
		seenAt = st.SeenSince(time.Now())
	}
	pause(ctx, seenAt+st.Grain()-state.Uptime())
	sum, err := contentOf(ctx, file, st)
	if errors.Is(err, errChanged) {
		err = errors.New("the file changed while it was read")
	}
	return st, sum, err
}
