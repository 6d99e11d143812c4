package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Faults is a plan of what goes wrong. The zero value is no fault at all. As
// JSON it can be posted to /_emulator/faults:
//
//	{"seed": 1, "rules": [{"endpoint": "upload", "count": 3, "action": "status",
//	  "status": 429, "headers": {"X-RateLimit-Reset": "250"}}]}
type Faults struct {
	// Seed makes the Probability of rules repeatable; zero is a seed as well.
	Seed int64 `json:"seed,omitempty"`
	// Rules are tried in order. Every rule that fits adds its latency; the
	// first with an action decides what happens.
	Rules []Fault `json:"rules"`
}

// Fault is one rule: which requests it fits, and what happens to them.
type Fault struct {
	// Endpoint is an endpoint's name, such as "upload", "uploadV2", "list" or
	// "details" (Stats.Requests has those seen so far). Empty is every endpoint
	// of the API; asset URLs fit only by the name "file".
	Endpoint string `json:"endpoint,omitempty"`
	// Path is a part of the file's path and name as they were sent: for uploads
	// folder and file name, else anything in the request's path, query or body,
	// or the path of the file whose fileId is in the URL. Empty is any.
	Path string `json:"path,omitempty"`
	// Skip lets that many fitting requests pass, Count then bounds how many
	// meet the fault; zero is no bound.
	Skip  int `json:"skip,omitempty"`
	Count int `json:"count,omitempty"`
	// Probability is the share of fitting requests that meet the fault, up to
	// 1. Zero is all of them.
	Probability float64 `json:"probability,omitempty"`

	// Latency is waited before anything else.
	Latency Duration `json:"latency,omitempty"`
	// Action is what happens; empty is nothing but the latency.
	Action Action `json:"action,omitempty"`

	// Status, Message, Help and Headers are the answer of ActionStatus. HTML
	// makes its body a page, as proxies send it, instead of ImageKit's JSON.
	Status  int               `json:"status,omitempty"`
	Message string            `json:"message,omitempty"`
	Help    string            `json:"help,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	HTML    bool              `json:"html,omitempty"`

	// Bytes is, for ActionCut, how much of the request's body is read (bytes,
	// the form's own included); for ActionEndless the size of the answer; for
	// ActionSlow the size of its pieces (zero: one byte).
	Bytes int64 `json:"bytes,omitempty"`
	// Every is the pause between the pieces of ActionSlow.
	Every Duration `json:"every,omitempty"`
	// URL is the target of ActionRedirect, whose status is 307 unless Status
	// says otherwise.
	URL string `json:"url,omitempty"`
}

// Action is the kind of a fault.
type Action string

// The actions. Those marked "done" happen to the answer of a request that took
// effect; the others keep it from taking effect.
const (
	ActionStatus    Action = "status"    // another status and body
	ActionCut       Action = "cut"       // connection closed within the request's body
	ActionLose      Action = "lose"      // done; connection closed without an answer
	ActionHTML      Action = "html"      // 200 with a page instead of JSON
	ActionTruncated Action = "truncated" // done; half of the JSON, with a fitting Content-Length
	ActionTrailing  Action = "trailing"  // done; something after the JSON
	ActionLength    Action = "length"    // done; Content-Length above what is sent
	ActionWrongPath Action = "wrongPath" // done; another file's name, filePath and url
	ActionWrongSize Action = "wrongSize" // done; another size
	ActionEndless   Action = "endless"   // done; JSON of Bytes bytes
	ActionSlow      Action = "slow"      // done; the answer drips
	ActionRedirect  Action = "redirect"  // Location: URL
)

// Validate says what is wrong with a plan: an unknown action, or one that lacks
// what it needs.
func (f Faults) Validate() error {
	for i, r := range f.Rules {
		if err := r.validate(); err != nil {
			return fmt.Errorf("faults: rule %d: %w", i+1, err)
		}
	}
	return nil
}

// ReadFaults reads a plan as JSON and validates it. A key that no rule has is an
// error: a misspelt one would do nothing.
func ReadFaults(r io.Reader) (Faults, error) {
	var plan Faults
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	err := dec.Decode(&plan)
	if err == nil && dec.More() {
		err = errors.New("faults: something follows the plan")
	}
	if err == nil {
		err = plan.Validate()
	}
	return plan, err
}

func (f Fault) validate() error {
	if f.Skip < 0 || f.Count < 0 || f.Probability < 0 || f.Probability > 1 || f.Latency < 0 || f.Every < 0 || f.Bytes < 0 {
		return errors.New("skip, count, probability (at most 1), latency, every and bytes cannot be negative")
	}
	switch f.Action {
	case "", ActionCut, ActionLose, ActionHTML, ActionTruncated, ActionTrailing, ActionLength,
		ActionWrongPath, ActionWrongSize, ActionEndless, ActionSlow:
	case ActionStatus:
		if f.Status < 200 || f.Status > 599 {
			return fmt.Errorf("action status needs a status from 200 to 599, not %d", f.Status)
		}
	case ActionRedirect:
		if f.URL == "" || f.Status != 0 && (f.Status < 300 || f.Status > 399) {
			return errors.New("action redirect needs a url, and a status from 300 to 399 or none")
		}
	default:
		return fmt.Errorf("unknown action %q", f.Action)
	}
	return nil
}

// Duration is a time.Duration that is text such as "150ms" in JSON.
type Duration time.Duration

// MarshalText gives the duration as time.Duration.String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// SetFaults replaces the plan, with all its counts. It may be called while
// requests are served; those that met a fault keep it. Rules that Validate
// refuses do nothing but wait.
func (s *Server) SetFaults(f Faults) { s.faults.set(f) }

// faultPlan is the plan with how far it has gone.
type faultPlan struct {
	mu    sync.Mutex
	rules []activeRule
	rand  *rand.Rand
}

type activeRule struct {
	Fault
	seen, acted int
}

func (p *faultPlan) set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rand = rand.New(rand.NewPCG(uint64(f.Seed), 0))
	p.rules = make([]activeRule, len(f.Rules))
	for i, r := range f.Rules {
		if r.validate() != nil {
			r.Action = ""
		}
		p.rules[i] = activeRule{Fault: r}
	}
}

func (p *faultPlan) active() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rules) > 0
}

// Which rules are asked: an upload's path is known only within its body.
func anyRule(Fault) bool            { return true }
func rulesWithoutPath(f Fault) bool { return f.Path == "" }
func rulesWithPath(f Fault) bool    { return f.Path != "" }

// effect is what the rules that fit a request come to.
type effect struct {
	latency time.Duration
	fault   *Fault // nil: no action
	met     bool
}

// preempts says that the fault's answer stands in for the endpoint's own.
func (e effect) preempts() bool {
	if e.fault == nil {
		return false
	}
	switch e.fault.Action {
	case ActionStatus, ActionHTML, ActionRedirect, ActionCut:
		return true
	}
	return false
}

// pick finds the effect of the rules that ask lets through on one request.
func (p *faultPlan) pick(endpoint, subject string, ask func(Fault) bool) effect {
	p.mu.Lock()
	defer p.mu.Unlock()
	var e effect
	for i := range p.rules {
		r := &p.rules[i]
		if !ask(r.Fault) || !r.fits(endpoint, subject) || e.fault != nil && r.Action != "" {
			continue
		}
		if r.seen++; r.seen <= r.Skip || r.Count > 0 && r.acted >= r.Count {
			continue
		}
		if r.Probability > 0 && p.rand.Float64() >= r.Probability {
			continue
		}
		r.acted++
		e.met = true
		e.latency += time.Duration(r.Latency)
		if r.Action != "" {
			f := r.Fault
			e.fault = &f
		}
	}
	return e
}

func (f Fault) fits(endpoint, subject string) bool {
	if f.Endpoint != endpoint && (f.Endpoint != "" || endpoint == fileEndpoint) {
		return false
	}
	return f.Path == "" || strings.Contains(subject, f.Path)
}
