package engine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/network"
)

const localHosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

// resolvConf is the content of the container's /etc/resolv.conf.
func (rec *Container) resolvConf() string {
	cfg := &rec.Config
	if cfg.Network == "host" && len(cfg.DNS)+len(cfg.DNSSearch)+len(cfg.DNSOptions) == 0 {
		return hostFile("/etc/resolv.conf", "")
	}
	var b strings.Builder
	host := hostFile("/etc/resolv.conf", "")
	switch {
	case len(rec.Networks) > 0:
		b.WriteString("nameserver 127.0.0.11\n")
	case cfg.Network == "host" && len(cfg.DNS) > 0:
		for _, a := range cfg.DNS {
			fmt.Fprintln(&b, "nameserver", a)
		}
	case cfg.Network == "host":
		b.WriteString(linesOf(host, "nameserver"))
	default:
		return "# There is no network but loopback.\n"
	}
	switch search := cfg.DNSSearch; {
	case len(search) == 1 && search[0] == ".":
	case len(search) > 0:
		fmt.Fprintln(&b, "search", strings.Join(search, " "))
	default:
		b.WriteString(linesOf(host, "search"))
	}
	options := cfg.DNSOptions
	if len(rec.Networks) > 0 && !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		options = append(slices.Clone(options), "ndots:0") // a container's name is whole as it is
	}
	if len(options) > 0 {
		fmt.Fprintln(&b, "options", strings.Join(options, " "))
	}
	return b.String()
}

