package emulator

import "net/http"

const (
	badFieldID  = "Your request contains invalid ID parameter."
	noSuchField = "No such custom metadata field exists."
	badSchema   = "Invalid schema object."
)

// createField answers POST /v1/customMetadataFields.
func (s *Server) createField(c *call) answer {
	var f metadataField
	if !c.decode(&f) || f.Name == "" || f.Label == "" {
		return badRequest("Your request is missing name, label or schema parameter.")
	}
	if !f.Schema.valid() {
		return badRequest(badSchema)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.lib.fields {
		if other.Name == f.Name { // deleted ones too: a name is never free again
			return badRequest("A custom metadata field with this name already exists.")
		}
		if other.Label == f.Label && !other.Deleted {
			return badRequest("A custom metadata field with this label already exists.")
		}
	}
	f.ID, f.Deleted, f.Seq = newID(s.now()), false, len(s.lib.fields)+1
	if err := s.commit(record{Field: &f}); err != nil {
		return failed(err)
	}
	return answer{status: http.StatusCreated, body: shownField(f)}
}

// listFields answers GET /v1/customMetadataFields.
func (s *Server) listFields(c *call) answer {
	deleted := c.URL.Query().Get("includeDeleted") == "true"
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []metadataField{}
	for _, f := range s.lib.sortedFields() {
		if !f.Deleted || deleted {
			list = append(list, shownField(f))
		}
	}
	return ok(list)
}

// updateField answers PATCH /v1/customMetadataFields/{id}.
func (s *Server) updateField(c *call) answer {
	var change struct {
		Name   *string      `json:"name"`
		Label  *string      `json:"label"`
		Schema *fieldSchema `json:"schema"`
	}
	switch decoded := c.decode(&change); {
	case decoded && change.Name != nil:
		return badRequest("Name cannot be updated.")
	case !decoded || change.Label == nil && change.Schema == nil:
		return badRequest("Either label or schema should be provided.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, refused := s.fieldByID(c)
	switch {
	case refused != nil:
		return *refused
	case f.Deleted:
		return badRequest("Cannot update a deleted custom metadata fields.")
	}
	if change.Label != nil {
		for _, other := range s.lib.fields {
			if other.Label == *change.Label && other.ID != f.ID && !other.Deleted {
				return badRequest("A custom metadata field with this label already exists.")
			}
		}
		f.Label = *change.Label
	}
	if change.Schema != nil {
		if change.Schema.Type == "" {
			change.Schema.Type = f.Schema.Type
		}
		if !change.Schema.valid() || change.Schema.Type != f.Schema.Type {
			return badRequest(badSchema)
		}
		f.Schema = *change.Schema
	}
	if err := s.commit(record{Field: &f}); err != nil {
		return failed(err)
	}
	return ok(shownField(f))
}

// deleteField answers DELETE /v1/customMetadataFields/{id}.
func (s *Server) deleteField(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, refused := s.fieldByID(c)
	if refused != nil {
		return *refused
	}
	f.Deleted = true
	if err := s.commit(record{Field: &f}); err != nil {
		return failed(err)
	}
	return noContent()
}

func (s *Server) fieldByID(c *call) (metadataField, *answer) {
	id := c.PathValue("id")
	if !validID(id) {
		return metadataField{}, pointer(badRequest(badFieldID))
	}
	f, found := s.lib.fields[id]
	if !found {
		return metadataField{}, pointer(refuse(http.StatusNotFound, noSuchField))
	}
	return f, nil
}

// shownField leaves out what the journal alone needs.
func shownField(f metadataField) metadataField {
	f.Seq = 0
	return f
}
