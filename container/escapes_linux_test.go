package container_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// An escape is a way that containers of one engine or another were left by. try makes a container that goes it, and fails
// the test if it gets anywhere.
type escape struct {
	id  string // the CVE, or a name
	try func(t *testing.T)
}

// escapes are tried against this package. SECURITY.md lists them, and those that other packages try.
var escapes = []escape{
	{"CVE-2016-9962", escapeByEntering},
	{"CVE-2017-5226", escapeByTyping},
	{"CVE-2019-5736", escapeByExecutable},
	{"CVE-2019-14271", escapeByLibrary},
	{"CVE-2019-16884", escapeByVolumeOnProc},
	{"CVE-2019-19921", escapeBySharedVolume},
	{"CVE-2020-15257", escapeByAbstractSocket},
	{"CVE-2021-25741", escapeByExchangedSubpath},
	{"CVE-2021-30465", escapeByExchangedTarget},
	{"CVE-2022-0492", escapeByReleaseAgent},
	{"CVE-2022-24769", escapeByInheritable},
	{"CVE-2022-29162", escapeByInheritableExec},
	{"CVE-2022-36109", escapeByGroups},
	{"CVE-2023-25809", escapeByCgroups},
	{"CVE-2023-27561", escapeByLinkedProc},
	{"CVE-2023-28642", escapeByLinkedSys},
	{"CVE-2024-21626", escapeByWorkingDirectory},
	{"CVE-2024-40635", escapeByLargeUser},
	{"CVE-2024-45310", escapeByMissingTarget},
	{"CVE-2025-31133", escapeByDevNull},
	{"CVE-2025-52565", escapeByConsole},
	{"CVE-2025-52881", escapeByRedirectedSysctl},
	{"CVE-2026-31431", escapeByCryptoSocket},
	{"CVE-2026-41579", escapeByLinkedDev},
	{"core_pattern", escapeByCorePattern},
	{"chroot", escapeByChroot},
}

func TestEscapes(t *testing.T) {
	for _, e := range escapes {
		t.Run(e.id, e.try)
	}
}

// TestEscapesFromUserNamespace makes attacks in a user namespace, by a process that has all capabilities there and no filter.
func TestEscapesFromUserNamespace(t *testing.T) {
	host := filepath.Join(t.TempDir(), "of-the-host")
	require.NoError(t, os.WriteFile(host, nil, 0o644))
	for _, args := range [][]string{
		{"proc", host}, {"chroot", host}, {"cgroup", "release_agent"},
		{"write", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"},
	} {
		c := attacker(t, args...)
		c.UIDMappings, c.GIDMappings = idMaps, idMaps
		c.CapAdd, c.NoSeccomp = []string{"ALL"}, true
		requireHeld(t, c)
	}
}

// TestSecurityTable holds SECURITY.md's table against the tests: every escape has a row, and every test that a row names is
// there.
func TestSecurityTable(t *testing.T) {
	if testenv.VM() {
		t.Skip("the sources are not here")
	}
	b, err := os.ReadFile("../SECURITY.md")
	require.NoError(t, err)
	rows := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.Contains(cells[4], "`Test") {
			rows[strings.TrimSpace(cells[1])] = cells[4]
		}
	}
	for _, e := range escapes {
		require.Contains(t, rows[e.id], "`TestEscapes/"+e.id+"`")
	}
	test := regexp.MustCompile("([a-z/]+) `(Test[A-Za-z0-9_]+)(/[^`]*)?`")
	for id, cell := range rows {
		named := test.FindAllStringSubmatch(cell, -1)
		require.NotEmpty(t, named, id)
		for _, n := range named {
			require.True(t, declares(t, filepath.Join("..", n[1]), n[2]), "%s: %s has no %s", id, n[1], n[2])
		}
	}
}

// declares tells whether a test is in the folder of a package.
func declares(t *testing.T, dir, name string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

// attacker returns a container that makes the attack.
func attacker(t *testing.T, args ...string) *container.Container {
	return newContainer(t, append([]string{"attack"}, args...)...)
}

// requireHeld runs the attack, which must have been made and have led nowhere.
func requireHeld(t *testing.T, c *container.Container) {
	t.Helper()
	out, err := c.CombinedOutput(t.Context())
	require.Equal(t, "held\n", string(out))
	require.NoError(t, err)
}
