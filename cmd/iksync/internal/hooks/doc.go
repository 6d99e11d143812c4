// Package hooks tells others what has come about: it runs a command or posts to a URL.
//
// Each hook reads the [uploader.Outbox] for itself, so that a slow one delays neither
// uploads nor other hooks; what it misses is counted, and it is told how many. An outcome
// is on the disk before it is told. One that comes about in the moment in which iksync is
// killed may not be told: the first event after a start is "started", upon which a
// receiver that must know all reads iksync export.
package hooks
