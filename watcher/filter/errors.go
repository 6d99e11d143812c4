package filter

import (
	"errors"
	"fmt"
)

// PatternError says which entry of which list cannot be used, and why.
type PatternError struct {
	List    string // "exclude", "include" or "types"; empty for Compile
	Index   int    // of the entry in its list, from 0
	Pattern string // the entry as it was given
	Err     error  // why; its text says what to write instead where there is a remedy
}

// Error names the list, the entry counted from 1, its text and the reason.
func (e *PatternError) Error() string {
	if e.List == "" {
		return fmt.Sprintf("pattern %s: %v", quote(e.Pattern), e.Err)
	}
	return fmt.Sprintf("%s, entry %d, %s: %v", e.List, e.Index+1, quote(e.Pattern), e.Err)
}

// Unwrap gives the reason.
func (e *PatternError) Unwrap() error { return e.Err }

var (
	errEmpty       = errors.New("the pattern is empty")
	errComment     = errors.New(`the pattern is a comment; write \# for a name that begins with #`)
	errNegated     = errors.New(`a pattern that stands alone cannot begin with "!"; write \! for a name that does`)
	errTooLong     = fmt.Errorf("the pattern is longer than %d bytes", maxPattern)
	errLineBreak   = errors.New("the pattern holds a line break; give every pattern an entry of its own")
	errNUL         = errors.New("the pattern holds a NUL byte, which no name can hold")
	errBackslash   = errors.New(`the backslash at the end escapes nothing; write \\ for a backslash, and / between names`)
	errBracket     = errors.New(`"[" has no closing "]"; write \[ for a bracket in a name`)
	errClassName   = errors.New("unknown character class; known are alnum alpha blank cntrl digit graph lower print punct space upper xdigit")
	errEmptySet    = errors.New("it can never match: no byte of a name is in the bracket expression")
	errEmptyName   = errors.New(`it can never match: paths hold no empty name; remove the doubled "/"`)
	errDotName     = errors.New(`it can never match: paths hold no "." and no ".."; begin with "/" for the root's own directory`)
	errUnknownType = errors.New("unknown type; known are image, video, audio and any")
)
