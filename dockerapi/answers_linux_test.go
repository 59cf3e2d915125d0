package dockerapi

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
)

// unsaid are keys of Docker's answers that this server's have not, or not always, with all that is below them, each with the reason.
var unsaid = map[string]string{
	"/info KernelMemoryTCP":                                        "there is none",
	"/info RegistryConfig.InsecureRegistryCIDRs":                   "registries are the program's own: engine.Options",
	"/info RegistryConfig.IndexConfigs":                            "registries are the program's own: engine.Options",
	"/info RegistryConfig.Mirrors":                                 "registries are the program's own: engine.Options",
	"/info Runtimes.*.path":                                        "it is this program",
	"/info Runtimes.*.runtimeArgs":                                 "it is this program",
	"/info Runtimes.*.status":                                      "it is this program",
	"/info ProductLicense":                                         "of Docker's products",
	"/info DefaultAddressPools":                                    "they cannot be chosen",
	"/info FirewallBackend":                                        "it cannot be chosen",
	"/info DiscoveredDevices":                                      "where there are CDI devices",
	"/info Containerd":                                             "there is none",
	"/version Experimental":                                        "where it is so",
	"/version BuildTime":                                           "where the program was built of a commit",
	"/containers/json ImageManifestDescriptor":                     "of containerd's images",
	"/containers/{id}/json ImageManifestDescriptor":                "of containerd's images",
	"/containers/{id}/json HostConfig.KernelMemoryTCP":             "it is refused",
	"/containers/{id}/json HostConfig.StorageOpt":                  "it is refused",
	"/containers/{id}/json HostConfig.Mounts":                      "where Binds and Tmpfs cannot say it",
	"/containers/{id}/json Config.Healthcheck":                     "what of it is given",
	"/containers/{id}/json Config.ArgsEscaped":                     "it is refused",
	"/containers/{id}/json Config.OnBuild":                         "it is refused",
	"/containers/{id}/json Config.Shell":                           "it is refused",
	"/containers/{id}/json Config.NetworkDisabled":                 "the network's mode says it: none",
	"/containers/{id}/json Config.MacAddress":                      "NetworkSettings has it",
	"/containers/{id}/json NetworkSettings.SecondaryIPAddresses":   "there are none",
	"/containers/{id}/json NetworkSettings.SecondaryIPv6Addresses": "there are none",
	"/containers/{id}/stats pids_stats.limit":                      "where there is one",
	"/containers/{id}/stats blkio_stats":                           "of devices that it has used, as far as the kernel counts",
	"/containers/{id}/stats storage_stats":                         "of Windows",
	"/containers/{id}/stats memory_stats.max_usage":                "where the kernel counts it",
	"/containers/{id}/stats memory_stats.failcnt":                  "where it is not 0",
	"/containers/{id}/stats memory_stats.commitbytes":              "of Windows",
	"/containers/{id}/stats memory_stats.commitpeakbytes":          "of Windows",
	"/containers/{id}/stats memory_stats.privateworkingset":        "of Windows",
	"/containers/{id}/stats cpu_stats.cpu_usage.percpu_usage":      "where the kernel counts it",
	"/containers/{id}/stats precpu_stats.cpu_usage.percpu_usage":   "where the kernel counts it",
	"/containers/{id}/stats networks.*.endpoint_id":                "of Windows",
	"/containers/{id}/stats networks.*.instance_id":                "of Windows",
	"/images/{name}/json DockerVersion":                            "the image was not made by Docker",
	"/images/{name}/json Config.ArgsEscaped":                       "of Windows",
	"/images/{name}/json Config.Healthcheck":                       "what of it is given",
	"/images/{name}/json Config.Shell":                             "where it is given",
	"/images/{name}/json Variant":                                  "where it is given",
	"/images/{name}/json OsVersion":                                "of Windows",
	"/networks/{id} Peers":                                         "of swarm",
	"/volumes/{name} Status":                                       "of plugins",
	"/volumes/{name} UsageData":                                    "system df measures",
	"/volumes/{name} ClusterVolume":                                "of swarm",
}

