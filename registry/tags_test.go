package registry

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTags(t *testing.T) {
	c := newClient(t)
	store := new(MemoryStore)
	ref := parse(t, newServer(t, &Server{Store: store})+"/app")
	manifest, _ := pushImage(t, c, ref, []byte("x"))
	var want []string
	for i := range 2500 {
		want = append(want, fmt.Sprintf("v%04d", i))
	}
	require.NoError(t, store.PutManifest(t.Context(), "app", &StoredManifest{Descriptor: describing("", manifest), Content: manifest, Tags: want}))
	got, err := c.Tags(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, append([]string{"latest"}, want...), got)
}

func TestHostileTags(t *testing.T) {
	for name, test := range map[string]struct {
		link, body, want string
	}{
		"circle":        {`</v2/app/tags/list?last=a>; rel="next"`, `{"tags":["a"]}`, "circle"},
		"other origin":  {`<http://127.0.0.1:1/v2/app/tags/list>; rel="next"`, `{"tags":["a"]}`, "another origin"},
		"bad link":      {`nonsense`, `{"tags":["a"]}`, "malformed"},
		"bad tag":       {"", `{"tags":["../../etc"]}`, "which is none"},
		"not JSON":      {"", `tags`, "not JSON"},
		"large":         {"", `{"tags":["` + strings.Repeat("a", maxTagPage) + `"]}`, "longer than"},
		"endless pages": {"count", `{"tags":["a"]}`, "more than 1000 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				link := test.link
				if link == "count" {
					link = fmt.Sprintf(`</v2/app/tags/list?last=a%d>; rel="next"`, n.Add(1))
				}
				w.Header().Set("Link", link)
				fmt.Fprint(w, test.body)
			}))
			_, err := newClient(t).Tags(t.Context(), parse(t, host+"/app"))
			require.ErrorContains(t, err, test.want)
		})
	}
}
