package emulator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	badFileID    = "Your request contains invalid fileId parameter."
	badVersionID = "Your request contains invalid versionId parameter."
	noSuchFile   = "The requested file does not exist."
)

// named finds the asset whose fileId is in the URL.
func (s *Server) named(c *call) (*asset, *answer) {
	id := c.PathValue("fileId")
	if !validID(id) {
		return nil, pointer(badRequest(badFileID))
	}
	if a := s.byID(id); a != nil {
		return a, nil
	}
	return nil, pointer(refuse(http.StatusNotFound, noSuchFile))
}

// details answers GET /v1/files/{fileId}/details.
func (s *Server) details(c *call) answer {
	a, refused := s.named(c)
	if refused != nil {
		return *refused
	}
	return ok(s.describe(s.endpoint(c.Host), a, a.current()))
}

// metadata answers GET /v1/files/{fileId}/metadata with what the emulator
// knows: dimensions, size and format.
func (s *Server) metadata(c *call) answer {
	a, refused := s.named(c)
	if refused != nil {
		return *refused
	}
	return ok(s.describeMetadata(a.current()))
}

// urlMetadata answers GET /v1/metadata?url= for the URL of a file, with or
// without transformations: what it says is that of the file.
func (s *Server) urlMetadata(c *call) answer {
	address := c.URL.Query().Get("url")
	rest, own := strings.CutPrefix(address, s.endpoint(c.Host)+"/")
	u, err := url.Parse("/" + rest)
	if err != nil || !own {
		return badRequest("The url should be accessible using your ImageKit.io account.")
	}
	a := s.lookup(untransformed(u.Path))
	if a == nil {
		return refuse(http.StatusNotFound, "The requested file does not exist or is inaccessible at this time.")
	}
	v := a.current()
	if id := u.Query().Get("ik-obj-version"); id != "" {
		if v = a.version(id); v == nil {
			return refuse(http.StatusNotFound, "The requested file does not exist or is inaccessible at this time.")
		}
	}
	return ok(s.describeMetadata(v))
}

// delete answers DELETE /v1/files/{fileId}: all versions go.
func (s *Server) delete(c *call) answer {
	a, refused := s.named(c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lib.byID[a.FileID] == nil {
		return refuse(http.StatusNotFound, noSuchFile)
	}
	if err := s.commit(record{Drop: a.FileID}); err != nil {
		return failed(err)
	}
	return noContent()
}

// patch is the body of an update. A field that is absent stays nil; a null is
// the text "null".
type patch struct {
	Tags              json.RawMessage `json:"tags"`
	CustomCoordinates json.RawMessage `json:"customCoordinates"`
	CustomMetadata    json.RawMessage `json:"customMetadata"`
	RemoveAITags      json.RawMessage `json:"removeAITags"`
	Extensions        json.RawMessage `json:"extensions"`
	WebhookURL        json.RawMessage `json:"webhookUrl"`
	Description       json.RawMessage `json:"description"`
	Publish           json.RawMessage `json:"publish"`
}

// update answers PATCH /v1/files/{fileId}/details.
func (s *Server) update(c *call) answer {
	if a, refused := s.named(c); a == nil {
		return *refused
	}
	var p patch
	if !c.decode(&p) {
		return badRequest("Your request contains invalid JSON.")
	}
	if p.Publish != nil {
		return s.publish(c, p)
	}
	var status map[string]string
	var found []aiTag
	if p.Extensions != nil {
		var valid bool
		if status, found, valid = extend(p.Extensions); !valid {
			return badRequest(badExtensions)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lib.byID[c.PathValue("fileId")]
	if e == nil {
		return refuse(http.StatusNotFound, noSuchFile)
	}
	var problem *answer
	changed := e.asset.edited(func(v *version) {
		problem = p.apply(v, s.lib, s.behaviour)
		v.AITags = withAITags(v.AITags, found)
		v.Updated = s.now()
	})
	if problem != nil {
		return *problem
	}
	if err := s.commit(record{Put: changed}); err != nil {
		return failed(err)
	}
	d := s.describe(s.endpoint(c.Host), changed, changed.current())
	d.ExtensionStatus = status
	return ok(d)
}

// apply changes v as the patch says, or says why it cannot.
func (p patch) apply(v *version, l *library, b Behaviour) *answer {
	if p.Tags != nil {
		var tags []string
		if json.Unmarshal(p.Tags, &tags) != nil {
			return pointer(badRequest("Your request contains invalid value for tags parameter. Please provide an array of strings."))
		}
		if text := b.tagsProblem(tags); text != "" {
			return pointer(badRequest(text))
		}
		v.Tags = tags
	}
	if p.CustomCoordinates != nil {
		var text *string
		if json.Unmarshal(p.CustomCoordinates, &text) != nil || text != nil && *text != "" && !validCoordinates(*text) {
			return pointer(badRequest(badCoordinates))
		}
		v.CustomCoordinates = ""
		if text != nil {
			v.CustomCoordinates = *text
		}
	}
	if p.CustomMetadata != nil {
		var values map[string]any
		if json.Unmarshal(p.CustomMetadata, &values) != nil {
			return pointer(badRequest(badMetadata))
		}
		if problems := l.metadataProblems(values); len(problems) > 0 {
			return &answer{status: http.StatusBadRequest, body: refusal{Message: badMetadata, Help: help, Errors: problems}}
		}
		v.CustomMetadata = merge(v.CustomMetadata, values)
	}
	if p.Description != nil {
		var text *string
		if json.Unmarshal(p.Description, &text) != nil {
			return pointer(badRequest("Your request contains invalid value for description parameter."))
		}
		v.Description = ""
		if text != nil {
			v.Description = *text
		}
	}
	if p.RemoveAITags != nil && !bytes.Equal(p.RemoveAITags, []byte("null")) {
		var names []string
		if bytes.Equal(p.RemoveAITags, []byte(`"all"`)) {
			names = v.aiTagNames()
		} else if json.Unmarshal(p.RemoveAITags, &names) != nil {
			return pointer(badRequest("Your request contains invalid value for removeAITags parameter."))
		}
		v.AITags = withoutAITags(v.AITags, names)
	}
	return nil
}

func withoutAITags(tags []aiTag, names []string) []aiTag {
	return slices.DeleteFunc(slices.Clone(tags), func(t aiTag) bool { return slices.Contains(names, t.Name) })
}

// publish changes the publication status, which goes with no other change.
func (s *Server) publish(c *call, p patch) answer {
	var how struct {
		IsPublished         *bool `json:"isPublished"`
		IncludeFileVersions bool  `json:"includeFileVersions"`
	}
	alone := p.Tags == nil && p.CustomCoordinates == nil && p.CustomMetadata == nil &&
		p.RemoveAITags == nil && p.Extensions == nil && p.Description == nil
	if json.Unmarshal(p.Publish, &how) != nil || how.IsPublished == nil || !alone {
		return badRequest("Your request contains invalid value for publish parameter.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lib.byID[c.PathValue("fileId")]
	if e == nil {
		return refuse(http.StatusNotFound, noSuchFile)
	}
	versions := slices.Clone(e.asset.Versions)
	for i, v := range versions {
		if how.IncludeFileVersions || i == len(versions)-1 {
			changed := *v
			changed.IsDraft = !*how.IsPublished
			changed.Updated = s.now()
			versions[i] = &changed
		}
	}
	changed := e.asset.with(versions)
	if err := s.commit(record{Put: changed}); err != nil {
		return failed(err)
	}
	return ok(s.describe(s.endpoint(c.Host), changed, changed.current()))
}
