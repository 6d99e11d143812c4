//go:build !failpoints

package queue

// treePage bounds the records of one transaction: others wait so long.
const treePage = 250
