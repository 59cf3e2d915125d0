package image

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestHealthcheck(t *testing.T) {
	for _, h := range []*Healthcheck{
		nil, {}, {Test: []string{"NONE"}}, {Test: []string{"CMD", "a", ""}}, {Test: []string{"CMD-SHELL", "a"}}, {Test: []string{"CMD-SHELL", "a", "b"}},
		{Interval: time.Millisecond, Timeout: time.Hour, StartPeriod: 1e6, StartInterval: 1e6, Retries: 1},
	} {
		require.NoError(t, h.Validate(), "%+v", h)
	}
	for want, h := range map[string]*Healthcheck{
		"Interval in":           {Interval: 1},
		"Timeout in":            {Timeout: -time.Second},
		"StartPeriod in":        {StartPeriod: 999999},
		"StartInterval in":      {StartInterval: -1},
		"Retries in":            {Retries: -1},
		"CMD with 0":            {Test: []string{"CMD"}},
		"CMD with 1":            {Test: []string{"CMD", ""}},
		"CMD-SHELL with 0":      {Test: []string{"CMD-SHELL"}},
		"NONE with 1 arguments": {Test: []string{"NONE", "a"}},
		`unknown type "cmd"`:    {Test: []string{"cmd", "a"}},
	} {
		err := h.Validate()
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, " in Healthcheck")
	}
	for want, test := range map[bool][]string{true: {"CMD", "a"}, false: {"NONE"}} {
		require.Equal(t, want, (&Healthcheck{Test: test}).Probes())
	}
	require.False(t, (&Healthcheck{}).Probes())
	require.False(t, (*Healthcheck)(nil).Probes())

	below := &Healthcheck{Test: []string{"CMD", "a"}, Interval: 1, Timeout: 2, StartPeriod: 3, StartInterval: 4, Retries: 5}
	require.Nil(t, (*Healthcheck)(nil).Over(nil))
	require.Equal(t, below, (*Healthcheck)(nil).Over(below))
	require.Equal(t, below, below.Over(nil))
	require.Equal(t, below, (&Healthcheck{}).Over(below))
	full := &Healthcheck{Test: []string{"NONE"}, Interval: 10, Timeout: 20, StartPeriod: 30, StartInterval: 40, Retries: 50}
	require.Equal(t, full, full.Over(below))
	require.Equal(t, &Healthcheck{Test: below.Test, Interval: 1, Timeout: 20, StartPeriod: 3, StartInterval: 4, Retries: 5}, (&Healthcheck{Timeout: 20}).Over(below))
}

// TestCommitHealthcheck: a check is in the configuration as Docker writes it, and read from there.
func TestCommitHealthcheck(t *testing.T) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	check := &Healthcheck{Test: []string{"CMD-SHELL", "a <b"}, Interval: time.Second, Retries: 2}
	tar := writes(testLayer{"a": "1"}.tar(t))
	_, err := s.Commit(t.Context(), tar, &CommitOptions{Healthcheck: &Healthcheck{Retries: -1}})
	require.ErrorIs(t, err, ErrInvalid)
	first, err := s.Commit(t.Context(), tar, &CommitOptions{Healthcheck: check})
	require.NoError(t, err)
	require.Contains(t, string(first.ConfigJSON), `"Healthcheck":{"Test":["CMD-SHELL","a <b"],"Interval":1000000000,"Retries":2}`)
	got, shell, err := first.Healthcheck()
	require.NoError(t, err)
	require.Equal(t, check, got)
	require.Nil(t, shell)
	// One on top of it keeps it, unless an instruction says otherwise.
	second, err := s.Commit(t.Context(), tar, &CommitOptions{Parent: first, Changes: []string{"HEALTHCHECK NONE"}})
	require.NoError(t, err)
	got, _, err = second.Healthcheck()
	require.NoError(t, err)
	require.Equal(t, &Healthcheck{Test: []string{"NONE"}}, got)

	_, shell, err = (&Image{ConfigJSON: []byte(`{"config":{"Shell":["/bin/bash","-c"]}}`)}).Healthcheck()
	require.NoError(t, err)
	require.Equal(t, []string{"/bin/bash", "-c"}, shell)
	for _, wrong := range []string{`{"config":{"Healthcheck":{"Interval":"1s"}}}`, `{"config":{"Healthcheck":[]}}`, `{"config":{"Shell":"sh"}}`} {
		require.True(t, json.Valid([]byte(wrong)))
		_, _, err := (&Image{ConfigJSON: []byte(wrong)}).Healthcheck()
		require.ErrorIs(t, err, ErrInvalid, wrong)
	}
}
