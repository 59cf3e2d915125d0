package peers

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the results of the validation programs, and their table")

// reasons say why minirunc does not pass a validation program as a whole.
var reasons = map[string]string{
	"delete":         "The program wants `delete` to refuse a container that is created. Engines delete such ones, and runc, crun and minirunc do",
	"hooks":          "The program compares what the hooks wrote with something that they do not write",
	"prestart":       "The program wants prestart hooks to be run by `start`; since specification 1.0.2 `create` runs them",
	"poststart_fail": "The program wants a failed poststart hook to be passed over; specification 1.3 wants an error and the container stopped",
	"hooks_stdin": "The program wants the state `created` in a prestart hook's input, which runs while the container is being created: " +
		"the state is `creating`, as with runc",
	"linux_cgroups_blkio":            "Linux ≥ 5.0 has no leaf weights: a value that cannot be set is an error",
	"linux_cgroups_relative_blkio":   "Linux ≥ 5.0 has no leaf weights: a value that cannot be set is an error",
	"linux_cgroups_hugetlb":          "The machine has no controller hugetlb",
	"linux_cgroups_relative_hugetlb": "The machine has no controller hugetlb",
	"linux_cgroups_memory":           "Linux ≥ 5.16 has no limit on the kernel's memory; it is ignored, as the specification since 1.0.2 has it",
	"linux_cgroups_relative_memory":  "Linux ≥ 5.16 has no limit on the kernel's memory; it is ignored, as the specification since 1.0.2 has it",
	"linux_cgroups_network":          "The machine has no controllers net_cls and net_prio",
	"linux_cgroups_relative_network": "The machine has no controllers net_cls and net_prio",
	"linux_mount_label":              "The machine's kernel has no SELinux",
	"linux_process_apparmor_profile": "The machine's kernel has no AppArmor",
	"misc_props":                     "The program wants /runtimetest to be run from a bundle that has none",
	"mounts": "Linux ≥ 6.8 lists mounts by when they were made, and binds are made before the root is entered. They are attached in the " +
		"order of the configuration, which is what counts",
	"process_capabilities": "The program asks for all capabilities, and the machine's root has not all",
	"process_capabilities_fail": "The program wants an error for a capability that there is not; the specification since 1.0.2 wants a " +
		"warning",
	"process_rlimits": "The program is in Go, whose runtime raises the soft limit on open files",
	"start":           "The program wants a container without a process to be created, and its `start` to succeed",
}

// A validation is what a program's assertions came to.
type validation struct{ ok, notOK string }

// validations reads the results of a runtime.
func validations(t *testing.T, runtime string) map[string]validation {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "validation-"+runtime+".txt"))
	require.NoError(t, err)
	all := make(map[string]validation)
	program := ""
	for line := range strings.Lines(string(b)) {
		text, detail := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "\t")
		switch v := all[program]; {
		case !detail:
			program = text
		case strings.HasSuffix(text, " ok"):
			v.ok = text
			all[program] = v
		default:
			v.notOK += text + "\n"
			all[program] = v
		}
	}
	return all
}

func (v validation) String() string {
	failed := strings.Count(v.notOK, "not ok")
	switch {
	case failed > 0:
		return fmt.Sprintf("%s, %d not", v.ok, failed)
	case v.notOK != "":
		return v.ok + ", " + strings.TrimSpace(v.notOK)
	}
	return v.ok
}

// TestValidationTable compares cmd/minirunc/VALIDATION.md with the results, and wants a reason for each that is not passed.
func TestValidationTable(t *testing.T) {
	runc, minirunc := validations(t, "runc"), validations(t, "minirunc")
	require.ElementsMatch(t, slices.Collect(maps.Keys(runc)), slices.Collect(maps.Keys(minirunc)))
	var b strings.Builder
	b.WriteString(`# Validation

The validation programs of opencontainers/runtime-tools (v0.9.1-0.20250523060157-0ea5ed0382a2), run with Debian 12's runc 1.1.5
and with minirunc on the same machine (Linux 6.18, control groups v1): how many of a program's assertions are ok. A program with
none says nothing when it passes. Written by

    go test ./internal/peers -run TestValidation -update

| program | runc | minirunc | why not all |
|---|---|---|---|
`)
	for _, name := range slices.Sorted(maps.Keys(minirunc)) {
		why := reasons[name]
		if minirunc[name].notOK != "" {
			require.NotEmpty(t, why, "%s: %s", name, minirunc[name].notOK)
		} else {
			require.Empty(t, why, "%s passes: it needs no reason", name)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, runc[name], minirunc[name], why)
	}
	table := filepath.Join("..", "..", "cmd", "minirunc", "VALIDATION.md")
	if *update {
		require.NoError(t, os.WriteFile(table, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(table)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}
