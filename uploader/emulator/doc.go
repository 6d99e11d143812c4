// Package emulator is an ImageKit-compatible server over a directory: the
// upload API, the media library's management API, plain serving of the stored
// files and a gallery page, with faults on demand.
//
// It is what `iksync emulator` runs and what the client's tests talk to. It
// shares no code with the client, so that each checks the other's reading of
// ImageKit's documentation.
//
// # What it keeps, and where
//
// Contents are files in Dir/objects, named after the version that brought them
// plus the extension of the asset's name, so that they can be opened with any
// viewer. They are not a mirrored tree: ImageKit lets a file and a folder bear
// one name, and keeps up to a hundred versions of a file. Everything else is in
// Dir/journal.jsonl, one line for each change, replayed when the server starts.
//
// Three rules keep the two together when the process is killed:
//
//  1. A blob is complete under its final name before its journal line exists.
//  2. A journal line is one whole change; a torn last line is cut off at load,
//     so a change has happened entirely or not at all.
//  3. A blob that no journal line names is removed at load.
//
// Nothing is synced to disk: this is a test bench, not a vault. Dir/lock keeps
// a second server out of the directory.
//
// # What it does not do
//
// Transformations are not computed: a URL with tr: parameters serves the
// original, and transformation.pre only makes the stored content differ from the
// upload. Extensions, post-transformations and webhooks are validated and
// answered but never run, except that auto-tagging finds one tag. Nothing is cached, so purging changes nothing. Bulk
// jobs take effect at once, and only their status waits. The saved-extension,
// origin and URL-endpoint calls are not there (404).
//
// # Example
//
//	s, err := emulator.New(emulator.Options{Dir: "library", PrivateKey: "private_x"})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	return http.ListenAndServe("127.0.0.1:8790", s)
package emulator
