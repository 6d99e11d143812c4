// Package filter decides which files of a root are wanted.
//
// The lists of patterns follow gitignore to the letter: the last line that
// matches decides, "!" re-includes, and nothing below an excluded directory can
// be re-included. `git check-ignore` is the oracle of this package's tests, for
// the answer and for the line that gave it.
//
//	set, err := filter.New(filter.Options{Junk: true, Types: []string{"image"}})
//	...
//	scope, d := set.Root().Enter("holiday") // d.Excluded: do not walk it
//	d = scope.File("IMG_1.jpg", size, mtime, time.Now())
//	fmt.Println(d) // wanted
//
// # Invariants
//
//  1. A decision needs the entry's name and the Scope of its directory, never
//     the path: a Scope carries how far every anchored pattern has come.
//  2. [Set.Path] and walking down with [Scope.Enter] and [Scope.File] give the
//     same answer, because the one is made of the other.
//  3. Matching takes time proportional to pattern times name at worst; no
//     pattern backtracks exponentially.
//  4. A line that could never match is an error of [New], so that a slip of the
//     pen is not a filter that silently does nothing.
//
// Names are bytes as on disk. They are compared byte by byte and
// case-sensitively; "?" and a bracket expression stand for one byte, as in git.
//
// A [Set], a [Scope] and a [Pattern] never change and may be used by any number
// of goroutines.
package filter
