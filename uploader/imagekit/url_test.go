package imagekit_test

import (
	"testing"

	"iksync/uploader/imagekit"
)

func TestAnEndpointIsHTTPSOrOnThisMachine(t *testing.T) {
	for raw, good := range map[string]bool{
		imagekit.DefaultUploadURL:            true,
		imagekit.DefaultAPIURL:               true,
		"https://upload.example:8443/x":      true,
		"HTTPS://upload.example/x":           true,
		"https://[2001:db8::1]/x":            true,
		"http://127.0.0.1:8790/v1":           true,
		"http://127.8.8.8/v1":                true,
		"http://[::1]:8790/v1":               true,
		"http://localhost:8790":              true,
		"http://upload.imagekit.io/x":        false,
		"http://192.168.1.2/x":               false,
		"http://localhost.example.com/x":     false,
		"http://localhost@example.com/x":     false,
		"http://127.0.0.1.example.com/x":     false,
		"http://127.0.0.1@example.com/x":     false,
		"http://2130706433/x":                false,
		"http://0.0.0.0/x":                   false,
		"ftp://127.0.0.1/x":                  false,
		"//upload.example/x":                 false,
		"upload.imagekit.io/api":             false,
		"upload.imagekit.io":                 false,
		"https:":                             false,
		"https://":                           false,
		"https:///path":                      false,
		"https://:443/path":                  false,
		"https:upload.example":               false,
		"file:///etc/passwd":                 false,
		"":                                   false,
		"https://upload.example/\x00":        false,
		"https://a b/":                       false,
		"https://[::1/":                      false,
		"https://" + secret + "@host/x":      false,
		"https://" + secret + ":@host/x":     false,
		"https://user:" + secret + "@host/x": false,
		"https://" + secret + ":@host:bad/x": false,
		"https://" + secret + ":@/x":         false,
		"http://" + secret + ":@127.0.0.1/x": false,
		"https://" + secret + ":@ho st/":     false,
		"https://" + secret + ":@host/%zz":   false,
	} {
		err := imagekit.CheckURL(raw)
		if (err == nil) != good {
			t.Errorf("%q: %v", raw, err)
		}
		noSecret(t, err)
		if raw == "" {
			continue // means the default
		}
		for _, o := range []imagekit.Options{{UploadURL: raw}, {APIURL: raw}} {
			o.Key = imagekit.NewKey(secret)
			c, err := imagekit.New(o)
			if (err == nil) != good {
				t.Errorf("New with %q: %v", raw, err)
			}
			noSecret(t, err)
			if c != nil {
				c.Close()
			}
		}
	}
}
