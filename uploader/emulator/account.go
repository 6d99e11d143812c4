package emulator

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// newPurge notes a purge, if there are any left. The caller has s.mu.
func (s *Server) newPurge() (id string, accepted bool) {
	if len(s.purges) >= s.behaviour.PurgeLimit {
		return "", false
	}
	id = newID(s.now())
	s.purges[id] = true
	return id, true
}

const badPurge = "The URL is not valid for cache purging."

// purge answers POST /v1/files/purge. There is no cache to purge.
func (s *Server) purge(c *call) answer {
	var p struct {
		URL string `json:"url"`
	}
	if !c.decode(&p) || !s.purgeable(p.URL, c.Host) {
		return badRequest(badPurge)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, accepted := s.newPurge()
	if !accepted {
		return refuse(http.StatusTooManyRequests, "The monthly quota of purge requests is used up.")
	}
	return answer{status: http.StatusCreated, body: map[string]string{"requestId": id}}
}

// purgeable says whether a URL can be purged: it is one of the endpoint, and a
// "*" stands only at its end, behind two path levels, 15 characters or a file
// name (documentation of the purge API).
func (s *Server) purgeable(address, host string) bool {
	rest, found := strings.CutPrefix(address, s.endpoint(host)+"/")
	if _, err := url.Parse(address); err != nil || !found || rest == "" {
		return false
	}
	path, wild := strings.CutSuffix(rest, "*")
	if strings.Contains(path, "*") {
		return false
	}
	levels := strings.Count(strings.Trim(path, "/"), "/") + 1
	return !wild || levels >= 2 || len(path) >= 15 || strings.Contains(path, ".")
}

// purgeStatus answers GET /v1/files/purge/{requestId}.
func (s *Server) purgeStatus(c *call) answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.purges[c.PathValue("requestId")] {
		return badRequest("No request found for this requestId.")
	}
	return ok(map[string]string{"status": "Completed"})
}

// usage answers GET /v1/accounts/usage. Only the storage is more than zero: all
// versions of all files, at this moment.
func (s *Server) usage(c *call) answer {
	q := c.URL.Query()
	from, to := q.Get("startDate"), q.Get("endDate")
	if from == "" || to == "" {
		return badRequest("startDate and endDate are required in query parameters.")
	}
	start, err := time.Parse(time.DateOnly, from)
	end, err2 := time.Parse(time.DateOnly, to)
	switch {
	case err != nil || err2 != nil:
		return badRequest("startDate and endDate should be in format YYYY-MM-DD.")
	case !start.Before(end):
		return badRequest("startDate should be before endDate.")
	case end.Sub(start) >= 90*24*time.Hour:
		return badRequest("startDate and endDate should be within 90 days.")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return ok(struct {
		Bandwidth  int64 `json:"bandwidthBytes"`
		Storage    int64 `json:"mediaLibraryStorageBytes"`
		VideoUnits int64 `json:"videoProcessingUnitsCount"`
		Extensions int64 `json:"extensionUnitsCount"`
		Cache      int64 `json:"originalCacheStorageBytes"`
	}{Storage: s.lib.bytes})
}
