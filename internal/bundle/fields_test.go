package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// wholes are configurations that together have every field of the specification that means something to a runtime for Linux. What
// cannot be in one with something else is in another.
var wholes = []string{`{
	"ociVersion": "1.3.0", "hostname": "box", "domainname": "domain", "annotations": {"k": "v"},
	"root": {"path": "rootfs", "readonly": true},
	"process": {
		"terminal": true, "consoleSize": {"height": 33, "width": 99}, "args": ["a", "b"], "env": ["A=B"], "cwd": "/tmp",
		"user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]},
		"capabilities": {
			"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]
		},
		"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}], "noNewPrivileges": true, "oomScoreAdj": 5,
		"apparmorProfile": "profile",
		"scheduler": {"policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
		"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}, "execCPUAffinity": {"initial": "0", "final": "1"}
	},
	"mounts": [{"destination": "/data", "type": "bind", "source": "data", "options": ["ro"],
		"uidMappings": [{"containerID": 1, "hostID": 2, "size": 3}], "gidMappings": [{"containerID": 4, "hostID": 5, "size": 6}]},
		{"destination": "/proc", "type": "proc", "source": "proc"}],
	"linux": {
		"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "time"}, {"type": "ipc"}, {"type": "network"}],
		"timeOffsets": {"boottime": {"secs": 1, "nanosecs": 2}}, "sysctl": {"kernel.msgmax": "1"}, "cgroupsPath": "/a/b",
		"netDevices": {"eth7": {"name": "eth0"}},
		"devices": [{"path": "/dev/x", "type": "b", "major": 1, "minor": 2, "fileMode": 438, "uid": 3, "gid": 4}],
		"seccomp": {
			"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 7, "architectures": ["SCMP_ARCH_X86"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
			"listenerPath": "/run/agent", "listenerMetadata": "for it",
			"syscalls": [
				{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9, "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]},
				{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}
			]
		},
		"rootfsPropagation": "slave", "maskedPaths": ["/m"], "readonlyPaths": ["/r"], "mountLabel": "mount_label",
		"memoryPolicy": {"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
		"personality": {"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]},
		"resources": {
			"devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
			"memory": {"limit": 67108864, "reservation": 33554432, "swap": 134217728, "kernelTCP": 4096, "swappiness": 5, "disableOOMKiller": true,
				"kernel": 1, "useHierarchy": true, "checkBeforeUpdate": true},
			"cpu": {"shares": 512, "quota": 1000, "burst": 500, "period": 20000, "realtimeRuntime": 5, "realtimePeriod": 10, "cpus": "0", "mems": "0",
				"idle": 1},
			"pids": {"limit": 7},
			"blockIO": {
				"weight": 100, "weightDevice": [{"major": 8, "minor": 1, "weight": 200}],
				"throttleReadBpsDevice": [{"major": 8, "minor": 2, "rate": 300}], "throttleWriteBpsDevice": [{"major": 8, "minor": 3, "rate": 400}],
				"throttleReadIOPSDevice": [{"major": 8, "minor": 4, "rate": 500}], "throttleWriteIOPSDevice": [{"major": 8, "minor": 5, "rate": 600}]
			},
			"hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}],
			"network": {"classID": 5, "priorities": [{"name": "eth0", "priority": 6}]},
			"rdma": {"mlx5_0": {"hcaHandles": 7, "hcaObjects": 8}},
			"unified": {"memory.high": "1"}
		}
	},
	"hooks": {
		"prestart": [{"path": "/1", "args": ["1"], "env": ["A=1"], "timeout": 1}],
		"createRuntime": [{"path": "/2", "args": ["2"], "env": ["A=2"], "timeout": 2}],
		"createContainer": [{"path": "/3", "args": ["3"], "env": ["A=3"], "timeout": 3}],
		"startContainer": [{"path": "/4", "args": ["4"], "env": ["A=4"], "timeout": 4}],
		"poststart": [{"path": "/5", "args": ["5"], "env": ["A=5"], "timeout": 5}],
		"poststop": [{"path": "/6", "args": ["6"], "env": ["A=6"], "timeout": 6}]
	}
}`, `{
	"ociVersion": "1.3.0", "root": {"path": "rootfs"},
	"process": {"args": ["a"], "cwd": "/", "selinuxLabel": "label",
		"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 10000000, "deadline": 20000000, "period": 30000000}},
	"linux": {"namespaces": [{"type": "mount"}, {"type": "ipc", "path": "/proc/self/ns/ipc"}]}
}`, `{
	"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"args": ["a"], "cwd": "/", "scheduler": {"policy": "SCHED_FIFO", "priority": 5}},
	"linux": {
		"namespaces": [{"type": "mount"}, {"type": "user"}],
		"uidMappings": [{"containerID": 7, "hostID": 100000, "size": 5}, {"containerID": 0, "hostID": 200000, "size": 7}],
		"gidMappings": [{"containerID": 7, "hostID": 100000, "size": 5}, {"containerID": 0, "hostID": 300000, "size": 7}]
	}
}`}

