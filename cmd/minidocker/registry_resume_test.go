package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestRegistryServeGoesOn kills a registry in the middle of a chunk: the next one goes on with the upload where it stood, and
// has the blobs whose manifest has not come yet. So it is with a folder and with the engine's own images.
func TestRegistryServeGoesOn(t *testing.T) {
	for name, args := range map[string][]string{"folder": {"-d"}, "images": {"--images", "mine.test", "--root"}} {
		t.Run(name, func(t *testing.T) {
			if name == "images" {
				testenv.RequireRoot(t)
			}
			args := append(args, t.TempDir())
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			ask := func(method, url string, body io.Reader, header ...string) *http.Response {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), method, url, body)
				require.NoError(t, err)
				for i := 0; i < len(header); i += 2 {
					req.Header.Set(header[i], header[i+1])
				}
				resp, err := client.Do(req)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				return resp
			}
			content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
			whole := []byte("pushed whole")
			first, host := startRegistry(t, args...)
			resp := ask("POST", "http://"+host+"/v2/app/blobs/uploads/?digest="+digest.FromBytes(whole).String(), bytes.NewReader(whole))
			require.Equal(t, http.StatusCreated, resp.StatusCode)
			resp = ask("POST", "http://"+host+"/v2/app/blobs/uploads/", nil)
			require.Equal(t, http.StatusAccepted, resp.StatusCode)
			location, err := resp.Location()
			require.NoError(t, err)
			const acknowledged = 300_000
			resp = ask("PATCH", location.String(), bytes.NewReader(content[:acknowledged]), "Content-Range", fmt.Sprintf("0-%d", acknowledged-1))
			require.Equal(t, http.StatusAccepted, resp.StatusCode)
			// The next chunk stops half way, and the registry dies.
			r, w := io.Pipe()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				req, err := http.NewRequestWithContext(t.Context(), "PATCH", location.String(), r)
				if err == nil {
					req.ContentLength = int64(len(content) - acknowledged)
					if resp, err := client.Do(req); err == nil {
						_ = resp.Body.Close()
					}
				}
			}()
			_, err = w.Write(content[acknowledged : 2*acknowledged])
			require.NoError(t, err)
			require.NoError(t, first.Process.Kill())
			_ = first.Wait()
			_ = w.CloseWithError(io.ErrUnexpectedEOF)
			<-ended

			_, location.Host = startRegistry(t, args...)
			resp = ask("GET", location.String(), nil)
			require.Equal(t, http.StatusNoContent, resp.StatusCode)
			var last int
			_, err = fmt.Sscanf(resp.Header.Get("Range"), "0-%d", &last)
			require.NoError(t, err)
			require.GreaterOrEqual(t, last+1, acknowledged)
			rest := content[last+1:]
			resp = ask("PUT", location.String()+"?digest="+digest.FromBytes(content).String(), bytes.NewReader(rest),
				"Content-Range", fmt.Sprintf("%d-%d", last+1, len(content)-1))
			require.Equal(t, http.StatusCreated, resp.StatusCode)
			for _, b := range [][]byte{content, whole} {
				resp = ask("HEAD", "http://"+location.Host+"/v2/app/blobs/"+digest.FromBytes(b).String(), nil)
				require.Equal(t, http.StatusOK, resp.StatusCode)
			}
			if name == "images" { // they are held from pruning
				out, err := exec.Command(newCommand(t), "--root", args[len(args)-1], "image", "prune", "--force").CombinedOutput()
				require.NoError(t, err, "%s", out)
				resp = ask("HEAD", "http://"+location.Host+"/v2/app/blobs/"+digest.FromBytes(whole).String(), nil)
				require.Equal(t, http.StatusOK, resp.StatusCode)
			}
		})
	}
}
