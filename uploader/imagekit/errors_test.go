package imagekit_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"iksync/uploader/imagekit"
)

func TestEveryRefusalHasItsClass(t *testing.T) {
	message := func(text string) string { return fmt.Sprintf(`{"message":%q,"help":"Write to support."}`, text) }
	html := "<html><body><h1>502 Bad Gateway</h1></body></html>"
	tests := []struct {
		name      string
		status    int
		body      string
		class     imagekit.Class
		message   string // "" when it is the body's
		ambiguous bool
	}{
		{"a missing file is a fault of the request", 400, message("Your request is missing file parameter."), imagekit.File, "", false},
		{"two ways to authenticate are a fault of the request", 400, message("Your request contains both signature and basic auth parameter."), imagekit.File, "", false},
		{"a name that is taken concerns the file", 400, message("A file with the same name already exists at the exact location. We could not overwrite it because both overwriteFile and useUniqueFileName are set to false."), imagekit.File, "", false},
		{"a size limit concerns the file", 400, message("Your request contains invalid file parameter. The file size exceeds limits."), imagekit.File, "", false},
		{"an upload limit concerns the account", 400, message("Upload Limit Exceeded."), imagekit.Account, "", false},
		{"the upload limit is known in any case", 400, message("UPLOAD LIMIT EXCEEDED"), imagekit.Account, "", false},
		{"an extensions quota concerns the account", 400, message("Extensions quota exceeded."), imagekit.Account, "", false},
		{"too many updates of a file let the others go on", 400, message("You have sent too many requests to update the file recently. Please try again later."), imagekit.FileThrottled, "", false},
		{"a bad transformation concerns the file", 400, message("transformation field is invalid"), imagekit.File, "", false},
		{"a transformation of text concerns the file", 400, message("transformations are supported only for image and video"), imagekit.File, "", false},
		{"a bad post-transformation concerns the file", 400, message("detected file type & post-transformation are incompatible"), imagekit.File, "", false},
		{"bad checks concern the file", 400, message("Your request contains invalid syntax for the checks parameter."), imagekit.File, "", false},
		{"failed checks concern the file", 400, message("Your request failed 'checks' validation."), imagekit.File, "", false},
		{"an unknown 400 concerns the file", 400, message("Something new."), imagekit.File, "", false},
		{"a message is read beside fields of unforeseen types", 400, `{"message":"Upload Limit Exceeded.","help":["a"],"reason":7}`, imagekit.Account, "Upload Limit Exceeded.", false},
		{"nulls are not said", 400, `{"message":null,"help":null}`, imagekit.File, "Bad Request", false},
		{"a missing key is refused credentials", 401, message("Your request does not contain private API key."), imagekit.Credentials, "", false},
		{"a wrong key is refused credentials", 403, message("Your account cannot be authenticated."), imagekit.Credentials, "", false},
		{"an expired key is refused credentials", 403, message("Your request contains expired private API key."), imagekit.Credentials, "", false},
		{"a disabled account is refused credentials", 403, message("Your account is disabled."), imagekit.Credentials, "", false},
		{"a full storage concerns the account", 403, message("Your account has exceeded its storage."), imagekit.Account, "", false},
		{"an upload limit by 403 concerns the account", 403, message("Upload limit exceeded."), imagekit.Account, "", false},
		{"a URL where nothing is served concerns them all", 404, message("The requested file does not exist."), imagekit.Account, "nothing is served at the configured upload URL: The requested file does not exist.", false},
		{"a conflict concerns the file", 409, message("File exists."), imagekit.File, "", false},
		{"too large a body concerns the file", 413, html, imagekit.File, "Request Entity Too Large", false},
		{"a slow request is tried again", 408, "", imagekit.Transient, "Request Timeout", true},
		{"a locked folder is tried again", 423, message("please try after sometime"), imagekit.Transient, "", false},
		{"a rate limit holds all", 429, message("Too many requests."), imagekit.Throttled, "", false},
		{"a failed server is tried again", 500, message("Internal."), imagekit.Transient, "", true},
		{"a proxy's page is tried again", 502, html, imagekit.Transient, "Bad Gateway", true},
		{"an empty 503 is tried again", 503, "", imagekit.Transient, "Service Unavailable", true},
		{"truncated JSON of a 504 is tried again", 504, `{"message":"x`, imagekit.Transient, "Gateway Timeout", true},
		{"an invented 599 is tried again", 599, "[]", imagekit.Transient, "no message", true},
		{"a redirect is a wrong URL", 301, "", imagekit.Account, "a redirect, which is not followed because the private key would go with it; check the configured URL", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, serve(t, drained(test.status, map[string]string{"x-ik-requestId": "r-1"}, test.body)))
			_, err := c.Upload(t.Context(), upload(smallSize))
			e := apiError(t, err)
			want := test.message
			if want == "" {
				want = strings.TrimSuffix(strings.TrimPrefix(test.body, `{"message":"`), `","help":"Write to support."}`)
				if e.Help != "Write to support." {
					t.Errorf("help: %q", e.Help)
				}
			}
			if e.Class != test.class || e.Message != want || e.Ambiguous != test.ambiguous {
				t.Errorf("got class %s, ambiguous %t, message %q, want %s, %t, %q", e.Class, e.Ambiguous, e.Message, test.class, test.ambiguous, want)
			}
			if e.Status != test.status || e.RequestID != "r-1" || e.Op != "upload" || e.RetryAfter != 0 {
				t.Errorf("got %+v", e)
			}
			if text := fmt.Sprintf("upload: ImageKit answered %d: %s (request id r-1)", test.status, want); err.Error() != text {
				t.Errorf("text: %q, want %q", err, text)
			}
		})
	}
}

