package bundle

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

const least = `{"ociVersion":"1.3.0","process":{"args":["true"],"cwd":"/"},"root":{"path":"rootfs"},"linux":{}}`

func TestParse(t *testing.T) {
	b, err := Parse([]byte(least), "/bundle")
	require.NoError(t, err)
	require.Equal(t, "/bundle/rootfs", b.Rootfs())
}

func TestParseNamesTheField(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{}`, "ociVersion"},
		{`{"ociVersion":"2.0.0"}`, "ociVersion"},
		{`{"ociVersion":"1.0.0"}`, "root.path"},
		{`{"ociVersion":"1.0.0","process":{"cwd":7}}`, "process.cwd"},
	} {
		_, err := Parse([]byte(c.config), "/bundle")
		var field *FieldError
		require.True(t, errors.As(err, &field), "%s: %v", c.config, err)
		require.Equal(t, c.want, field.Field, c.config)
	}
	_, err := Parse([]byte(least+"{}"), "/bundle")
	require.ErrorContains(t, err, "after top-level value")
}

func TestSeemsNetworked(t *testing.T) {
	for config, want := range map[string]bool{
		"": false, `{"linux":{"namespaces":[{"type":"network"}]}}`: true, "[{\"type\": \"network\"\n\t}]": true,
		`[{"type":"network","path":"/n"}]`: false, `[{"type":"mount"}]`: false, `{"network"`: false,
		`{"annotations":{"a":"network","b":""},"linux":{"namespaces":[{"type":"network"}]}}`: true,
	} {
		require.Equal(t, want, SeemsNetworked([]byte(config)), config)
	}
}
