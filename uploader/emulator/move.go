package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The reasons of refusals by path.
const (
	missingParameter  = "MISSING_PARAMETER"
	invalidParameter  = "INVALID_PARAMETER"
	invalidFolderPath = "INVALID_FOLDER_PATH"
	badParameters     = "Your request is missing parameters / contains invalid parameters."
)

// placement is the body of the move and copy calls of files.
type placement struct {
	Source          string `json:"sourceFilePath"`
	Destination     string `json:"destinationPath"`
	IncludeVersions bool   `json:"includeFileVersions"`
}

// move answers POST /v1/files/move.
func (s *Server) move(c *call) answer { return s.relocate(c, true) }

// copy answers POST /v1/files/copy.
func (s *Server) copy(c *call) answer { return s.relocate(c, false) }

func (s *Server) relocate(c *call, move bool) answer {
	var p placement
	if !c.decode(&p) || p.Source == "" || p.Destination == "" {
		return because(http.StatusBadRequest, missingParameter, badParameters)
	}
	destination, err := s.names.folders(p.Destination)
	if err != nil {
		return because(http.StatusBadRequest, invalidFolderPath, err.Error())
	}
	missing := because(http.StatusNotFound, "SOURCE_FILE_MISSING", fmt.Sprintf("No file found with filePath `%s`.", p.Source))
	folder, name, named := splitPath(p.Source)
	if !named {
		return missing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lib.file(folder, name)
	switch {
	case e == nil:
		return missing
	case folder == destination:
		return because(http.StatusBadRequest, "SAME_SOURCE_AND_DESTINATION", "sourceFilePath and destinationPath is same")
	case s.behaviour.MissingDestination && s.lib.folder(destination) == nil:
		return because(http.StatusNotFound, noSuchFolder, fmt.Sprintf("No folder found with folderPath `%s`.", p.Destination))
	}
	now := s.now()
	g := s.newGathering(now)
	g.folder(destination)
	if !g.bring(e.asset, destination, move, move || p.IncludeVersions) {
		return because(http.StatusBadRequest, "VERSION_LIMIT_EXCEEDED",
			fmt.Sprintf("A file can have a maximum of %d versions.", s.behaviour.VersionLimit))
	}
	if err := s.commit(g.change...); err != nil {
		return failed(err)
	}
	return noContent()
}

// gathering collects the records of a move or copy of one file or many.
type gathering struct {
	s       *Server
	now     time.Time
	planned map[string]bool // folders that are made on the way
	change  []record
}

func (s *Server) newGathering(now time.Time) *gathering {
	return &gathering{s: s, now: now, planned: make(map[string]bool)}
}

// folder makes a folder and its parents, unless they are there.
func (g *gathering) folder(path string) {
	g.change = append(g.change, g.s.lib.missing(path, g.now, g.planned)...)
}

// bring moves or copies a file into a folder. Where the folder has a file of
// that name already, the file's versions are appended to that one's, and the
// newest of them is the current version. It is false when these are too many.
func (g *gathering) bring(a *asset, folder string, move, all bool) bool {
	versions := a.Versions
	if !all {
		versions = versions[len(versions)-1:]
	}
	there := g.s.lib.file(folder, a.Name)
	if there != nil && len(there.asset.Versions)+len(versions) > g.s.behaviour.VersionLimit {
		return false
	}
	if !move {
		versions = g.duplicates(versions)
	}
	if move && (there != nil || g.s.behaviour.NewFileIDOnMove) {
		g.change = append(g.change, record{Drop: a.FileID})
	}
	var brought *asset
	switch {
	case there != nil:
		brought = there.asset.append(versions)
	case move:
		moved := *a
		moved.Folder = folder
		if g.s.behaviour.NewFileIDOnMove {
			moved.FileID = newID(g.now)
		}
		brought = &moved
	default:
		brought = &asset{FileID: versions[0].ID, Folder: folder, Name: a.Name, Created: g.now}
		brought = brought.append(versions)
	}
	g.change = append(g.change, record{Put: brought})
	return true
}

// duplicates gives versions with ids of their own. They share the blobs.
func (g *gathering) duplicates(versions []*version) []*version {
	twins := make([]*version, len(versions))
	for i, v := range versions {
		twin := *v
		twin.ID = newID(g.now)
		twin.Created, twin.Updated = g.now, g.now
		twin.Tags = slices.Clone(v.Tags)
		twins[i] = &twin
	}
	return twins
}

// rename answers PUT /v1/files/rename.
func (s *Server) rename(c *call) answer {
	var p struct {
		FilePath   string `json:"filePath"`
		NewName    string `json:"newFileName"`
		PurgeCache bool   `json:"purgeCache"`
	}
	if !c.decode(&p) {
		return because(http.StatusBadRequest, invalidParameter, badParameters)
	}
	if p.FilePath == "" || p.NewName == "" {
		return because(http.StatusBadRequest, missingParameter, badParameters)
	}
	missing := because(http.StatusNotFound, "FILE_MISSING", "No file found in media library at filePath "+p.FilePath)
	folder, name, named := splitPath(p.FilePath)
	if !named {
		return missing
	}
	newName := s.names.file(p.NewName)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lib.file(folder, name)
	switch {
	case e == nil:
		return missing
	case name == newName:
		return because(http.StatusBadRequest, "SAME_OLD_AND_NEW_NAME", "newFileName cannot be the same as its existing name.")
	case s.lib.file(folder, newName) != nil:
		return because(http.StatusConflict, "FILE_ALREADY_EXISTS", fmt.Sprintf("File with name %s already exists at the same location.", newName))
	}
	renamed := *e.asset
	renamed.Name = newName
	change := []record{{Put: &renamed}}
	if s.behaviour.NewFileIDOnMove {
		renamed.FileID = newID(s.now())
		change = []record{{Drop: e.asset.FileID}, {Put: &renamed}}
	}
	if err := s.commit(change...); err != nil {
		return failed(err)
	}
	if !p.PurgeCache {
		return ok(struct{}{})
	}
	id, accepted := s.newPurge()
	if !accepted {
		return because(http.StatusMultiStatus, "PURGE_FAILED", "File renamed successfully but we could not purge the CDN cache for old URL because of rate limits on purge API.")
	}
	return ok(map[string]string{"purgeRequestId": id})
}
