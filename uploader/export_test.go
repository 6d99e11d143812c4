package uploader

import "time"

// Hasten shortens the waits before a folder that is empty is removed: the time that it
// must be quiet, the time between two listings, and how often the mover looks.
func (p *Pool) Hasten(quiet, between, every time.Duration) {
	p.mover.quietFor, p.mover.betweenListings, p.mover.removeEvery = quiet, between, every
}
