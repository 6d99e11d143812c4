package emulator

import (
	"net/http"
	"slices"
)

const noSuchVersion = "The requested file version does not exist."

// versions answers GET /v1/files/{fileId}/versions, the newest first.
func (s *Server) versions(c *call) answer {
	a, refused := s.named(c)
	if refused != nil {
		return *refused
	}
	endpoint := s.endpoint(c.Host)
	list := make([]*details, 0, len(a.Versions))
	for _, v := range slices.Backward(a.Versions) {
		list = append(list, s.describe(endpoint, a, v))
	}
	return ok(list)
}

// version answers GET /v1/files/{fileId}/versions/{versionId}.
func (s *Server) version(c *call) answer {
	a, refused := s.named(c)
	if refused != nil {
		return *refused
	}
	id := c.PathValue("versionId")
	if !validID(id) {
		return badRequest(badVersionID)
	}
	v := a.version(id)
	if v == nil {
		return refuse(http.StatusNotFound, noSuchVersion)
	}
	return ok(s.describe(s.endpoint(c.Host), a, v))
}

// deleteVersion answers DELETE /v1/files/{fileId}/versions/{versionId}.
func (s *Server) deleteVersion(c *call) answer {
	return s.editVersion(c, "The requested asset does not exist.", func(a *asset, v *version) (*asset, answer) {
		if v == a.current() {
			return nil, badRequest("You cannot delete current version of a file.")
		}
		return a.with(without(a.Versions, v)), noContent()
	})
}

// restoreVersion answers PUT /v1/files/{fileId}/versions/{versionId}/restore:
// the version becomes the current one, under its own id and number.
func (s *Server) restoreVersion(c *call) answer {
	return s.editVersion(c, noSuchVersion, func(a *asset, v *version) (*asset, answer) {
		restored := a.with(append(without(a.Versions, v), v))
		return restored, ok(s.describe(s.endpoint(c.Host), restored, v))
	})
}

// editVersion finds the version in the URL and puts what edit makes of its
// asset; nil is no change.
func (s *Server) editVersion(c *call, missing string, edit func(*asset, *version) (*asset, answer)) answer {
	fileID, id := c.PathValue("fileId"), c.PathValue("versionId")
	switch {
	case !validID(fileID):
		return badRequest(badFileID)
	case !validID(id):
		return badRequest(badVersionID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lib.byID[fileID]
	if e == nil || e.asset.version(id) == nil {
		return refuse(http.StatusNotFound, missing)
	}
	changed, a := edit(e.asset, e.asset.version(id))
	if changed == nil {
		return a
	}
	if err := s.commit(record{Put: changed}); err != nil {
		return failed(err)
	}
	return a
}

// without gives a new list that lacks v.
func without(versions []*version, v *version) []*version {
	return slices.DeleteFunc(slices.Clone(versions), func(w *version) bool { return w == v })
}
