package emulator

import (
	"net/http"
	"time"
)

// job is a bulk job. Jobs are gone after a restart.
type job struct {
	kind        string
	source      string
	destination string
	purge       string // requestId of its purge
	unpurged    bool   // its purge was refused
	done        time.Time
}

// newJob notes a job whose effect is there already. The caller has s.mu.
func (s *Server) newJob(j job) string {
	now := s.now()
	j.done = now.Add(s.behaviour.JobDuration)
	id := newID(now)
	s.jobs[id] = j
	return id
}

// locked refuses a job on folders that another one is said to work on. The
// caller has s.mu.
func (s *Server) locked(source, destination string) *answer {
	now := s.now()
	for _, j := range s.jobs {
		if !now.Before(j.done) {
			continue
		}
		for _, busy := range []string{j.source, j.destination} {
			if overlap(source, busy) {
				return pointer(refuse(http.StatusLocked, "A bulk job is running on given folder path, please try after sometime."))
			}
			if overlap(destination, busy) {
				return pointer(refuse(http.StatusLocked, "Destination folder path is already locked. Please try after sometime."))
			}
		}
	}
	return nil
}

// overlap says whether one of two folders holds the other. The root holds
// everything, so only its equal counts.
func overlap(a, b string) bool {
	return a == b || a != "/" && inside(b, a) || b != "/" && inside(a, b)
}

// job answers GET /v1/bulkJobs/{jobId}.
func (s *Server) job(c *call) answer {
	id := c.PathValue("jobId")
	s.mu.RLock()
	j, found := s.jobs[id]
	s.mu.RUnlock()
	if !found {
		return refuse(http.StatusNotFound, "The requested job does not exist.")
	}
	body := struct {
		JobID          string `json:"jobId"`
		Type           string `json:"type"`
		Status         string `json:"status"`
		PurgeRequestID string `json:"purgeRequestId,omitempty"`
		Message        string `json:"message,omitempty"`
		Help           string `json:"help,omitempty"`
	}{JobID: id, Type: j.kind, Status: "Completed", PurgeRequestID: j.purge}
	switch {
	case s.now().Before(j.done):
		body.Status = "Pending"
	case j.unpurged:
		body.Status, body.Help = "Partial success", help
		body.Message = "Folder renamed successfully but purging cache on nested files failed."
		return answer{status: http.StatusMultiStatus, body: body}
	}
	return ok(body)
}
