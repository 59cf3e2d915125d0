package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Several logins at once are all kept, and leave no lock.
func TestLoginsAtOnce(t *testing.T) {
	const n = 12
	dir := filepath.Join(t.TempDir(), "docker")
	path := filepath.Join(dir, "config.json")
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := SaveDockerCredential(t.Context(), path, fmt.Sprintf("r%d.example.com", i), Credential{Username: "u", Password: "p"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range n {
		c, err := DockerCredentials(path)(t.Context(), fmt.Sprintf("r%d.example.com", i))
		require.NoError(t, err)
		require.Equal(t, "u", c.Username, i)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
