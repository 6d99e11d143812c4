package emulator

import (
	"encoding/json"
	"net/http"
	"slices"
)

// How many files a batch can name.
const (
	maxDelete = 100
	maxTagged = 50
)

// batch is the body of the calls on several files.
type batch struct {
	FileIDs json.RawMessage `json:"fileIds"`
	Tags    json.RawMessage `json:"tags"`
	AITags  json.RawMessage `json:"AITags"`
}

// ids reads fileIds, without duplicates.
func (b batch) ids(most int, tooMany string) ([]string, *answer) {
	var ids []string
	switch {
	case b.FileIDs == nil || string(b.FileIDs) == "null":
		return nil, pointer(badRequest("fileIds parameter is missing."))
	case json.Unmarshal(b.FileIDs, &ids) != nil:
		return nil, pointer(badRequest("fileIds should be an Array."))
	case len(ids) == 0:
		return nil, pointer(badRequest("fileIds is empty."))
	case len(ids) > most:
		return nil, pointer(badRequest(tooMany))
	}
	var unique []string
	for _, id := range ids {
		if !slices.Contains(unique, id) {
			unique = append(unique, id)
		}
	}
	return unique, nil
}

// missing answers for fileIds that do not exist: one is enough to fail the
// whole batch, which then changes nothing. The caller has s.mu.
func (s *Server) missing(ids []string) *answer {
	var missing []string
	for _, id := range ids {
		if s.lib.byID[id] == nil {
			missing = append(missing, id)
		}
	}
	if missing == nil {
		return nil
	}
	return &answer{status: http.StatusNotFound, body: refusal{
		Message: "The requested file(s) does not exist.", Help: help, MissingFileIDs: missing,
	}}
}

// batchDelete answers POST /v1/files/batch/deleteByFileIds.
func (s *Server) batchDelete(c *call) answer {
	var b batch
	c.decode(&b) // what is no object has no fileIds either
	ids, refused := b.ids(maxDelete, "fileIds cannot have more than 100 items.")
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.missing(ids); refused != nil {
		return *refused
	}
	change := make([]record, len(ids))
	for i, id := range ids {
		change[i] = record{Drop: id}
	}
	if err := s.commit(change...); err != nil {
		return failed(err)
	}
	return ok(map[string][]string{"successfullyDeletedFileIds": ids})
}

// addTags answers POST /v1/files/addTags.
func (s *Server) addTags(c *call) answer {
	return s.tagAll(c, func(v *version, tags []string) {
		v.Tags = slices.Clone(v.Tags)
		for _, tag := range tags {
			if !slices.Contains(v.Tags, tag) {
				v.Tags = append(v.Tags, tag)
			}
		}
	})
}

// removeTags answers POST /v1/files/removeTags.
func (s *Server) removeTags(c *call) answer {
	return s.tagAll(c, func(v *version, tags []string) {
		v.Tags = slices.DeleteFunc(slices.Clone(v.Tags), func(tag string) bool { return slices.Contains(tags, tag) })
	})
}

func (s *Server) tagAll(c *call, edit func(*version, []string)) answer {
	var b batch
	c.decode(&b)
	var tags []string
	switch {
	case b.Tags == nil:
		return s.editAll(b, badRequest("tags parameter is missing."), nil)
	case json.Unmarshal(b.Tags, &tags) != nil:
		return s.editAll(b, badRequest(badTags), nil)
	case len(tags) == 0:
		return s.editAll(b, badRequest("tags array cannot be empty."), nil)
	}
	if text := s.behaviour.tagsProblem(tags); text != "" {
		return s.editAll(b, badRequest(text), nil)
	}
	return s.editAll(b, answer{}, func(v *version) string {
		edit(v, tags)
		return s.behaviour.tagsProblem(v.Tags)
	})
}

// removeAITags answers POST /v1/files/removeAITags.
func (s *Server) removeAITags(c *call) answer {
	var b batch
	c.decode(&b)
	var names []string
	switch {
	case b.AITags == nil:
		return s.editAll(b, badRequest("AITags parameter is missing."), nil)
	case json.Unmarshal(b.AITags, &names) != nil:
		return s.editAll(b, badRequest("Your request contains invalid value for AITags. Please provide an array of strings. Example - ['t-shirt','summer-sale']."), nil)
	case len(names) == 0:
		return s.editAll(b, badRequest("AITags array cannot be empty."), nil)
	}
	return s.editAll(b, answer{}, func(v *version) string {
		v.AITags = withoutAITags(v.AITags, names)
		return ""
	})
}

// fileError is why a batch passed over a file.
type fileError struct {
	FileID string `json:"fileId"`
	Error  string `json:"error"`
}

// editAll edits the current versions of a batch's files, but for those where
// edit finds a problem: these make the answer a 207. With edit nil the batch
// ends in otherwise, after its fileIds were judged.
func (s *Server) editAll(b batch, otherwise answer, edit func(*version) (problem string)) answer {
	ids, refused := b.ids(maxTagged, "A maximum of 50 files can be edited at a time.")
	if refused != nil {
		return *refused
	}
	if edit == nil {
		return otherwise
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.missing(ids); refused != nil {
		return *refused
	}
	var change []record
	var problems []fileError
	updated := []string{}
	for _, id := range ids {
		problem := ""
		changed := s.lib.byID[id].asset.edited(func(v *version) {
			problem = edit(v)
			v.Updated = s.now()
		})
		if problem != "" {
			problems = append(problems, fileError{id, problem})
			continue
		}
		updated = append(updated, id)
		change = append(change, record{Put: changed})
	}
	if err := s.commit(change...); err != nil {
		return failed(err)
	}
	a := ok(struct {
		Updated []string    `json:"successfullyUpdatedFileIds"`
		Errors  []fileError `json:"errors,omitempty"`
	}{updated, problems})
	if len(problems) > 0 {
		a.status = http.StatusMultiStatus
	}
	return a
}