// TestAnswers: what Docker's description says that an answer has is in this server's, or in unsaid. The objects that are asked for have
// something of everything.
func TestAnswers(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	client := p.client()
	p.docker("network", "create", "--subnet", "10.99.0.0/24", "--ip-range", "10.99.0.0/25", "--aux-address", "x=10.99.0.9", "--ipv6", "--label", "a=b", "net")
	p.docker("volume", "create", "--label", "a=b", "-o", "type=tmpfs", "-o", "device=tmpfs", "vol")
	p.docker("run", "-d", "--name", "box", "--network", "name=net,alias=other,ip=10.99.0.8", "-p", "80", "-v", "vol:/vol:ro", "--tmpfs", "/tmp", "-m", "64m", "--sysctl", "net.ipv4.ip_forward=1",
		"--health-cmd", "true", "--health-interval", "50ms", "--stop-timeout", "1", "--stop-signal", "TERM", "--annotation", "a=b", "--init", "busybox", "sleep", "1000")
	p.awaitEvent("health_status: healthy")
	var made container.ExecCreateResponse
	require.NoError(t, json.Unmarshal(p.answerOf(client, "POST", "/containers/box/exec", `{"Cmd":["false"],"User":"0"}`, 201), &made))
	p.answerOf(client, "POST", "/exec/"+made.ID+"/start", `{"Detach":true}`, 200)
	p.awaitEvent("exec_die")
	p.docker("commit", "-a", "me", "-m", "text", "-c", "USER 0", "-c", "EXPOSE 80", "-c", "ENV a=b", "-c", "VOLUME /x", "-c", "WORKDIR /", "-c", `ENTRYPOINT ["sh"]`, "-c", "CMD x", "-c", "LABEL a=b",
		"-c", "STOPSIGNAL INT", "-c", "HEALTHCHECK CMD true", "-c", "ONBUILD RUN true", "box", "made")
	targets := map[string]string{
		"/containers/json": "/containers/json?size=1", "/containers/{id}/json": "/containers/box/json?size=1", "/containers/{id}/stats": "/containers/box/stats?stream=0",
		"/exec/{id}/json": "/exec/" + made.ID + "/json", "/images/json": "/images/json?manifests=1&shared-size=1",
		"/images/{name}/json": "/images/made/json?manifests=1", "/images/{name}/history": "/images/busybox/history",
		"/networks/{id}": "/networks/net", "/volumes/{name}": "/volumes/vol",
	}
	b, err := os.ReadFile("testdata/answers-" + MaxVersion + ".txt")
	require.NoError(t, err)
	described := make(map[string][]string)
	var endpoint string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if line[0] != '\t' {
			endpoint = f[1]
			continue
		}
		described[endpoint] = f
		target, ok := targets[endpoint]
		if !ok {
			target = endpoint
		}
		var answer any
		require.NoError(t, json.Unmarshal(p.answerOf(client, http.MethodGet, target, "", 200), &answer))
		have := make(map[string]bool)
		addKeys(have, "", answer)
		for _, key := range f {
			if have[key] {
				continue
			}
			at, why := key, ""
			for more := true; more && why == ""; {
				why = unsaid[endpoint+" "+at]
				last := strings.LastIndexByte(at, '.')
				if more = last >= 0; more {
					at = at[:last]
				}
			}
			if why == "" {
				t.Errorf("%s: %s is not in the answer", endpoint, key)
			}
		}
	}
	for name := range unsaid {
		endpoint, key, _ := strings.Cut(name, " ")
		require.Contains(t, described[endpoint], key)
	}
}

// addKeys notes the keys of an answer, with points between; a star is any key, too.
func addKeys(to map[string]bool, at string, v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			addKeys(to, at, e)
		}
	case map[string]any:
		for key, e := range v {
			for _, key := range []string{key, "*"} {
				name := strings.TrimPrefix(at+"."+key, ".")
				to[name] = true
				addKeys(to, name, e)
			}
		}
	}
}
