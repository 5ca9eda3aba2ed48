package pipeline

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// over serves one handler and asks it over HTTP/1.1 and over HTTP/2.
func over(t *testing.T, handler http.HandlerFunc, ask func(t *testing.T, client *http.Client, url string)) {
	for name, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(handler)
			s.EnableHTTP2 = two
			s.StartTLS()
			defer s.Close()
			ask(t, s.Client(), s.URL)
		})
	}
}

// H3: a client that takes nothing does not keep a handler.
func TestFlowGivesUpOnAClientThatTakesNothing(t *testing.T) {
	t.Parallel()
	for _, resting := range []bool{false, true} {
		gave := make(chan time.Duration, 2)
		over(t, func(w http.ResponseWriter, r *http.Request) {
			var f flow
			f.bind(w, r)
			defer f.drop()
			f.patient, f.resting = 100*time.Millisecond, f.resting || resting
			began := time.Now()
			for piece := make([]byte, 1<<20); f.write(piece, true) == nil; {
			}
			gave <- time.Since(began)
		}, func(t *testing.T, client *http.Client, url string) {
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			select {
			case <-gave:
			case <-time.After(10 * time.Second):
				t.Fatal("the handler still waits for the client")
			}
		})
	}
}

// An answer may rest: no deadline is left behind.
func TestFlowRests(t *testing.T) {
	t.Parallel()
	over(t, func(w http.ResponseWriter, r *http.Request) {
		var f flow
		f.bind(w, r)
		defer f.drop()
		f.patient, f.resting = 50*time.Millisecond, true
		for range 3 {
			if err := f.write([]byte("x"), true); err != nil {
				t.Error(err)
			}
			time.Sleep(150 * time.Millisecond)
		}
		f.later()
	}, func(t *testing.T, client *http.Client, url string) {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if all, err := io.ReadAll(response.Body); err != nil || string(all) != "xxx" {
			t.Errorf("%q, %v", all, err)
		}
	})
}

// A timer that rings late finds nothing to pull at: net/http has taken the writer away.
func TestFlowAfterTheHandler(t *testing.T) {
	t.Parallel()
	late := make(chan *flow, 2)
	over(t, func(w http.ResponseWriter, r *http.Request) {
		f := &flow{}
		f.bind(w, r)
		f.arm()
		f.drop()
		late <- f
	}, func(t *testing.T, client *http.Client, url string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		request, _ := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader([]byte("x")))
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		f := <-late
		f.stopReading()
		f.stopWriting()
	})
}
