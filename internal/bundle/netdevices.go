package bundle

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// checkNetDevices looks at the network devices that the container shall get.
func (b *Bundle) checkNetDevices() error {
	linux := b.Spec.Linux
	if len(linux.NetDevices) == 0 {
		return nil
	}
	own := false
	for _, n := range linux.Namespaces {
		own = own || n.Type == specs.NetworkNamespace
	}
	if !own {
		return wrong("linux.netDevices", "the network namespace is the host's")
	}
	names := map[string]bool{}
	for host, d := range linux.NetDevices {
		field := "linux.netDevices." + host
		name := d.Name
		if name == "" {
			name = host
		}
		for _, n := range []string{host, name} {
			if n == "" || len(n) > 15 || n == "." || n == ".." || n == "lo" || strings.ContainsAny(n, "/: \t\n\x00%") {
				return wrong(field, "%q is not the name of a network device", n)
			}
		}
		if names[name] {
			return wrong(field+".name", "%q is another device's name, too", name)
		}
		names[name] = true
	}
	return nil
}
