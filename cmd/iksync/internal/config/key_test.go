//go:build unix

package config

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iksync/uploader/imagekit"
)

const secret = "private_Zm9yVGVzdHNPbmx5MDEyMw="

func TestKey(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		write(t, path, content, mode)
		return path
	}
	credentials, empty := filepath.Join(dir, "credentials"), filepath.Join(dir, "empty")
	mkdir(t, credentials)
	mkdir(t, empty)
	file("credentials/imagekit_private_key", "the_credential\n", 0o600)
	mkfifo(t, filepath.Join(dir, "fifo"))
	good := file("key", "of_file", 0o600)
	for name, test := range map[string]struct {
		file string
		env  map[string]string
		want string // the key, or what the error says behind "error: "
		warn string
	}{
		"the environment comes before the file": {
			file: good, env: map[string]string{KeyVariable: "of_environment"}, want: "of_environment"},
		"the file comes before the credential": {
			file: good, env: map[string]string{"CREDENTIALS_DIRECTORY": credentials}, want: "of_file"},
		"the credential is used when nothing else is named": {
			env: map[string]string{"CREDENTIALS_DIRECTORY": credentials}, want: "the_credential"},
		"an environment of blanks is none": {
			file: good, env: map[string]string{KeyVariable: " \n"}, want: "of_file"},
		"line ends and blanks around the key are trimmed": {
			file: file("newline", " "+secret+"\r\n\n", 0o600), want: secret},
		"a key file that its group may read is fine": {
			file: file("group", secret, 0o640), want: secret},
		"a key file that everybody may read is warned of": {
			file: file("world", secret, 0o644), want: secret, warn: "everybody on this machine can read the private key in " + dir + "/world: chmod 600 it"},
		"an empty key file is named": {
			file: file("nothing", "\n", 0o600), want: "error: " + dir + "/nothing holds no private key: it is empty"},
		"a key file with two lines is refused": {
			file: file("two", secret+"\n"+secret+"\n", 0o600), want: "error: " + dir + "/two holds no private key: there is a character in it that no key has"},
		"a key with its colon is refused": {
			file: file("colon", secret+":", 0o600), want: "error: " + dir + "/colon holds no private key: there is a character in it that no key has"},
		"a key in the environment that can't be one is refused": {
			env: map[string]string{KeyVariable: secret + " " + secret}, want: "error: the environment's IMAGEKIT_PRIVATE_KEY holds no private key: there is a character in it that no key has"},
		"a key file that is too long is refused": {
			file: file("long", strings.Repeat("x", maxKeyFile+1), 0o600), want: "error: " + dir + "/long is too long to be a private key"},
		"a missing key file is named": {
			file: filepath.Join(dir, "missing"), want: "error: read the private key: stat " + dir + "/missing: no such file or directory"},
		"a directory as the key file is refused": {
			file: dir, want: "error: read the private key: " + dir + " is not a regular file"},
		"a FIFO as the key file is refused and not waited for": {
			file: filepath.Join(dir, "fifo"), want: "error: read the private key: " + dir + "/fifo is not a regular file"},
		"the key itself in the place of its file is not shown": {
			file: secret, want: "error: imagekit.private_key_file holds what looks like the private key itself: write the key into a file of its own and name that file"},
		"without any the ways to give one are said": {
			env: map[string]string{"CREDENTIALS_DIRECTORY": empty}, want: "error: there is no private key: set IMAGEKIT_PRIVATE_KEY in the environment, or name a file with imagekit.private_key_file in the configuration, or give the systemd credential imagekit_private_key (to try iksync without an account use --emulator)"},
	} {
		t.Run(name, func(t *testing.T) {
			key, warning, err := Key(test.file, func(name string) string { return test.env[name] })
			if warning != test.warn {
				t.Errorf("the warning is %q, not %q", warning, test.warn)
			}
			if want, isError := strings.CutPrefix(test.want, "error: "); isError {
				if err == nil || err.Error() != want {
					t.Errorf("the error is\n%v\nnot\n%s", err, want)
				}
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("the error shows the key: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := sent(t, key); got != test.want {
				t.Errorf("the key is %q, not %q", got, test.want)
			}
		})
	}
}

// sent returns the secret of a key, which shows nowhere but to ImageKit.
func sent(t *testing.T, key imagekit.Key) string {
	t.Helper()
	var secret string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, _, _ = r.BasicAuth()
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	client, err := imagekit.New(imagekit.Options{Key: key, UploadURL: server.URL + "/upload", APIURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Upload(t.Context(), &imagekit.Upload{FileName: "a.txt", Source: imagekit.FromText("QQ==")}); err == nil {
		t.Fatal("a refusal is no error")
	}
	return secret
}
