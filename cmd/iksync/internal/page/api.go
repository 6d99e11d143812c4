package page

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
)

const (
	// failuresPage and hitsPage are how many are shown at once.
	failuresPage = 10
	hitsPage     = 50
)

// place names a path to the script; its key is the path's bytes, which need not be text.
type place struct {
	Root int64  `json:"root"`
	Key  []byte `json:"key"`
}

func (p place) place() queue.Place { return queue.Place{RootID: p.Root, Path: string(p.Key)} }

// named is a place with what people read of it.
type named struct {
	place
	Path string `json:"path"`
}

func (s *Server) named(at queue.Place) named {
	return named{place{at.RootID, []byte(at.Path)}, s.o.Display(at.Path)}
}

// failuresWanted selects a page of what fails; the class "" is all, and Root is then 0.
type failuresWanted struct {
	Root  int64  `json:"root"`
	Class string `json:"class"`
	After *after `json:"after"`
}

// after is a place in the list.
type after struct {
	Root  int64  `json:"root"`
	Class string `json:"class"`
	State int    `json:"state"`
	Key   []byte `json:"key"`
}

type failuresShown struct {
	Items []failing `json:"items"`
	Next  *after    `json:"next"` // nil at the end
}

type failing struct {
	named
	Class     string    `json:"class"`
	Reason    string    `json:"reason"`
	RequestID string    `json:"request_id,omitempty"`
	Attempts  int       `json:"attempts"`
	Size      int64     `json:"size"`
	Next      time.Time `json:"next,omitzero"` // when it is tried again by itself; zero when it is given up
	Now       bool      `json:"now,omitempty"` // a worker has it
}

func (s *Server) failures(ctx context.Context, w failuresWanted) (*failuresShown, error) {
	var from queue.Cursor
	switch {
	case w.After != nil:
		from = queue.Cursor{RootID: w.After.Root, Class: w.After.Class, State: queue.State(w.After.State), Path: string(w.After.Key)}
	case w.Class != "":
		from = queue.Cursor{RootID: w.Root, Class: w.Class}
	}
	items, err := s.o.Failures(ctx, from, failuresPage+1)
	if err != nil {
		return nil, err
	}
	shown := &failuresShown{Items: []failing{}}
	for i := range items {
		it := &items[i]
		if w.Class != "" && (it.RootID != w.Root || it.Class != w.Class) {
			break
		}
		if len(shown.Items) == failuresPage {
			last := items[i-1].After()
			shown.Next = &after{Root: last.RootID, Class: last.Class, State: int(last.State), Key: []byte(last.Path)}
			break
		}
		f := failing{named: s.named(queue.Place{RootID: it.RootID, Path: it.Path}), Class: it.Class, Reason: it.Reason, RequestID: it.RequestID, Attempts: it.Attempts, Size: it.Size}
		switch it.State {
		case queue.Failed:
		case queue.Leased:
			f.Now = true
		default:
			f.Next = it.NotBefore
		}
		shown.Items = append(shown.Items, f)
	}
	return shown, nil
}

type hits struct {
	Items []hit `json:"items"`
	More  bool  `json:"more"`
}

type hit struct {
	named
	FileID string `json:"file_id,omitempty"`
}

func (s *Server) search(ctx context.Context, text string) (*hits, error) {
	found, more, err := s.o.Search(ctx, text, hitsPage)
	if err != nil {
		return nil, err
	}
	h := &hits{Items: []hit{}, More: more}
	for _, f := range found {
		h.Items = append(h.Items, hit{s.named(f.Place), f.FileID})
	}
	return h, nil
}

// retryWanted are files that fail: one, those of a class of a root, or all.
type retryWanted struct {
	At    *place `json:"at"`
	Root  int64  `json:"root"`
	Class string `json:"class"`
}

func (s *Server) retry(ctx context.Context, w retryWanted) (int64, error) {
	var sel queue.Selection
	if w.At != nil {
		sel.Roots, sel.Path = []int64{w.At.Root}, string(w.At.Key)
	}
	if w.Class != "" {
		sel.Roots, sel.Classes = []int64{w.Root}, []string{w.Class}
	}
	return s.o.Actions.Retry(ctx, sel)
}

// pauseWanted is a root (0 is all) and for how long; 0 minutes is until resume.
type pauseWanted struct {
	Root    int64 `json:"root"`
	Minutes int   `json:"minutes"`
}

func (s *Server) pause(ctx context.Context, w pauseWanted) (bool, error) {
	var until time.Time
	if w.Minutes > 0 {
		until = time.Now().Add(time.Duration(w.Minutes) * time.Minute)
	}
	roots, err := s.rootIDs(ctx, w.Root)
	if err != nil {
		return false, err
	}
	return true, s.o.Actions.Pause(ctx, roots, until)
}

func (s *Server) rootIDs(ctx context.Context, root int64) ([]int64, error) {
	if root != 0 {
		return []int64{root}, nil
	}
	st, err := s.o.Actions.Status(ctx)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for i := range st.Roots {
		if id := st.Roots[i].ID; id != 0 { // 0 is one that is not there
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// api serves what the script asks for.
func (s *Server) api(mux *http.ServeMux) {
	a := s.o.Actions
	mux.HandleFunc("POST /api/failures", s.looking(answer(s.failures)))
	mux.HandleFunc("POST /api/search", s.looking(answer(s.search)))
	mux.HandleFunc("POST /api/story", s.looking(answer(func(ctx context.Context, at place) (*control.Story, error) { return a.Story(ctx, at.place()) })))
	mux.HandleFunc("POST /api/retry", s.acting(answer(s.retry)))
	mux.HandleFunc("POST /api/ignore", s.acting(answer(func(ctx context.Context, at place) (int64, error) { return a.Ignore(ctx, at.place(), false) })))
	mux.HandleFunc("POST /api/pause", s.acting(answer(s.pause)))
	mux.HandleFunc("POST /api/resume", s.acting(answer(func(ctx context.Context, root int64) (bool, error) {
		roots, err := s.rootIDs(ctx, root)
		if err != nil {
			return false, err
		}
		return true, a.Resume(ctx, roots)
	})))
	mux.HandleFunc("POST /api/rescan", s.acting(answer(func(ctx context.Context, at place) (bool, error) { return true, a.Rescan(ctx, at.place()) })))
}

// answer does one thing: its argument and its result are JSON.
func answer[A, R any](do func(context.Context, A) (R, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var arg A
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&arg); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		result, err := do(r.Context(), arg)
		if err != nil {
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result) // who asked may have gone
	}
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": why})
}
