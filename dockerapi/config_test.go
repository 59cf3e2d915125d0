package dockerapi

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
)

// clients are fields that say nothing of the container: what the client does with it, and, of endpoints and resources, answers.
var clients = map[string]bool{
	"Config.AttachStdin": true, "Config.AttachStdout": true, "Config.AttachStderr": true, "HostConfig.ContainerIDFile": true,
	"HostConfig.ConsoleSize":     true, // of the first start: see consoles
	"EndpointSettings.NetworkID": true, "EndpointSettings.EndpointID": true, "EndpointSettings.Gateway": true, "EndpointSettings.IPAddress": true,
	"EndpointSettings.IPPrefixLen": true, "EndpointSettings.IPv6Gateway": true, "EndpointSettings.GlobalIPv6Address": true,
	"EndpointSettings.GlobalIPv6PrefixLen": true, "EndpointSettings.DNSNames": true,
	"Mount.Consistency": true, // for Docker of macOS; here they are all one
}

// wanted values of fields where one that a kind of Go has does not do.
var fieldValues = map[string]any{
	"Config.Healthcheck":           &container.HealthConfig{Test: []string{"CMD", "true"}},
	"Config.ExposedPorts":          network.PortSet{network.MustParsePort("80"): {}},
	"Config.Volumes":               map[string]struct{}{"/v": {}},
	"HostConfig.Binds":             []string{"/a:/b"},
	"HostConfig.LogConfig":         container.LogConfig{Type: "syslog"},
	"HostConfig.PortBindings":      network.PortMap{network.MustParsePort("80"): {{HostPort: "8080"}}},
	"HostConfig.RestartPolicy":     container.RestartPolicy{Name: "always"},
	"HostConfig.SecurityOpt":       []string{"no-new-privileges"},
	"HostConfig.DNS":               []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	"HostConfig.Devices":           []container.DeviceMapping{{PathOnHost: "/dev/null", PathInContainer: "/dev/x"}},
	"HostConfig.DeviceCgroupRules": []string{"c 1:3 r"},
	"HostConfig.DeviceRequests":    []container.DeviceRequest{{Driver: "cdi", DeviceIDs: []string{"a/b=c"}}},
	"HostConfig.Ulimits":           []*units.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}},
	"HostConfig.BlkioWeightDevice": []*blkiodev.WeightDevice{{Path: "/nothing", Weight: 10}},
	"HostConfig.Mounts":            []mount.Mount{{Type: mount.TypeTmpfs, Target: "/t"}},
	"HostConfig.Isolation":         container.IsolationHyperV,
	"EndpointSettings.IPAMConfig":  &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("192.0.2.1")},
	"EndpointSettings.MacAddress":  network.HardwareAddr{2, 0, 0, 0, 0, 1},
	"Mount.Type":                   mount.TypeNamedPipe,
	"Mount.Consistency":            mount.ConsistencyCached,
	"Mount.BindOptions":            &mount.BindOptions{NonRecursive: true},
	"Mount.VolumeOptions":          &mount.VolumeOptions{NoCopy: true},
	"Mount.TmpfsOptions":           &mount.TmpfsOptions{SizeBytes: 1},
	"Mount.ImageOptions":           &mount.ImageOptions{Subpath: "x"},
	"BindOptions.Propagation":      mount.PropagationRShared,
	"VolumeOptions.DriverConfig":   &mount.Driver{Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}},
}

// some returns a value of a type that is not zero.
func some(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(some(t.Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, some(t.Elem())))
	case reflect.Array:
		v.Index(0).Set(some(t.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(some(t.Key()), some(t.Elem()))
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(some(t.Field(i).Type))
				break
			}
		}
	}
	return v
}

// eachField calls f for each field of a structure, those of embedded ones as its own, with that field alone set in *at.
func eachField(name string, v reflect.Value, f func(name string)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			eachField(name, v.Field(i), f)
			continue
		}
		if !field.IsExported() {
			continue
		}
		full := name + "." + field.Name
		was := reflect.New(field.Type).Elem()
		was.Set(v.Field(i))
		if value, ok := fieldValues[full]; ok {
			v.Field(i).Set(reflect.ValueOf(value))
		} else {
			v.Field(i).Set(some(field.Type))
		}
		f(full)
		v.Field(i).Set(was)
	}
}

