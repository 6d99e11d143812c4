package config

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"iksync/cmd/iksync/internal/hooks"
)

// Heartbeat is what is asked for while all is well.
type Heartbeat struct {
	URL   string // "" is none; it may hold a secret
	Every time.Duration
}

// Hook is a receiver of events.
type Hook struct {
	hooks.Hook
	SecretFile string // "" when nothing is signed
}

type documentHook struct {
	Events     []string `yaml:"events"`
	Command    []string `yaml:"command"`
	URL        string   `yaml:"url"`
	SecretFile string   `yaml:"secret_file"`
	Timeout    string   `yaml:"timeout"`
}

func (c *checker) heartbeat(doc *document) Heartbeat {
	h := Heartbeat{URL: doc.HeartbeatURL, Every: c.duration("$.heartbeat_every", doc.HeartbeatEvery, time.Minute, time.Second)}
	if h.URL != "" {
		c.webURL("$.heartbeat_url", h.URL)
	}
	return h
}

// webURL checks a URL that may hold a secret, and so is not shown.
func (c *checker) webURL(at, text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		c.hidden(at, "it is no URL of the form https://host/path")
		return nil
	}
	return u
}

func (c *checker) hooks(doc *document) []Hook {
	var all []Hook
	names := make(map[string]int)
	for i := range doc.OnEvent {
		d, at := &doc.OnEvent[i], fmt.Sprintf("$.on_event[%d]", i)
		h := Hook{Hook: hooks.Hook{Kinds: d.Events, Command: d.Command, URL: d.URL, Timeout: c.duration(at+".timeout", d.Timeout, 30*time.Second, 100*time.Millisecond)}, SecretFile: d.SecretFile}
		for n, kind := range d.Events {
			c.oneOf(fmt.Sprintf("%s.events[%d]", at, n), kind, hooks.Kinds()...)
		}
		switch {
		case len(d.Command) > 0 && d.URL != "", len(d.Command) == 0 && d.URL == "":
			c.at(at, "a hook has either a command, as a list such as [/usr/local/bin/tell, --quiet], or a url")
		case d.URL != "":
			if u := c.webURL(at+".url", d.URL); u != nil {
				h.Name = u.Host
			}
		default:
			h.Name = filepath.Base(d.Command[0])
			if !filepath.IsAbs(d.Command[0]) {
				c.at(at+".command[0]", "write the program with its whole path")
			}
			if d.SecretFile != "" {
				c.at(at+".secret_file", "only what is posted to a url is signed")
			}
		}
		if names[h.Name]++; names[h.Name] > 1 {
			h.Name = fmt.Sprintf("%s #%d", h.Name, names[h.Name])
		}
		all = append(all, h)
	}
	return all
}

// Ready returns the hooks with their secrets; a warning when others can read those.
func Ready(configured []Hook) (all []hooks.Hook, warnings []string, err error) {
	for _, h := range configured {
		if h.SecretFile != "" {
			secret, warning, err := readSecret(h.SecretFile, "the hook's secret")
			if err == nil && len(secret) < shortestToken {
				err = fmt.Errorf("%s holds no secret: write at least %d letters and digits into it", h.SecretFile, shortestToken)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("on_event, %s: %w", h.Name, err)
			}
			h.Secret = secret
			if warning != "" {
				warnings = append(warnings, warning)
			}
		}
		all = append(all, h.Hook)
	}
	return all, warnings, nil
}

// hidden is at without the line itself, which may hold a secret.
func (c *checker) hidden(yamlPath, problem string) {
	before := len(c.errs)
	c.at(yamlPath, "%s", problem)
	for i := before; i < len(c.errs); i++ {
		first, _, _ := strings.Cut(c.errs[i].Error(), "\n")
		c.errs[i] = fmt.Errorf("%s", cmp.Or(first, problem))
	}
}
