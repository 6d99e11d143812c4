package imagekit

import (
	"net/http"
	"slices"
	"strings"
)

// Values of [Error.Reason] in answers of the management API (ImageKit's OpenAPI
// description, the refusals of each call).
const (
	ReasonSourceMissing  = "SOURCE_FILE_MISSING"    // 404: Move, Copy
	ReasonFileMissing    = "FILE_MISSING"           // 404: Rename
	ReasonFolderMissing  = "FOLDER_NOT_FOUND"       // 404: DeleteFolder, which takes it for success
	ReasonNothingInside  = "NO_FILES_FOLDER"        // 404: MoveFolder
	ReasonFileExists     = "FILE_ALREADY_EXISTS"    // 409: Rename
	ReasonVersionLimit   = "VERSION_LIMIT_EXCEEDED" // 400: the file would have more than 100 versions
	ReasonTooManyObjects = "TOO_MANY_OBJECTS"       // 400: more than 100,000 files, folders and versions

	// ReasonJobMissing is this package's own: ImageKit gives no reason when it
	// does not know a job.
	ReasonJobMissing = "JOB_MISSING"
)

// Missing reports whether ImageKit says that the file, folder or job that was
// addressed is not there. A 404 that says no such thing comes from something
// else, such as a proxy or a wrong URL, and proves nothing.
func (e *Error) Missing() bool {
	if e.Status != http.StatusNotFound {
		return false
	}
	reasons := []string{ReasonSourceMissing, ReasonFileMissing, ReasonFolderMissing, ReasonNothingInside, ReasonJobMissing}
	if slices.Contains(reasons, e.Reason) {
		return true
	}
	// Some calls give no reason: "The requested file does not exist.", "The
	// requested job does not exist.", "Source folder not found."
	said := func(text string) bool { return strings.Contains(strings.ToLower(e.Message), text) }
	return (said("file") || said("folder") || said("job")) && (said("does not exist") || said("not found"))
}

// Exists reports whether the new name is taken (409: Rename, RenameFolder).
func (e *Error) Exists() bool { return e.Status == http.StatusConflict }
