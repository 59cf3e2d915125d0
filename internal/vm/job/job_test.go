package job_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/vm/job"
)

const token = "vm-TOKEN"

func TestFollow(t *testing.T) {
	var console, shown bytes.Buffer
	console.WriteString("[    0.1] booting\r\n")
	require.NoError(t, job.Begin(&console, token, "a"))
	console.WriteString("vm-OTHER end a 0 1s\r\nPASS, without an end of line ")
	require.NoError(t, job.End(&console, token, "a", 0, 1500*time.Millisecond))
	require.NoError(t, job.Begin(&console, token, "b"))
	console.WriteString("FAIL\r\n")
	require.NoError(t, job.End(&console, token, "b", 2, time.Second))
	require.NoError(t, job.Done(&console, token))
	console.WriteString("[    9.9] power off")

	results, begun, done := job.Follow(&console, token, &shown)
	require.Equal(t, []job.Result{{Name: "a", Took: "1.5s"}, {Name: "b", Code: 2, Took: "1s"}}, results)
	require.Empty(t, begun)
	require.True(t, done)
	require.Equal(t, []string{
		"[    0.1] booting", "vm-OTHER end a 0 1s", "PASS, without an end of line ", "FAIL", "[    9.9] power off", "",
	}, strings.Split(shown.String(), "\n"))
}

func TestFollowToAnEarlyEnd(t *testing.T) {
	results, begun, done := job.Follow(strings.NewReader("\n"+token+" begin a\r\nKernel panic"), token, &bytes.Buffer{})
	require.Empty(t, results)
	require.Equal(t, "a", begun)
	require.False(t, done)
}

func TestFollowReadsNoCodeAsFailure(t *testing.T) {
	results, _, done := job.Follow(strings.NewReader(token+" end a x 1s\n"), token, &bytes.Buffer{})
	require.Equal(t, []job.Result{{Name: "a", Code: 1, Took: "1s"}}, results)
	require.False(t, done)
}
