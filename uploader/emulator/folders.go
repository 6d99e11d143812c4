package emulator

import (
	"fmt"
	"net/http"
	"strings"
)

const noSuchFolder = "FOLDER_NOT_FOUND"

// createFolder answers POST /v1/folder. A folder that is there is no error.
func (s *Server) createFolder(c *call) answer {
	var p struct {
		Name   string `json:"folderName"`
		Parent string `json:"parentFolderPath"`
	}
	if !c.decode(&p) || p.Name == "" || p.Parent == "" {
		return because(http.StatusBadRequest, missingParameter, badParameters)
	}
	name, err := s.names.created(p.Name)
	if err != nil {
		return because(http.StatusBadRequest, invalidFolderPath, err.Error())
	}
	parent, err := s.names.folders(p.Parent)
	path := join(parent, name)
	if err == nil && strings.Count(path, "/") > maxNesting {
		err = errNesting
	}
	if err != nil {
		return because(http.StatusBadRequest, invalidFolderPath, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := s.lib.missing(path, s.now(), nil); len(made) > 0 {
		if err := s.commit(made...); err != nil {
			return failed(err)
		}
	}
	return answer{status: http.StatusCreated, body: struct{}{}}
}

// deleteFolder answers DELETE /v1/folder: all that is in it goes.
func (s *Server) deleteFolder(c *call) answer {
	var p struct {
		Path string `json:"folderPath"`
	}
	if !c.decode(&p) || p.Path == "" {
		return because(http.StatusBadRequest, missingParameter, badParameters)
	}
	missing := because(http.StatusNotFound, noSuchFolder, fmt.Sprintf("No folder found with folderPath `%s`.", p.Path))
	path, err := s.names.existing(p.Path)
	if err != nil || path == "/" {
		return missing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.lib.folder(path)
	switch {
	case f == nil:
		return missing
	case f.objects(s.behaviour.FolderLimit) > s.behaviour.FolderLimit:
		return s.tooManyObjects()
	}
	if err := s.commit(record{Remove: path}); err != nil {
		return failed(err)
	}
	return noContent()
}

func (s *Server) tooManyObjects() answer {
	return because(http.StatusBadRequest, "TOO_MANY_OBJECTS", fmt.Sprintf(
		"Total nested assets (files, folders and file versions) are more than allowed limit of %d items.", s.behaviour.FolderLimit))
}

// moveFolder answers POST /v1/bulkJobs/moveFolder.
func (s *Server) moveFolder(c *call) answer { return s.relocateFolder(c, "MOVE_FOLDER") }

// copyFolder answers POST /v1/bulkJobs/copyFolder.
func (s *Server) copyFolder(c *call) answer { return s.relocateFolder(c, "COPY_FOLDER") }

// relocateFolder moves or copies a folder into another.
func (s *Server) relocateFolder(c *call, kind string) answer {
	var p struct {
		Source          string `json:"sourceFolderPath"`
		Destination     string `json:"destinationPath"`
		IncludeVersions bool   `json:"includeVersions"`
		IncludeOld      bool   `json:"includeFileVersions"` // the older documentation's word
	}
	if !c.decode(&p) {
		return because(http.StatusBadRequest, invalidParameter, badParameters)
	}
	if p.Source == "" || p.Destination == "" {
		return because(http.StatusBadRequest, missingParameter, badParameters)
	}
	source, err := s.names.existing(p.Source)
	destination, err2 := s.names.folders(p.Destination)
	if err != nil || err2 != nil {
		return because(http.StatusBadRequest, invalidFolderPath, errDots.Error())
	}
	move := kind == "MOVE_FOLDER"
	switch {
	case source == "/":
		return because(http.StatusBadRequest, "SOURCE_IS_ROOT", "sourceFolderPath cannot be root.")
	case source == destination || parentOf(source) == destination:
		return because(http.StatusBadRequest, "SAME_SOURCE_AND_DESTINATION", "sourceFolderPath and destinationPath is same")
	case move && inside(destination, source):
		return because(http.StatusBadRequest, "INVALID_DESTINATION_PATH", "This operation is not allowed because parent folder cannot be moved into child folder.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.lib.folder(source)
	if f == nil {
		return because(http.StatusNotFound, "NO_FILES_FOLDER", fmt.Sprintf("No files & folder found at sourceFolderPath `%s`.", p.Source))
	}
	if locked := s.locked(source, destination); locked != nil {
		return *locked
	}
	if s.behaviour.MissingDestination && s.lib.folder(destination) == nil {
		return because(http.StatusNotFound, noSuchFolder, fmt.Sprintf("No folder found with folderPath `%s`.", p.Destination))
	}
	if f.objects(s.behaviour.FolderLimit) > s.behaviour.FolderLimit {
		return s.tooManyObjects()
	}
	if err := s.transplant(f, join(destination, f.name()), move, move || p.IncludeVersions || p.IncludeOld); err != nil {
		return failed(err)
	}
	return ok(map[string]string{"jobId": s.newJob(job{kind: kind, source: source, destination: destination})})
}

// renameFolder answers POST /v1/bulkJobs/renameFolder.
func (s *Server) renameFolder(c *call) answer {
	var p struct {
		Path       string `json:"folderPath"`
		NewName    string `json:"newFolderName"`
		PurgeCache bool   `json:"purgeCache"`
	}
	c.decode(&p) // what is no object lacks its parameters
	switch {
	case p.Path == "":
		return badRequest("folderPath parameter is missing.")
	case p.NewName == "":
		return badRequest("newFolderName parameter is missing.")
	}
	path, err := s.names.existing(p.Path)
	if err != nil {
		return badRequest(err.Error())
	}
	name, err := s.names.renamed(p.NewName)
	switch {
	case err != nil:
		return badRequest(err.Error())
	case path == "/":
		return badRequest("folderPath cannot be root.")
	}
	target := join(parentOf(path), name)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.lib.folder(path)
	switch {
	case f == nil:
		return refuse(http.StatusNotFound, "Source folder not found.")
	case s.lib.folder(target) != nil:
		return refuse(http.StatusConflict, fmt.Sprintf("Folder with name %s already exists at the same location.", name))
	}
	if locked := s.locked(path, target); locked != nil {
		return *locked
	}
	if err := s.transplant(f, target, true, true); err != nil {
		return failed(err)
	}
	j := job{kind: "RENAME_FOLDER", source: path, destination: target}
	if p.PurgeCache {
		var accepted bool
		if j.purge, accepted = s.newPurge(); !accepted {
			j.unpurged = true
		}
	}
	return answer{status: http.StatusAccepted, body: map[string]string{"jobId": s.newJob(j)}}
}

// transplant moves or copies the tree at f so that its root is at target, in one
// change. Files that would have too many versions there stay where they are, and
// their folders with them: bulk jobs have no way to say that they failed.
func (s *Server) transplant(f *folder, target string, move, all bool) error {
	if move && inside(f.path, target) {
		// The tree moves over its own ancestors, and so over itself: it steps
		// aside first, under a name that no client sends.
		aside := "/.moving-" + newID(s.now())
		if err := s.transplant(f, aside, true, true); err != nil {
			return err
		}
		f = s.lib.folder(aside)
	}
	g := s.newGathering(s.now())
	whole := true
	for sub := range f.tree() {
		path := target + strings.TrimPrefix(sub.path, f.path)
		if inside(sub.path, target) && !move {
			continue // a copy into its own tree does not copy itself
		}
		g.folder(path)
		for _, e := range sub.files {
			whole = g.bring(e.asset, path, move, all) && whole
		}
	}
	if move && whole {
		g.change = append(g.change, record{Remove: f.path})
	}
	return s.commit(g.change...)
}
