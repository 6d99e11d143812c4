package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// kind is the type of a field in an expression.
type kind int

const (
	textKind kind = iota
	numberKind
	boolKind
	timeKind
	tagsKind
	anyKind // by the value found: custom metadata
)

// lookup gives the value of a field: a string, float64, bool, time.Time,
// []string, or nil when there is none.
type lookup func(field string) any

// predicate is an expression ready to be asked.
type predicate func(lookup) bool

// compile checks an expression's fields and values. kindOf gives the kind of a
// field, and false for one that does not exist. Times that are spans, such as
// "7d", count back from now.
func compile(e expression, kindOf func(field string) (kind, bool), now time.Time) (predicate, error) {
	switch e := e.(type) {
	case allOf:
		parts, err := compileAll(e, kindOf, now)
		return func(of lookup) bool {
			return !slices.ContainsFunc(parts, func(p predicate) bool { return !p(of) })
		}, err
	case anyOf:
		parts, err := compileAll(e, kindOf, now)
		return func(of lookup) bool {
			return slices.ContainsFunc(parts, func(p predicate) bool { return p(of) })
		}, err
	case notOf:
		part, err := compile(e.expression, kindOf, now)
		return func(of lookup) bool { return !part(of) }, err
	case comparison:
		return compileComparison(e, kindOf, now)
	}
	return nil, fmt.Errorf("unknown expression %T", e)
}

func compileAll(list []expression, kindOf func(string) (kind, bool), now time.Time) ([]predicate, error) {
	parts := make([]predicate, len(list))
	for i, e := range list {
		var err error
		if parts[i], err = compile(e, kindOf, now); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func compileComparison(c comparison, kindOf func(string) (kind, bool), now time.Time) (predicate, error) {
	k, known := kindOf(c.field)
	if !known {
		return nil, fmt.Errorf("unknown field %q", c.field)
	}
	if c.op == "exists" {
		return func(of lookup) bool { return exists(of(c.field)) != c.not }, nil
	}
	if k == anyKind {
		// The values are read when it is known what they are compared with.
		return func(of lookup) bool {
			v := of(c.field)
			test, err := compileTest(c, kindFor(v), now)
			return (err == nil && v != nil && test(v)) != c.not
		}, nil
	}
	test, err := compileTest(c, k, now)
	if err != nil {
		return nil, fmt.Errorf("field %q: %w", c.field, err)
	}
	return func(of lookup) bool {
		v := of(c.field)
		return (v != nil && test(v)) != c.not
	}, nil
}

// exists says whether a field has a value. An empty text or list is none.
func exists(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case []string:
		return len(v) > 0
	}
	return true
}

func kindFor(v any) kind {
	switch v.(type) {
	case float64:
		return numberKind
	case bool:
		return boolKind
	case []string:
		return tagsKind
	}
	return textKind
}

// compileTest gives the test of a value that is not nil.
func compileTest(c comparison, k kind, now time.Time) (func(any) bool, error) {
	switch k {
	case numberKind:
		return ordered(c, parseSize, func(v any) float64 { n, _ := v.(float64); return n }, cmp.Compare[float64])
	case timeKind:
		parse := func(text string) (time.Time, error) { return parseWhen(text, now) }
		return ordered(c, parse, func(v any) time.Time { t, _ := v.(time.Time); return t }, time.Time.Compare)
	case boolKind:
		if c.op != "=" && c.op != ":" && c.op != "in" {
			return nil, fmt.Errorf("%s does not go with true and false", c.op)
		}
		compare := func(a, b bool) int {
			if a == b {
				return 0
			}
			return 1
		}
		return ordered(c, strconv.ParseBool, func(v any) bool { b, _ := v.(bool); return b }, compare)
	case tagsKind:
		return func(v any) bool {
			tags, _ := v.([]string)
			return slices.ContainsFunc(tags, func(tag string) bool { return textTest(c, tag) })
		}, nil
	}
	return func(v any) bool {
		text, isText := v.(string)
		return isText && textTest(c, text)
	}, nil
}

func textTest(c comparison, text string) bool {
	switch c.op {
	case ":":
		return strings.HasPrefix(text, c.values[0])
	case "=", "in":
		return slices.Contains(c.values, text)
	case "has":
		return hasWords(text, c.values[0])
	}
	return holds(c.op, strings.Compare(text, c.values[0]))
}

// hasWords is the full-text search: it finds every word of query in text, in any
// order and case, and the last one also as the beginning of a word.
func hasWords(text, query string) bool {
	have, want := words(text), words(query)
	if len(want) == 0 {
		return false
	}
	for i, word := range want {
		if !slices.ContainsFunc(have, func(h string) bool {
			return h == word || i == len(want)-1 && strings.HasPrefix(h, word)
		}) {
			return false
		}
	}
	return true
}

// words gives the words of a text in lower case: what white space and
// punctuation part.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r)
	})
}

// ordered tests values of an ordered type, read once from the expression.
func ordered[T any](c comparison, parse func(string) (T, error), of func(any) T, compare func(a, b T) int) (func(any) bool, error) {
	if c.op == "has" {
		return nil, errors.New("HAS goes with texts and tags only")
	}
	values := make([]T, len(c.values))
	for i, text := range c.values {
		v, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no value for it", text)
		}
		values[i] = v
	}
	op := c.op
	if op == "in" || op == ":" {
		op = "="
	}
	return func(v any) bool {
		have := of(v)
		return slices.ContainsFunc(values, func(want T) bool { return holds(op, compare(have, want)) })
	}, nil
}

func holds(op string, order int) bool {
	switch op {
	case "=":
		return order == 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return false
}

// parseSize reads a number, with a unit for sizes: "300", "1mb". Whether a unit
// means 1000 or 1024 is not documented; here it is 1024.
func parseSize(text string) (float64, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	factor := 1.0
	for _, unit := range []struct {
		suffix string
		factor float64
	}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"tb", 1 << 40}, {"b", 1}} {
		if number, found := strings.CutSuffix(text, unit.suffix); found {
			text, factor = strings.TrimSpace(number), unit.factor
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n * factor, err
}

// parseWhen reads a date in ISO 8601, or a span of hours, days, weeks, months
// or years back from now: "1h", "7d", "3w", "2m", "1y".
func parseWhen(text string, now time.Time) (time.Time, error) {
	if t, ok := parseDate(text); ok {
		return t, nil
	}
	if len(text) < 2 {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	n, err := strconv.Atoi(text[:len(text)-1])
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	switch text[len(text)-1] {
	case 'h':
		return now.Add(-time.Duration(n) * time.Hour), nil
	case 'd':
		return now.AddDate(0, 0, -n), nil
	case 'w':
		return now.AddDate(0, 0, -7*n), nil
	case 'm':
		return now.AddDate(0, -n, 0), nil
	case 'y':
		return now.AddDate(-n, 0, 0), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}