// TestEveryField: of what a client can ask for nothing is passed over: it is applied, or refused.
func TestEveryField(t *testing.T) {
	s := &Server{}
	fresh := func() *createBody {
		return &createBody{Config: &container.Config{Image: "i"}, HostConfig: &hostConfig{}, NetworkingConfig: &network.NetworkingConfig{}}
	}
	result := func(b *createBody) (string, error) {
		c, err := s.configOf(b)
		if err != nil {
			return "", err
		}
		j, err := json.Marshal(c)
		require.NoError(t, err)
		return string(j), nil
	}
	looked := 0
	walk := func(name string, b *createBody, part any) {
		plain, err := result(b)
		require.NoError(t, err, name)
		eachField(name, reflect.ValueOf(part).Elem(), func(field string) {
			looked++
			with, err := result(b)
			if err == nil && with == plain && !clients[field] {
				t.Errorf("%s is passed over", field)
			}
			if (err != nil || with != plain) && clients[field] {
				t.Errorf("%s is said to be the client's, but %q, %v", field, with, err)
			}
		})
	}
	b := fresh()
	walk("Config", b, b.Config)
	walk("HostConfig", b, b.HostConfig)
	endpoint := &network.EndpointSettings{}
	b.NetworkingConfig.EndpointsConfig = map[string]*network.EndpointSettings{"bridge": endpoint}
	walk("EndpointSettings", b, endpoint)
	for kind, part := range map[mount.Type]func(*mount.Mount) any{
		mount.TypeTmpfs:  func(m *mount.Mount) any { m.TmpfsOptions = &mount.TmpfsOptions{}; return m.TmpfsOptions },
		mount.TypeBind:   func(m *mount.Mount) any { m.BindOptions = &mount.BindOptions{}; return m.BindOptions },
		mount.TypeVolume: func(m *mount.Mount) any { m.VolumeOptions = &mount.VolumeOptions{}; return m.VolumeOptions },
		mount.TypeImage:  func(m *mount.Mount) any { m.ImageOptions = &mount.ImageOptions{}; return m.ImageOptions },
	} {
		b := fresh()
		b.HostConfig.Mounts = []mount.Mount{{Type: kind, Target: "/t"}}
		m := &b.HostConfig.Mounts[0]
		walk("Mount", b, m)
		options := part(m)
		walk(reflect.TypeOf(options).Elem().Name(), b, options)
	}
	b = fresh()
	old, err := result(b)
	require.NoError(t, err)
	b.MacAddress = "02:00:00:00:00:01"
	with, err := result(b)
	require.NoError(t, err)
	require.NotEqual(t, old, with)
	require.Greater(t, looked, 130)

	// And of updates.
	u := &updateBody{}
	none, err := updateOf(u)
	require.NoError(t, err)
	fields := 0
	eachField("HostConfig", reflect.ValueOf(u).Elem(), func(field string) {
		fields++
		if with, err := updateOf(u); err == nil && reflect.DeepEqual(with, none) {
			t.Errorf("UpdateConfig: %s is passed over", field)
		}
	})
	require.Greater(t, fields, 25)
}

// TestConfigBack: what `docker inspect` shows is what was asked for.
func TestConfigBack(t *testing.T) {
	s := &Server{}
	swappiness, pids, init := int64(7), int64(9), true
	h := &container.HostConfig{
		Binds: []string{"/a:/b:ro", "vol:/c"}, NetworkMode: "bridge", PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {{HostPort: "8080-8090"}}},
		RestartPolicy: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}, VolumesFrom: []string{"other"}, CapAdd: []string{"NET_ADMIN"},
		CapDrop: []string{"ALL"}, DNS: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, DNSSearch: []string{"example"}, ExtraHosts: []string{"x:192.0.2.2"},
		GroupAdd: []string{"9"}, IpcMode: "host", PidMode: "host", UTSMode: "host", OomScoreAdj: 5, Privileged: true, PublishAllPorts: true, ReadonlyRootfs: true,
		SecurityOpt: []string{"no-new-privileges", "seccomp=unconfined"}, Tmpfs: map[string]string{"/t": "size=1m"}, ShmSize: 1 << 20,
		Sysctls: map[string]string{"net.a": "1"}, Init: &init, Runtime: runtimeName, MaskedPaths: []string{}, ReadonlyPaths: []string{},
		LogConfig: container.LogConfig{Type: "local", Config: map[string]string{"max-size": "1m"}}, CgroupnsMode: "host",
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: "/s", Target: "/m", BindOptions: &mount.BindOptions{Propagation: mount.PropagationRSlave}},
			{Type: mount.TypeTmpfs, Target: "/u", ReadOnly: true, TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 4096}},
		},
		Resources: container.Resources{
			CPUShares: 3, Memory: 64 << 20, MemorySwap: -1, NanoCPUs: 1500000000, CpusetCpus: "0", MemorySwappiness: &swappiness, PidsLimit: &pids,
			BlkioWeight: 100, CgroupParent: "/x", Ulimits: []*container.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}}, DeviceCgroupRules: []string{"c 1:3 rwm", "b *:* r"},
			Devices: []container.DeviceMapping{{PathOnHost: "/dev/null", PathInContainer: "/dev/x", CgroupPermissions: "r"}},
		},
	}
	cfg := &container.Config{
		Hostname: "h", Domainname: "d", User: "u", Env: []string{"A=b"}, Cmd: []string{"c"}, Image: "i", WorkingDir: "/w", Entrypoint: []string{"e"},
		Labels: map[string]string{"l": "m"}, StopSignal: "INT", Volumes: map[string]struct{}{"/anonymous": {}}, Tty: true, OpenStdin: true,
		ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}}, AttachStdout: true, AttachStderr: true,
	}
	c, err := s.configOf(&createBody{Config: cfg, HostConfig: &hostConfig{HostConfig: *h}})
	require.NoError(t, err)
	made := &engine.Container{Config: *c, Hostname: c.Hostname, User: c.User, Env: c.Env, Dir: c.Dir, Labels: c.Labels, Exposed: c.Expose}
	require.Equal(t, h, s.hostConfigOf(made))
	require.Equal(t, cfg, configOfContainer(made))
}

func TestModesOfContainer(t *testing.T) {
	c := &engine.Config{}
	require.NoError(t, addIsolation(c, &container.HostConfig{PidMode: "container:x", IpcMode: "container:y"}))
	require.Equal(t, []string{"container:x", "container:y"}, []string{c.PIDMode, c.IPCMode})
}

func TestLogDriverNone(t *testing.T) {
	err := addHostConfig(&engine.Config{}, &container.HostConfig{LogConfig: container.LogConfig{Type: "none"}})
	require.ErrorContains(t, err, "not implemented: HostConfig.LogConfig.Type: none")
}