// refused are the fields, or what they are below, that there is an error for that names them, with what follows "linux" in a
// configuration that has them.
var refused = map[string]string{
	"linux.intelRdt": `{"intelRdt": {"closID": "x", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50",
		"enableMonitoring": true}}`,
	"linux.resources.blockIO.leafWeight":                 `{"resources": {"blockIO": {"leafWeight": 5}}}`,
	"linux.resources.blockIO.weightDevice[0].leafWeight": `{"resources": {"blockIO": {"weightDevice": [{"major": 8, "minor": 1, "leafWeight": 5}]}}}`,
	"vm": `{}, "vm": {"hypervisor": {"path": "/bin/vmm"}, "kernel": {"path": "/boot/vmlinuz"}}`,
}

// passedOver are the fields that the specification lets a runtime for Linux pass over.
var passedOver = map[string]string{
	"process.user.username": "Windows", "process.commandLine": "Windows",
	"windows": "another platform", "solaris": "another platform", "zos": "another platform", "freebsd": "another platform",
	"linux.resources.memory.kernel": "NOT RECOMMENDED since 1.0.2, and Linux ≥ 5.16 has no such limit",
}

// usedLater are the fields that the command reads when the container is there already: the tests that show it.
var usedLater = map[string][2]string{
	"annotations":                    {"cmd/minirunc/create_linux_test.go", "TestHooks"},
	"hooks":                          {"cmd/minirunc/create_linux_test.go", "TestHooks"},
	"linux.netDevices":               {"cmd/minirunc/terminal_linux_test.go", "TestNetDevices"},
	"linux.seccomp.listenerPath":     {"container/listener_linux_test.go", "TestSeccompListenerPath"},
	"linux.seccomp.listenerMetadata": {"container/listener_linux_test.go", "TestSeccompListenerPath"},
	"process.execCPUAffinity":        {"internal/bundle/fields_test.go", "TestExecFields"},
	// What is true of every control group here; false is refused.
	"linux.resources.memory.useHierarchy": {"container/spec_resources_test.go", "TestSpecResourcesRefused"},
	// An update never goes another way here.
	"linux.resources.memory.checkBeforeUpdate": {"cgroups/update_linux_test.go", "TestMemoryBelowUse"},
}

// below says whether a field is one of the map, or below one.
func below[T any](all map[string]T, field string) (key string, ok bool) {
	for key := range all {
		if rest, is := strings.CutPrefix(field, key); is && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return key, true
		}
	}
	return "", false
}

// leaves calls f with the path of each field of a type that has no fields itself. "[0]" is an element of a list, "*" a key.
func leaves(t reflect.Type, path string, f func(path string)) {
	switch t.Kind() {
	case reflect.Pointer:
		leaves(t.Elem(), path, f)
		return
	case reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case field.Anonymous && name == "":
				leaves(field.Type, path, f)
			default:
				leaves(field.Type, strings.TrimPrefix(path+"."+name, "."), f)
			}
		}
		return
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			leaves(t.Elem(), path+"[0]", f)
			return
		}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Struct {
			leaves(t.Elem(), path+".*", f)
			return
		}
	}
	f(path)
}

