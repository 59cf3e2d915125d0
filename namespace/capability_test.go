package namespace

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseCapability(t *testing.T) {
	for number, name := range capabilityNames {
		for _, spelt := range []string{name, strings.ToLower(name), name[4:], strings.ToLower(name[4:])} {
			c, err := ParseCapability(spelt)
			require.NoError(t, err, spelt)
			require.Equal(t, Capability(number), c, spelt)
			require.Equal(t, name, c.String())
		}
	}
	for _, name := range []string{"", "CAP_", "CAP_NOPE", "CAP_CAP_CHOWN", "ALL", "CHOWN ", "41"} {
		_, err := ParseCapability(name)
		var unknown *CapabilityUnknownError
		require.ErrorAs(t, err, &unknown, name)
		require.Equal(t, name, unknown.Name)
	}
	require.Len(t, capabilityNames, 41)
	require.Equal(t, "CAP_63", Capability(63).String())
}

func TestCapabilityNumbers(t *testing.T) {
	// Figures of linux/capability.h, one in each eighth.
	for name, number := range map[string]Capability{
		"CAP_CHOWN": 0, "CAP_SETUID": 7, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27, "CAP_SETFCAP": 31,
		"CAP_SYSLOG": 34, "CAP_AUDIT_READ": 37, "CAP_CHECKPOINT_RESTORE": 40,
	} {
		require.Equal(t, name, number.String())
	}
}

func TestCapabilitySet(t *testing.T) {
	set, err := ParseCapabilities("all")
	require.NoError(t, err)
	require.Equal(t, KnownCapabilities, set)
	require.Equal(t, "ALL", set.String())
	require.Equal(t, 41, set.Len())
	set.Drop(21, 64, 200)
	require.False(t, set.Has(21))
	require.False(t, set.Has(64))
	require.Equal(t, 40, set.Len())

	set, err = ParseCapabilities("net_raw", "CAP_CHOWN", "Chown")
	require.NoError(t, err)
	require.Equal(t, "CAP_CHOWN,CAP_NET_RAW", set.String())
	require.Equal(t, []string{"CAP_CHOWN", "CAP_NET_RAW"}, set.Names())
	before := set
	set.Add(64, 255)
	require.Equal(t, before, set)

	_, err = ParseCapabilities("CHOWN", "FLY", "SWIM")
	require.EqualError(t, err, "unknown capability \"FLY\"\nunknown capability \"SWIM\"")
	require.True(t, errors.As(err, new(*CapabilityUnknownError)))

	require.Empty(t, CapabilitySet(0).String())
	require.Empty(t, CapabilitySet(0).Names())
}

func TestDefaultCapabilities(t *testing.T) {
	require.Equal(t, []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE",
		"CAP_SETFCAP",
	}, DefaultCapabilities())
	require.Equal(t, DefaultCapabilities(), DefaultCapabilitySet().Names())
	require.GreaterOrEqual(t, LastCapability(), Capability(38))
}
