package emulator

import (
	"net/http"
	"strings"
)

// fileEndpoint is the name under which asset URLs are counted and faulted.
const fileEndpoint = "file"

// routes gives the table of everything the server answers. The names are those
// of Fault.Endpoint and Stats.Requests.
func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /api/v1/files/upload", s.wrap("upload", true, s.uploadV1))
	m.HandleFunc("POST /api/v2/files/upload", s.wrap("uploadV2", true, s.uploadV2))

	for _, r := range []struct {
		pattern, name string
		answer        apiFunc
	}{
		{"GET /v1/files", "list", s.list},
		{"GET /v1/files/{fileId}/details", "details", s.details},
		{"PATCH /v1/files/{fileId}/details", "update", s.update},
		{"GET /v1/files/{fileId}/metadata", "metadata", s.metadata},
		{"DELETE /v1/files/{fileId}", "delete", s.delete},
		{"GET /v1/files/{fileId}/versions", "versions", s.versions},
		{"GET /v1/files/{fileId}/versions/{versionId}", "version", s.version},
		{"DELETE /v1/files/{fileId}/versions/{versionId}", "deleteVersion", s.deleteVersion},
		{"PUT /v1/files/{fileId}/versions/{versionId}/restore", "restoreVersion", s.restoreVersion},

		{"POST /v1/files/batch/deleteByFileIds", "batchDelete", s.batchDelete},
		{"POST /v1/files/addTags", "addTags", s.addTags},
		{"POST /v1/files/removeTags", "removeTags", s.removeTags},
		{"POST /v1/files/removeAITags", "removeAITags", s.removeAITags},

		{"POST /v1/files/move", "move", s.move},
		{"PUT /v1/files/rename", "rename", s.rename},
		{"POST /v1/files/copy", "copy", s.copy},

		{"POST /v1/folder", "createFolder", s.createFolder},
		{"POST /v1/folder/{$}", "createFolder", s.createFolder},
		{"DELETE /v1/folder", "deleteFolder", s.deleteFolder},
		{"DELETE /v1/folder/{$}", "deleteFolder", s.deleteFolder},
		{"POST /v1/bulkJobs/moveFolder", "moveFolder", s.moveFolder},
		{"POST /v1/bulkJobs/copyFolder", "copyFolder", s.copyFolder},
		{"POST /v1/bulkJobs/renameFolder", "renameFolder", s.renameFolder},
		{"GET /v1/bulkJobs/{jobId}", "job", s.job},

		{"POST /v1/files/purge", "purge", s.purge},
		{"GET /v1/accounts/usage", "usage", s.usage},

		{"POST /v1/customMetadataFields", "createField", s.createField},
		{"GET /v1/customMetadataFields", "listFields", s.listFields},
		{"PATCH /v1/customMetadataFields/{id}", "updateField", s.updateField},
		{"DELETE /v1/customMetadataFields/{id}", "deleteField", s.deleteField},

		{"/v1/", "unknown", s.unknown},
		{"/api/", "unknown", s.unknown},
	} {
		m.HandleFunc(r.pattern, s.api(r.name, r.answer))
	}

	m.HandleFunc("GET "+s.mount+"/{path...}", s.serveAsset)
	m.HandleFunc("GET /healthz", s.healthz)
	m.HandleFunc("GET /{$}", s.local(s.serveGallery))
	m.HandleFunc("GET /_emulator/object/{fileId}", s.local(s.serveObject))
	m.HandleFunc("GET /_emulator/stats", s.local(s.serveStats))
	m.HandleFunc("POST /_emulator/faults", s.local(s.postFaults))
	// A ServeMux cannot have this path beside those of a fileId, since it could
	// not say which of them "/v1/files/purge/details" is.
	purges := http.NewServeMux()
	purges.HandleFunc("GET /v1/files/purge/{requestId}", s.api("purgeStatus", s.purgeStatus))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/files/purge/") {
			purges.ServeHTTP(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// unknown answers for endpoints that ImageKit has or has not, but the emulator
// has not.
func (s *Server) unknown(*call) answer {
	return refuse(http.StatusNotFound, "Your request was made to an unknown endpoint, or with a wrong method.")
}
