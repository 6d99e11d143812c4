//go:build failpoints

// Package failpoint lets the process die, or a step fail, where a test wants it.
package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// variable names what happens where.
const variable = "IKSYNC_FAILPOINTS"

// Error is an error that was asked for.
type Error struct{ Name string }

// Error names the failpoint.
func (e *Error) Error() string { return "failpoint " + e.Name }

// point is what happens at a failpoint.
type point struct {
	action string
	at     int // the hit
	hits   int
}

// plan is what is asked for, by name.
type plan struct {
	mu     sync.Mutex
	points map[string]*point
}

var asked = sync.OnceValue(func() *plan {
	p, err := parse(os.Getenv(variable))
	if err != nil {
		panic(variable + ": " + err.Error())
	}
	return p
})

func parse(text string) (*plan, error) {
	p := &plan{points: make(map[string]*point)}
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, what, _ := strings.Cut(part, "=")
		action, hit, counted := strings.Cut(what, "@")
		at := 1
		if counted {
			var err error
			if at, err = strconv.Atoi(hit); err != nil || at < 1 {
				return nil, fmt.Errorf("%q: want a number above 0 after @", part)
			}
		}
		switch {
		case name != "all" && !slices.Contains(Names, name):
			return nil, fmt.Errorf("there is no failpoint %q", name)
		case !slices.Contains([]string{"kill", "error", "trace"}, action):
			return nil, fmt.Errorf("%q: want kill, error or trace", part)
		case p.points[name] != nil:
			return nil, fmt.Errorf("%s is given twice", name)
		}
		p.points[name] = &point{action: action, at: at}
	}
	return p, nil
}

// Hit does what is wanted of a failpoint.
func Hit(name string) error { return asked().hit(name) }

func (p *plan) hit(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all := p.points["all"]; all != nil {
		fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", name, all.action)
	}
	at := p.points[name]
	if at == nil {
		return nil
	}
	at.hits++
	if at.action != "trace" && at.hits != at.at {
		return nil
	}
	fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", name, at.action)
	switch at.action {
	case "kill":
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {} // until it is dead
	case "error":
		return &Error{Name: name}
	}
	return nil
}
