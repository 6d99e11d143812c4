package filter

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Rule is what decided. The zero value is RuleNone.
type Rule int

// The rules, in the order in which a file meets them.
const (
	RuleNone    Rule = iota // nothing spoke about the file, so it is wanted
	RuleJunk                // a pattern of Junk
	RuleExclude             // a line of Options.Exclude
	RuleInclude             // Options.Include: a line of it, or that none matched
	RuleType                // Options.Types
	RuleMinSize             // Options.MinSize
	RuleMaxSize             // Options.MaxSize
	RuleMinAge              // Options.MinAge
)

// String is the rule's name as in the configuration: "none", "junk", "exclude",
// "include", "type", "min_size", "max_size" or "min_age".
func (r Rule) String() string {
	switch r {
	case RuleNone:
		return "none"
	case RuleJunk:
		return "junk"
	case RuleExclude:
		return "exclude"
	case RuleInclude:
		return "include"
	case RuleType:
		return "type"
	case RuleMinSize:
		return "min_size"
	case RuleMaxSize:
		return "max_size"
	case RuleMinAge:
		return "min_age"
	}
	return "rule(" + strconv.Itoa(int(r)) + ")"
}

// Decision says whether an entry is excluded, and why. The zero value is a file
// that is wanted and that no rule spoke about.
type Decision struct {
	Excluded bool
	Rule     Rule

	// Pattern is the line that decided, be it one that excludes or, of an entry
	// that is wanted, one that includes or re-includes. It is empty when no
	// line of Include matched. Of the other rules it is the bound: the types, a
	// size or a duration.
	Pattern string

	// Retry is when a file that is too young will be old enough, unless it is
	// modified again. The zero time with every other rule.
	Retry time.Time
}

// String says the decision in words for people.
func (d Decision) String() string {
	pattern := "pattern " + quote(d.Pattern)
	if !d.Excluded {
		switch d.Rule {
		case RuleJunk, RuleExclude:
			return "wanted: re-included by " + d.Rule.String() + " " + pattern
		case RuleInclude:
			return "wanted: included by include " + pattern
		}
		return "wanted"
	}
	switch d.Rule {
	case RuleInclude:
		if d.Pattern == "" {
			return "matched by no include pattern"
		}
		return "left out by include " + pattern
	case RuleType:
		return "not of type " + d.Pattern
	case RuleMinSize:
		return "smaller than min_size " + d.Pattern
	case RuleMaxSize:
		return "larger than max_size " + d.Pattern
	case RuleMinAge:
		return "younger than min_age " + d.Pattern + "; old enough at " + d.Retry.Format(time.RFC3339)
	}
	return "excluded by " + d.Rule.String() + " " + pattern
}

// quote puts a pattern in quotes as it was written. Doubled backslashes would
// be a different pattern to the reader, so Go's quoting is for text only that
// cannot be shown as it is.
func quote(text string) string {
	shown := utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r == '"' || !unicode.IsPrint(r)
	})
	if shown {
		return `"` + text + `"`
	}
	return strconv.Quote(text)
}

// formatSize writes bytes exactly, in the unit that makes it shortest.
func formatSize(bytes int64) string {
	shortest := strconv.FormatInt(bytes, 10) + " B"
	for _, u := range []struct {
		name  string
		size  int64
		exact int64 // what bytes must be a multiple of to be shown exactly
	}{
		{"kB", 1e3, 1}, {"MB", 1e6, 1e3}, {"GB", 1e9, 1e6}, {"TB", 1e12, 1e9},
		{"KiB", 1 << 10, 1 << 10}, {"MiB", 1 << 20, 1 << 20}, {"GiB", 1 << 30, 1 << 30}, {"TiB", 1 << 40, 1 << 40},
	} {
		if bytes < u.size || bytes%u.exact != 0 {
			continue
		}
		text := strconv.FormatFloat(float64(bytes)/float64(u.size), 'f', -1, 64) + " " + u.name
		if len(text) <= len(shortest) {
			shortest = text
		}
	}
	return shortest
}
