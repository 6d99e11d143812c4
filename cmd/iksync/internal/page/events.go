package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"iksync/cmd/iksync/internal/control"
)

const (
	// tellEvery is how often a page is told how all stands.
	tellEvery = time.Second
	// The throughput is told in up to so many bins, each of a span between these: the last
	// hour, or what has been of it.
	bins     = 120
	fewest   = 24
	leastBin = 5 * time.Second
	mostBin  = 30 * time.Second
)

// hello begins a stream.
type hello struct {
	May bool `json:"may"` // the token was shown
}

// shown is a status as the page gets it.
type shown struct {
	*control.Status
	Recent []upload `json:"recent"`
}

type upload struct {
	control.Upload
	Thumbnail string `json:"thumbnail,omitempty"`
}

// bin is what was uploaded in a span of time.
type bin struct {
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
	Failed int64 `json:"failed"`
}

// events streams how all stands until the page is closed.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d pages are open already", maxStreams))
		return
	}
	defer s.streams.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	to := &stream{w: w, c: http.NewResponseController(w)}
	if to.c.SetReadDeadline(time.Time{}) != nil { // the one of the request would end the stream
		return
	}
	may := s.may(r)
	if to.send("hello", hello{May: may}) != nil {
		return
	}
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	var last time.Time
	for {
		st, err := s.o.Actions.Status(r.Context())
		if r.Context().Err() != nil {
			return
		}
		if err != nil {
			err = to.send("trouble", err.Error())
		} else {
			err = to.send("status", s.show(st, may))
		}
		if points := s.o.Points(); err == nil && (last.IsZero() || len(points) > 0 && points[len(points)-1].At.After(last)) {
			last = time.Now()
			if len(points) > 0 {
				last = points[len(points)-1].At
			}
			err = to.send("throughput", binned(points, time.Now()))
		}
		if err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// show adds the pictures of recent uploads, for those who may see them.
func (s *Server) show(st *control.Status, may bool) shown {
	recent := make([]upload, 0, len(st.Recent))
	for _, u := range st.Recent {
		up := upload{Upload: u}
		if may && !u.Private && u.FileType == "image" {
			up.Thumbnail = "/thumbnail/" + u.FileID + "?s=" + s.sign(u.FileID)
		}
		recent = append(recent, up)
	}
	return shown{st, recent}
}

// throughput is the bins of a span each, the oldest first.
type throughput struct {
	Seconds float64 `json:"seconds"` // the span of a bin
	Bins    []bin   `json:"bins"`
}

// binned adds points up in bins that end now.
func binned(points []control.Point, now time.Time) throughput {
	span, n := leastBin, fewest
	if len(points) > 0 {
		age := now.Sub(points[0].At)
		span = min(max(span, age/(bins-1)), mostBin)
		n = min(max(n, int(age/span)+1), bins)
	}
	t := throughput{Seconds: span.Seconds(), Bins: make([]bin, n)}
	for _, p := range points {
		i := n - 1 - int(now.Sub(p.At)/span)
		if i < 0 || i >= n {
			continue
		}
		t.Bins[i].Files += p.Files
		t.Bins[i].Bytes += p.Bytes
		t.Bins[i].Failed += p.Failed
	}
	return t
}

// stream is one of server-sent events.
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (s *stream) send(event string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if err := s.c.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", event, b); err != nil {
		return err
	}
	return s.c.Flush()
}