func TestARefusalTellsHowLongToWait(t *testing.T) {
	date := time.Now().Add(10 * time.Minute)
	tests := []struct {
		name        string
		header      map[string]string
		least, most time.Duration
	}{
		{"ImageKit's milliseconds", map[string]string{"X-RateLimit-Reset": "2500"}, 2500 * time.Millisecond, 2500 * time.Millisecond},
		{"milliseconds go before Retry-After", map[string]string{"X-RateLimit-Reset": "250", "Retry-After": "60"}, 250 * time.Millisecond, 250 * time.Millisecond},
		{"seconds", map[string]string{"Retry-After": "7"}, 7 * time.Second, 7 * time.Second},
		{"a date", map[string]string{"Retry-After": date.UTC().Format(http.TimeFormat)}, time.Minute, 10 * time.Minute},
		{"a date in the past is no wait", map[string]string{"Retry-After": "Mon, 02 Jan 2006 15:04:05 GMT"}, 0, 0},
		{"a zero reset leaves the word to Retry-After", map[string]string{"X-RateLimit-Reset": "0", "Retry-After": "3"}, 3 * time.Second, 3 * time.Second},
		{"an epoch is an hour at most", map[string]string{"X-RateLimit-Reset": "1790000000000"}, time.Hour, time.Hour},
		{"infinity is an hour at most", map[string]string{"X-RateLimit-Reset": "Inf"}, time.Hour, time.Hour},
		{"ages are an hour at most", map[string]string{"Retry-After": "9223372036854775807"}, time.Hour, time.Hour},
		{"a far date is an hour at most", map[string]string{"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, time.Hour, time.Hour},
		{"what is not a number is no wait", map[string]string{"X-RateLimit-Reset": "NaN", "Retry-After": "soon"}, 0, 0},
		{"what is below zero is no wait", map[string]string{"X-RateLimit-Reset": "-5", "Retry-After": "-5"}, 0, 0},
		{"nothing is no wait", nil, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, status := range []int{429, 503} {
				c := newClient(t, serve(t, drained(status, test.header, `{"message":"wait"}`)))
				for _, call := range calls {
					e := apiError(t, call.do(t.Context(), c))
					if e.RetryAfter < test.least || e.RetryAfter > test.most {
						t.Errorf("%s, %d: got %s", call.name, status, e.RetryAfter)
					}
				}
			}
		})
	}
}

func TestWhatAServerSaysIsBoundedAndHarmless(t *testing.T) {
	long := strings.Repeat("é", 100_000)
	for name, handler := range map[string]http.HandlerFunc{
		"a long message":           drained(400, nil, `{"message":"`+long+`","help":"`+long+`","reason":"`+long+`"}`),
		"a long request id":        drained(400, map[string]string{"x-ik-requestId": strings.Repeat("r", 100_000)}, `{}`),
		"a long filePath":          drained(200, nil, `{"fileId":"1","filePath":"`+long+`","size":1}`),
		"a message for a terminal": drained(400, nil, `{"message":"\u001b[2Jgone\u0007\r\n\u009b31m","help":"\u001b]0;x\u0007"}`),
		"a request id for one":     drained(400, map[string]string{"x-ik-requestId": "\x1b[2J"}, `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, serve(t, handler))
			_, err := c.Upload(t.Context(), upload(smallSize))
			e := apiError(t, err)
			for _, text := range []string{e.Error(), e.Message, e.Help, e.Reason, e.RequestID} {
				if len(text) > 3000 || strings.ContainsFunc(text, unicode.IsControl) {
					t.Errorf("%d bytes: %.100q", len(text), text)
				}
			}
		})
	}
	t.Run("a status line of nonsense", func(t *testing.T) {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "SSH-2.0-"+long+"\r\n\r\n")
		})
		_, err := newClient(t, base).Upload(t.Context(), upload(smallSize))
		if e := apiError(t, err); e.Class != imagekit.Transient || !e.Ambiguous {
			t.Errorf("got %.200q", e.Error())
		}
	})
}

func TestEveryClassHasItsOwnName(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for class := imagekit.File; class <= imagekit.Offline; class++ {
		if seen[class.String()] {
			t.Errorf("%d is %s", class, class)
		}
		seen[class.String()] = true
	}
	if got := (imagekit.Offline + 1).String(); got != "unknown" {
		t.Error(got)
	}
}