// resolvConfAlone is that of a container whose program may end before it: it asks the servers itself.
func (rec *Container) resolvConfAlone() string {
	var b strings.Builder
	for _, a := range rec.Config.DNS {
		fmt.Fprintln(&b, "nameserver", a)
	}
	if len(rec.Config.DNS) == 0 {
		for line := range strings.Lines(linesOf(hostFile("/etc/resolv.conf", ""), "nameserver")) {
			if a, err := netip.ParseAddr(strings.Fields(line)[1]); err == nil && !a.IsLoopback() {
				b.WriteString(line)
			}
		}
	}
	for line := range strings.Lines(rec.resolvConf()) {
		if !strings.HasPrefix(line, "nameserver") && !strings.HasPrefix(line, "options ndots:0") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// linesOf returns the lines of a resolv.conf that begin with the keyword.
func linesOf(text, keyword string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == keyword {
			fmt.Fprintln(&b, strings.Join(fields, " "))
		}
	}
	return b.String()
}

// hosts is the content of the container's /etc/hosts, with the addresses that it has by now.
func (rec *Container) hosts() string {
	if rec.Config.Network == "host" {
		return hostFile("/etc/hosts", localHosts) + rec.extraHosts()
	}
	var b strings.Builder
	b.WriteString(localHosts)
	b.WriteString(rec.extraHosts())
	b.WriteString(rec.ownHosts(rec.Endpoints))
	return b.String()
}

// ownHosts are the lines of the container's own addresses.
func (rec *Container) ownHosts(ends []network.Endpoint) string {
	var b strings.Builder
	names := rec.Hostname
	if domain := rec.Config.Domainname; domain != "" {
		names = rec.Hostname + "." + domain + " " + rec.Hostname
	}
	for i := range ends {
		for _, p := range []netip.Prefix{ends[i].IPv4, ends[i].IPv6} {
			if p.IsValid() {
				fmt.Fprintf(&b, "%s\t%s\n", p.Addr(), names)
			}
		}
	}
	return b.String()
}

// hostGateway stands for the host's address in Config.ExtraHosts.
const hostGateway = "host-gateway"

// gateway is the host's address as the container has it: that of the network that publishes its ports.
func (e *Engine) gateway(ctx context.Context, rec *Container) netip.Addr {
	if rec.Config.Network == "host" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if len(rec.Networks) == 0 || len(rec.Config.ExtraHosts) == 0 {
		return netip.Addr{}
	}
	n, err := e.network(ctx, rec.Networks[e.publisher(ctx, rec)].Network)
	if err != nil || len(n.Subnets) == 0 {
		return netip.Addr{}
	}
	return n.Subnets[0].Gateway
}

func (rec *Container) extraHosts() string {
	var b strings.Builder
	for _, h := range rec.Config.ExtraHosts {
		name, address, _ := strings.Cut(h, ":")
		if address == hostGateway {
			if !rec.Gateway.IsValid() {
				continue // it is not known yet
			}
			address = rec.Gateway.String()
		}
		fmt.Fprintf(&b, "%s\t%s\n", address, name)
	}
	return b.String()
}

// etcOf is the folder of the files that are bound into a container's /etc: those of the container whose network it shares, which follow
// what that one is connected to.
func (e *Engine) etcOf(rec *Container) string {
	id := rec.ID
	for range maxSharers {
		next, ok := strings.CutPrefix(rec.Config.Network, "container:")
		if !ok {
			break
		}
		id = next
		var err error
		if rec, err = readRecord(e.path(id)); err != nil {
			break // it is gone: the start says so
		}
	}
	return e.path(id)
}

// maxSharers bounds how far etcOf goes: each container was made after the one whose network it shares.
const maxSharers = 100

// writeHosts writes the file anew in its place: it is bound into the container already.
func (rec *Container) writeHosts(dir string) error {
	return writePlain(filepath.Join(dir, "hosts"), rec.hosts())
}

// changeHosts gives the hosts file of a container that runs the addresses that it has by now, in place of those that it had. What the
// container's programs wrote there stays. One that is too large by their doing is left alone, and so is one that they closed to this program.
func (e *Engine) changeHosts(rec *Container, before []network.Endpoint) {
	path := e.path(rec.ID, "hosts")
	text, err := wholeFile(path)
	if err == nil {
		var b strings.Builder
		old := slices.Collect(strings.Lines(rec.ownHosts(before)))
		for line := range strings.Lines(text) {
			if !slices.Contains(old, line) {
				b.WriteString(line)
			}
		}
		if kept := b.String(); kept != "" && !strings.HasSuffix(kept, "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(rec.ownHosts(rec.Endpoints))
		err = os.WriteFile(path, []byte(b.String()), 0o644)
	}
	if err != nil {
		e.log.Warn("hosts file of a container that runs", "id", rec.ID, "error", err)
	}
}

// wholeFile reads a file of up to a mebibyte, which is more than enough for those of /etc.
func wholeFile(path string) (string, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEtcFile+1))
	if err == nil && len(b) > maxEtcFile {
		err = &fs.PathError{Op: "read", Path: path, Err: syscall.EFBIG}
	}
	return string(b), err
}

const maxEtcFile = 1 << 20

// checkNames looks at what goes into the files.
func (cfg *Config) checkNames() error {
	for _, h := range cfg.ExtraHosts {
		name, address, _ := strings.Cut(h, ":")
		_, err := netip.ParseAddr(address)
		if address == hostGateway {
			if err = nil; cfg.Network == "none" {
				return invalid("add-host %q: the network none has no gateway", h)
			}
		}
		if name == "" || strings.ContainsAny(name, " \t\n#") || err != nil {
			return invalid("bad format for add-host: %q", h)
		}
	}
	for _, a := range cfg.DNS {
		if !a.IsValid() {
			return invalid("invalid DNS server")
		}
	}
	for _, list := range [][]string{cfg.DNSSearch, cfg.DNSOptions} {
		for _, s := range list {
			if s == "" || strings.ContainsAny(s, " \t\n#;") {
				return invalid("invalid DNS search domain or option: %q", s)
			}
		}
	}
	return nil
}

// tryLockContainer takes a container's lock if nobody has it.
func (e *Engine) tryLockContainer(id string) (*durable.Lock, bool, error) {
	return durable.TryAcquire(e.path(id, "lock"), true)
}
