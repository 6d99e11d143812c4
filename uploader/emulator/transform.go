package emulator

import "encoding/json"

// The refusals of the transformation field.
const (
	badTransformation     = "The file could not be uploaded because the transformation field is invalid."
	noTransformation      = "The file could not be uploaded because transformations are supported only for image and video files."
	alienTransformation   = "The file could not be uploaded because the detected file type & post-transformation are incompatible."
	maxPostTransformation = 5
)

// transform validates the transformation field. A pre-transformation of a video
// is queued: the answer has no fileId then.
func (p *params) transform(f *form) string {
	text, has := f.field("transformation")
	if !has {
		return ""
	}
	var t struct {
		Pre  *string `json:"pre"`
		Post []struct {
			Type     string `json:"type"`
			Value    string `json:"value"`
			Protocol string `json:"protocol"`
		} `json:"post"`
	}
	if json.Unmarshal([]byte(text), &t) != nil || t.Pre == nil && len(t.Post) == 0 ||
		t.Pre != nil && *t.Pre == "" || len(t.Post) > maxPostTransformation {
		return badTransformation
	}
	image, video := f.file.content.isImage(), f.file.content.isVideo()
	if !image && !video {
		return noTransformation
	}
	for _, post := range t.Post {
		fits := true
		switch post.Type {
		case "transformation":
			if post.Value == "" {
				return badTransformation
			}
		case "gif-to-video":
			fits = f.file.content.MIME == "image/gif"
		case "thumbnail":
			fits = video
		case "abs":
			fits = video
			if post.Value == "" || post.Protocol != "hls" && post.Protocol != "dash" {
				return badTransformation
			}
		default:
			return badTransformation
		}
		if !fits {
			return alienTransformation
		}
	}
	p.queued = video && t.Pre != nil
	return ""
}

const badExtensions = "Your request contains invalid value for extensions parameter."

// extend validates the extensions field. None is run: those that answer at once
// are said to have succeeded, the others stay pending.
func (p *params) extend(f *form) string {
	text, has := f.field("extensions")
	if !has {
		return ""
	}
	status, ok := extensionStatus([]byte(text))
	if !ok {
		return badExtensions
	}
	p.extensions = status
	return ""
}

// extensionStatus answers for a list of extensions; false means it is not one.
func extensionStatus(list []byte) (map[string]string, bool) {
	var extensions []struct {
		Name          string   `json:"name"`
		MinConfidence *float64 `json:"minConfidence"`
		MaxTags       *int     `json:"maxTags"`
		ID            string   `json:"id"`
	}
	if json.Unmarshal(list, &extensions) != nil {
		return nil, false
	}
	status := make(map[string]string, len(extensions))
	for _, e := range extensions {
		switch e.Name {
		case "google-auto-tagging", "aws-auto-tagging":
			if e.MinConfidence == nil || e.MaxTags == nil {
				return nil, false
			}
			status[e.Name] = "success"
		case "ai-auto-description", "ai-tasks":
			status[e.Name] = "success"
		case "remove-bg":
			status[e.Name] = "pending"
		case "saved-extension":
			if e.ID == "" {
				return nil, false
			}
			status[e.Name] = "pending"
		default:
			return nil, false
		}
	}
	return status, true
}
