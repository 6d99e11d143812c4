//go:build failpoints

package queue

// treePage is small where it is tried what a failure between two pages does.
const treePage = 2
