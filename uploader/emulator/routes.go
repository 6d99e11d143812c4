package emulator

import "net/http"

// fileEndpoint is the name under which asset URLs are counted and faulted.
const fileEndpoint = "file"

// routes gives the table of everything the server answers. The names are those
// of Fault.Endpoint and Stats.Requests.
func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /api/v1/files/upload", s.wrap("upload", true, s.uploadV1))
	m.HandleFunc("POST /api/v2/files/upload", s.wrap("uploadV2", true, s.uploadV2))

	for _, r := range s.management() {
		m.HandleFunc(r.method+" /v1"+r.path, s.api(r.name, r.answer))
		m.HandleFunc(r.method+" /v2"+r.path, s.api(r.name, r.answer))
	}
	for _, below := range []string{"/v1/", "/v2/", "/api/"} {
		m.HandleFunc(below, s.api("unknown", s.unknown))
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
	for _, version := range []string{"/v1", "/v2"} {
		purges.HandleFunc("GET "+version+"/files/purge/{requestId}", s.api("purgeStatus", s.purgeStatus))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := purges.Handler(r); pattern != "" {
			purges.ServeHTTP(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// route is one call of the management API, below "/v1" and, with the same
// answers, below "/v2".
type route struct {
	method, path, name string
	answer             apiFunc
}

// management is the table of the management API, but for the status of a purge.
func (s *Server) management() []route {
	return []route{
		{"GET", "/files", "list", s.list},
		{"GET", "/files/{$}", "list", s.list},
		{"GET", "/files/{fileId}/details", "details", s.details},
		{"PATCH", "/files/{fileId}/details", "update", s.update},
		{"GET", "/files/{fileId}/metadata", "metadata", s.metadata},
		{"GET", "/metadata", "urlMetadata", s.urlMetadata},
		{"DELETE", "/files/{fileId}", "delete", s.delete},
		{"GET", "/files/{fileId}/versions", "versions", s.versions},
		{"GET", "/files/{fileId}/versions/{versionId}", "version", s.version},
		{"DELETE", "/files/{fileId}/versions/{versionId}", "deleteVersion", s.deleteVersion},
		{"PUT", "/files/{fileId}/versions/{versionId}/restore", "restoreVersion", s.restoreVersion},

		{"POST", "/files/batch/deleteByFileIds", "batchDelete", s.batchDelete},
		{"POST", "/files/addTags", "addTags", s.addTags},
		{"POST", "/files/removeTags", "removeTags", s.removeTags},
		{"POST", "/files/removeAITags", "removeAITags", s.removeAITags},

		{"POST", "/files/move", "move", s.move},
		{"PUT", "/files/rename", "rename", s.rename},
		{"POST", "/files/copy", "copy", s.copy},

		{"POST", "/folder", "createFolder", s.createFolder},
		{"POST", "/folder/{$}", "createFolder", s.createFolder},
		{"DELETE", "/folder", "deleteFolder", s.deleteFolder},
		{"DELETE", "/folder/{$}", "deleteFolder", s.deleteFolder},
		{"POST", "/bulkJobs/moveFolder", "moveFolder", s.moveFolder},
		{"POST", "/bulkJobs/copyFolder", "copyFolder", s.copyFolder},
		{"POST", "/bulkJobs/renameFolder", "renameFolder", s.renameFolder},
		{"GET", "/bulkJobs/{jobId}", "job", s.job},

		{"POST", "/files/purge", "purge", s.purge},
		{"GET", "/accounts/usage", "usage", s.usage},

		{"POST", "/customMetadataFields", "createField", s.createField},
		{"GET", "/customMetadataFields", "listFields", s.listFields},
		{"PATCH", "/customMetadataFields/{id}", "updateField", s.updateField},
		{"DELETE", "/customMetadataFields/{id}", "deleteField", s.deleteField},
	}
}

// unknown answers for endpoints that ImageKit has or has not, but the emulator
// has not.
func (s *Server) unknown(*call) answer {
	return refuse(http.StatusNotFound, "Your request was made to an unknown endpoint, or with a wrong method.")
}
