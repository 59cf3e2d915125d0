package dockerapi

import (
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"

	"github.com/caisson-engine/caisson/container/cdi"
)

func (s *Server) systemRoutes() {
	s.handle("GET /_ping", s.ping)
	s.handle("GET /version", s.getVersion)
	s.handle("GET /info", s.getInfo)
	s.handle("GET /events", s.events)
	s.handle("GET /system/df", s.getDiskUsage)
	s.absent("swarm", "/swarm", "/swarm/{rest...}", "/nodes", "/nodes/{rest...}", "/services", "/services/{rest...}", "/tasks", "/tasks/{rest...}",
		"/secrets", "/secrets/{rest...}", "/configs", "/configs/{rest...}")
	s.handle("GET /plugins/{name}/json", func(_ http.ResponseWriter, r *http.Request) error { // docker inspect asks of any name
		return failure(http.StatusNotFound, "plugin %q not found", r.PathValue("name"))
	})
	s.handle("GET /plugins", func(w http.ResponseWriter, _ *http.Request) error { return writeJSON(w, http.StatusOK, []string{}) })
	s.absent("plugins", "/plugins", "/plugins/{rest...}")
}

func (s *Server) ping(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Builder-Version", "1") // no BuildKit
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("OK"))
	return nil
}

// version is the server's.
func (s *Server) version() string {
	if s.Version != "" {
		return s.Version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return strings.Trim(b.Main.Version, "()")
	}
	return "unknown"
}

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) error {
	v := &system.VersionResponse{
		Platform: system.PlatformInfo{Name: "caisson"}, Version: s.version(), APIVersion: MaxVersion, MinAPIVersion: MinVersion,
		Os: runtime.GOOS, Arch: runtime.GOARCH, GoVersion: runtime.Version(), KernelVersion: kernelVersion(), GitCommit: "unknown",
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, set := range b.Settings {
			switch set.Key {
			case "vcs.revision":
				v.GitCommit = set.Value
			case "vcs.time":
				v.BuildTime = set.Value
			}
		}
	}
	v.Components = []system.ComponentVersion{{
		Name: "Engine", Version: v.Version,
		Details: map[string]string{
			"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Arch": v.Arch, "BuildTime": v.BuildTime, "Experimental": "false",
			"GitCommit": v.GitCommit, "GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion, "Os": v.Os,
		},
	}}
	return writeJSON(w, http.StatusOK, v)
}

func kernelVersion() string { return firstLine("/proc/sys/kernel/osrelease") }

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

func (s *Server) getInfo(w http.ResponseWriter, r *http.Request) error {
	i, err := s.Engine.Info(r.Context())
	if err != nil {
		return err
	}
	info := &system.Info{
		ID: i.Root, Containers: i.Containers, ContainersRunning: i.Running, ContainersStopped: i.Created + i.Ended, Images: i.Images,
		Driver: "overlay", DriverStatus: [][2]string{}, LoggingDriver: "json-file", CgroupDriver: i.CgroupManager,
		CgroupVersion: map[bool]string{true: "2", false: "1"}[i.CgroupMode == "v2"],
		Plugins: system.PluginsInfo{
			Volume: []string{"local"}, Network: []string{"bridge", "host", "ipvlan", "macvlan", "null"}, Log: []string{"json-file"},
		},
		MemoryLimit: true, SwapLimit: true, CPUCfsPeriod: true, CPUCfsQuota: true, CPUShares: true, CPUSet: true, PidsLimit: true,
		IPv4Forwarding: firstLine("/proc/sys/net/ipv4/ip_forward") == "1",
		SystemTime:     time.Now().Format(time.RFC3339Nano), KernelVersion: i.KernelVersion, OperatingSystem: operatingSystem(),
		OSType: i.OSType, Architecture: machine(i.Architecture), NCPU: i.CPUs, MemTotal: memoryTotal(), NGoroutines: runtime.NumGoroutine(),
		IndexServerAddress: "https://index.docker.io/v1/", DockerRootDir: i.Root, Labels: []string{}, ServerVersion: s.version(),
		Runtimes:       map[string]system.RuntimeWithStatus{runtimeName: {}},
		DefaultRuntime: runtimeName, InitBinary: runtimeName, LiveRestoreEnabled: true,
		Swarm:           swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		SecurityOptions: []string{"name=seccomp,profile=builtin", "name=cgroupns"}, CDISpecDirs: []string{cdi.Dir, cdi.DynamicDir},
		Warnings: []string{},
	}
	info.Name, _ = os.Hostname()
	if devices, err := cdi.Load(); err != nil {
		info.Warnings = append(info.Warnings, "WARNING: "+err.Error())
	} else {
		for _, name := range devices.Names() {
			info.DiscoveredDevices = append(info.DiscoveredDevices, system.DeviceInfo{Source: "cdi", ID: name})
		}
		for _, err := range devices.Problems() {
			info.Warnings = append(info.Warnings, "WARNING: CDI: "+err.Error())
		}
	}
	for _, support := range i.Support {
		if !support.Available {
			info.Warnings = append(info.Warnings, "WARNING: no "+support.Feature+": "+support.Reason)
		}
	}
	list, err := s.Engine.List(r.Context())
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.State.Paused {
			info.ContainersPaused++
		}
	}
	return writeJSON(w, http.StatusOK, info)
}

// runtimeName is what HostConfig.Runtime names, and the only one that is there.
const runtimeName = "caisson"

// machine is what uname(1) calls a processor.
func machine(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return goarch
}

func operatingSystem() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"'`)
		}
	}
	return runtime.GOOS
}

// memoryTotal is the machine's memory in bytes.
func memoryTotal() int64 {
	f := strings.Fields(firstLine("/proc/meminfo"))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n << 10
}