// without is the document without the field, and false if that has none.
func without(document, path string) (string, bool) {
	var whole any
	if err := json.Unmarshal([]byte(document), &whole); err != nil {
		panic(err)
	}
	at := whole
	steps := strings.Split(strings.ReplaceAll(path, "[0]", ".0"), ".")
	for i, step := range steps {
		switch v := at.(type) {
		case []any:
			at = v[0]
			if strings.HasSuffix(path, "namespaces[0].path") {
				at = v[len(v)-1]
			}
		case map[string]any:
			if step == "*" {
				for step = range v {
					break
				}
			}
			next, ok := v[step]
			if !ok {
				return "", false
			}
			if i == len(steps)-1 {
				delete(v, step)
			}
			at = next
		default:
			return "", false
		}
	}
	b, err := json.Marshal(whole)
	if err != nil {
		panic(err)
	}
	return string(b), true
}

// A translated is all that a configuration becomes, but for functions and open files.
type translated struct {
	launch    namespace.Launch
	joined    [8]bool
	functions [2]bool
	resources *cgroups.Resources
	group     string
}

func translate(config, dir string) (v translated, err error) {
	b, err := Parse([]byte(config), dir)
	if err != nil {
		return v, err
	}
	if v.resources, err = b.Resources(); err != nil {
		return v, err
	}
	if v.group, err = b.CgroupPath("id"); err != nil {
		return v, err
	}
	l, err := b.Launch(&Options{})
	if err != nil {
		return v, err
	}
	defer l.Close()
	v.launch = *l.Launch
	n := &v.launch.Namespaces
	for i, to := range []*namespace.Namespace{&n.Mount, &n.PID, &n.Network, &n.IPC, &n.UTS, &n.Cgroup, &n.User, &n.Time} {
		v.joined[i] = to.Join != nil
		to.Join = nil
	}
	v.functions = [2]bool{v.launch.BeforeRoot != nil, v.launch.SeccompNotify != nil}
	v.launch.BeforeRoot, v.launch.SeccompNotify = nil, nil
	return v, nil
}

// TestEachField: each field of the specification changes what is started, or is refused by an error that names it, or there is a reason.
func TestEachField(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"rootfs", "data"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	var want []translated
	for _, w := range wholes {
		v, err := translate(w, dir)
		require.NoError(t, err)
		again, err := translate(w, dir)
		require.NoError(t, err)
		require.Equal(t, v, again, "the same each time")
		want = append(want, v)
	}
	applied := 0
	leaves(reflect.TypeFor[specs.Spec](), "", func(field string) {
		if _, ok := below(passedOver, field); ok {
			return
		}
		if key, ok := below(refused, field); ok {
			_, err := translate(strings.Replace(least, `"linux":{}`, `"linux":`+refused[key], 1), dir)
			var named *FieldError
			require.ErrorAs(t, err, &named, field)
			require.Equal(t, key, named.Field, field)
			return
		}
		if _, ok := below(usedLater, field); ok {
			return
		}
		found, changes := false, false
		for i, w := range wholes {
			config, ok := without(w, field)
			if !ok {
				continue
			}
			found = true
			v, err := translate(config, dir)
			changes = changes || err != nil || !reflect.DeepEqual(v, want[i])
		}
		if !found {
			t.Errorf("%s: nobody says what becomes of it", field)
		} else if !changes {
			t.Errorf("%s: it changes nothing", field)
		}
		applied++
	})
	t.Logf("%d fields are applied", applied)
	for field, test := range usedLater {
		b, err := os.ReadFile(filepath.Join("../..", test[0]))
		require.NoError(t, err)
		require.Regexp(t, regexp.MustCompile(`(?m)^func `+test[1]+`\(`), string(b), field)
	}
}

// TestExecFields: a process that is executed in the container has the affinity of its own.
func TestExecFields(t *testing.T) {
	b, err := Parse([]byte(wholes[0]), t.TempDir())
	require.NoError(t, err)
	l, err := b.Process(b.Spec.Process, &Options{})
	require.NoError(t, err)
	require.Equal(t, &specs.CPUAffinity{Initial: "0", Final: "1"}, l.CPUAffinity)
	b.Spec.Process.ExecCPUAffinity = nil
	l, err = b.Process(b.Spec.Process, &Options{})
	require.NoError(t, err)
	require.Nil(t, l.CPUAffinity)
}
