package uploader_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
)

// A size that the server does not explain is wrong at each attempt, and each attempt
// stores a version.
func TestAFileIsGivenUpAfterThreeWrongAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var uploads atomic.Int64
	size := regexp.MustCompile(`"size":([0-9]+)`)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/upload") && uploads.Add(1) > 10 {
			cancel()
		}
		answer := httptest.NewRecorder()
		r.server.ServeHTTP(answer, q)
		w.WriteHeader(answer.Code)
		w.Write(size.ReplaceAllFunc(answer.Body.Bytes(), func(found []byte) []byte {
			n, _ := strconv.Atoi(string(found[len(`"size":`):]))
			return []byte(`"size":` + strconv.Itoa(n+1))
		}))
	}))
	t.Cleanup(web.Close)
	r.client = newClient(t, web.URL)
	r.write("a.txt", "content")
	r.enqueue("a.txt")
	drain := func(attempts int) queue.Item {
		t.Helper()
		o := r.options()
		o.MaxAttempts = attempts
		check(t, uploader.New(r.db, r.q, o).Run(ctx))
		return r.jobs(queue.Failed)["a.txt"]
	}
	again := func() {
		t.Helper()
		if n, err := r.q.Retry(t.Context(), queue.Selection{Roots: []int64{r.root.ID}}); err != nil || n != 1 {
			t.Fatalf("Retry: %d, %v", n, err)
		}
	}
	// The count outlasts the pool.
	if item := drain(1); item.Class != "wrong_answer" || uploads.Load() != 1 {
		t.Fatalf("%d uploads, %+v", uploads.Load(), item)
	}
	again()
	if item := drain(1000); item.Class != "wrong_answer" || !strings.Contains(item.Reason, "wrong answer 3") || !strings.Contains(item.Reason, "8 bytes were stored; 7 were sent") || uploads.Load() != 3 {
		t.Fatalf("%d uploads, %+v", uploads.Load(), item)
	}
	// A retry tries once.
	again()
	if item := drain(1000); item.Class != "wrong_answer" || uploads.Load() != 4 {
		t.Fatalf("%d uploads, %+v", uploads.Load(), item)
	}
	// A change of the file begins anew.
	r.write("a.txt", "another content")
	r.enqueue("a.txt")
	if item := drain(1000); item.Class != "wrong_answer" || uploads.Load() != 7 {
		t.Fatalf("%d uploads, %+v", uploads.Load(), item)
	}
	if f := r.record("a.txt"); f != nil && f.Stat.MtimeNs != state.NoTime {
		t.Errorf("recorded: %+v", f)
	}
}
