package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/zeebo/xxh3"
)

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
	if t.Pre != nil {
		p.pre, p.queued = *t.Pre, video
	}
	return ""
}

const badExtensions = "Your request contains invalid value for extensions parameter."

// extend validates the extensions field.
func (p *params) extend(f *form) string {
	text, has := f.field("extensions")
	if !has {
		return ""
	}
	status, tags, ok := extend([]byte(text))
	if !ok {
		return badExtensions
	}
	p.extensions, p.version.AITags = status, tags
	return ""
}

// autoTag is the tag that every picture gets from an auto-tagging extension, and
// autoConfidence how sure the extension is of it.
const (
	autoTag        = "Emulated"
	autoConfidence = 90.0
)

// extend answers for a list of extensions, of which only the auto-tagging ones
// have an effect: their tags. The others that ImageKit runs at once are said to
// have succeeded, the rest stays pending. False means that list is none.
func extend(list []byte) (status map[string]string, tags []aiTag, valid bool) {
	var extensions []struct {
		Name          string   `json:"name"`
		MinConfidence *float64 `json:"minConfidence"`
		MaxTags       *int     `json:"maxTags"`
		ID            string   `json:"id"`
	}
	if json.Unmarshal(list, &extensions) != nil {
		return nil, nil, false
	}
	status = make(map[string]string, len(extensions))
	for _, e := range extensions {
		switch e.Name {
		case "google-auto-tagging", "aws-auto-tagging":
			if e.MinConfidence == nil || e.MaxTags == nil {
				return nil, nil, false
			}
			status[e.Name] = "success"
			if *e.MinConfidence <= autoConfidence && *e.MaxTags > 0 {
				tags = append(tags, aiTag{Name: autoTag, Confidence: autoConfidence, Source: e.Name})
			}
		case "ai-auto-description", "ai-tasks":
			status[e.Name] = "success"
		case "remove-bg":
			status[e.Name] = "pending"
		case "saved-extension":
			if e.ID == "" {
				return nil, nil, false
			}
			status[e.Name] = "pending"
		default:
			return nil, nil, false
		}
	}
	return status, tags, true
}

// withAITags gives tags and those of more that are not among them.
func withAITags(tags, more []aiTag) []aiTag {
	tags = slices.Clone(tags)
	for _, tag := range more {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// pretransform stands in for transformation.pre, which is not computed: it adds
// the transformation as text behind the picture or video, where viewers don't
// look. So the stored content and its size are not those of the upload, which is
// what clients have to live with.
func pretransform(out sink, v *version, pre string) error {
	n, err := fmt.Fprintf(out, "\n%s\n", pre)
	v.Content.Size += int64(n)
	return err
}

// rehash gives v the hash of what is stored now.
func (s *Server) rehash(v *version) error {
	blob, err := s.objects.open(v.Blob)
	if errors.Is(err, errDiscarded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer blob.Close()
	hasher := xxh3.New()
	if _, err := io.Copy(hasher, blob); err != nil {
		return err
	}
	v.Content.Hash = hasher.Sum128().Bytes()
	return nil
}
