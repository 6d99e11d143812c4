package imagekit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// CreateFolder makes a folder and those above it. That it is there already is no
// error. ImageKit replaces characters of its name without saying so, and more of
// them than in the folder of an upload: its documentation keeps letters and
// numbers alone here, so "-" may become "_". Errors are an [*Error]; of "." and
// ".." in the path 400 INVALID_FOLDER_PATH.
func (c *Client) CreateFolder(ctx context.Context, folder string) error {
	folder = folderPath(folder)
	if folder == "/" {
		return nil
	}
	parent, name := splitPath(folder)
	return c.change(ctx, call{method: http.MethodPost, path: "/folder", body: struct {
		Name   string `json:"folderName"`
		Parent string `json:"parentFolderPath"`
	}{name, parent}})
}

// DeleteFolder deletes a folder with all that is in it, for good. That it is not
// there is no error, whether 404 comes with a reason or without one. The root is refused. Errors are an [*Error]; 400
// [ReasonTooManyObjects].
func (c *Client) DeleteFolder(ctx context.Context, folder string) error {
	m := call{method: http.MethodDelete, path: "/folder"}
	folder = folderPath(folder)
	if folder == "/" {
		return unsendable(m.method+" "+m.path, "the whole library is not deleted")
	}
	m.body = map[string]string{"folderPath": folder}
	err := c.change(ctx, m)
	// Some servers answer 404 without a reason. From something else than a server of the
	// API it proves nothing, but then no file is taken for gone: a folder stays that is
	// empty. A folder that can't be removed would keep its path blocked for good.
	var e *Error
	if gone(err) || errors.As(err, &e) && e.Status == http.StatusNotFound && e.Reason == "" {
		return nil
	}
	return err
}

// MoveFolder starts a job that moves a folder, with its name, into another,
// which is made when it is not there. Files that meet their like there become
// versions of it. [Client.JobDone] tells when it is done.
//
// The error is an [*Error]: 404 [ReasonNothingInside], 400
// [ReasonTooManyObjects], SOURCE_IS_ROOT, SAME_SOURCE_AND_DESTINATION and, of a
// folder in its own tree, INVALID_DESTINATION_PATH. While another job works on
// one of the folders it is Transient, with status 423.
func (c *Client) MoveFolder(ctx context.Context, folder, into string) (jobID string, err error) {
	return c.start(ctx, call{method: http.MethodPost, path: "/bulkJobs/moveFolder", body: struct {
		Source      string `json:"sourceFolderPath"`
		Destination string `json:"destinationPath"`
	}{folderPath(folder), folderPath(into)}})
}

// RenameFolder starts a job that gives a folder another name. ImageKit replaces
// characters of the name: letters, numbers and "-" stay. Caches are not purged.
//
// The error is an [*Error]: Missing of the folder, Exists of the new name. While
// another job works on the folder it is Transient, with status 423.
func (c *Client) RenameFolder(ctx context.Context, folder, name string) (jobID string, err error) {
	return c.start(ctx, call{method: http.MethodPost, path: "/bulkJobs/renameFolder", body: struct {
		Path  string `json:"folderPath"`
		Name  string `json:"newFolderName"`
		Purge bool   `json:"purgeCache"`
	}{folderPath(folder), name, false}})
}

// start makes a call that starts a job.
func (c *Client) start(ctx context.Context, m call) (jobID string, err error) {
	ans, err := c.manage(ctx, m)
	if err != nil {
		return "", err
	}
	var body struct {
		JobID string `json:"jobId"`
	}
	err = decode(ans.body, &body)
	if err == nil && body.JobID == "" {
		err = errors.New("it has no jobId")
	}
	if err != nil {
		return "", ans.broken(m.method+" "+m.path, err)
	}
	return body.JobID, nil
}

// JobDone reports whether a job has ended. That its caches could not be purged
// does not keep it from being done. ImageKit documents no status for a job that
// failed, so whoever waits must end that some time.
//
// The error is an [*Error], with [ReasonJobMissing] when there is no such job.
func (c *Client) JobDone(ctx context.Context, jobID string) (bool, error) {
	m := call{method: http.MethodGet, path: "/bulkJobs/{id}", id: jobID}
	ans, err := c.manage(ctx, m)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Missing() {
			e.Reason = ReasonJobMissing
		}
		return false, err
	}
	fields, err := ans.object(m)
	if err != nil {
		return false, err
	}
	var id string
	if err := json.Unmarshal(fields["jobId"], &id); err == nil && id != jobID {
		return false, ans.broken(m.method+" "+m.path, fmt.Errorf("it is of the job %.100q", id))
	}
	if ans.status == http.StatusMultiStatus {
		return true, nil
	}
	var status string
	if err := json.Unmarshal(fields["status"], &status); err == nil {
		switch status {
		case "Completed":
			return true, nil
		case "Pending":
			return false, nil
		}
	}
	return false, ans.broken(m.method+" "+m.path, fmt.Errorf("its status is %.100q", fields["status"]))
}
