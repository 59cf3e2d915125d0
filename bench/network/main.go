//go:build linux

// Command network measures networks, in a network namespace of its own: attaching and publishing the first, the hundredth and the
// thousandth container of a network (within 1.5 of each other, and 3 ms at most); the resolver's answers (100 µs); the throughput
// of a bridge and of a published port beside dockerd's (at least as much), and beside that of a veth pair, a bridge and iptables made by
// hand; and that of a network without root beside slirp4netns's and pasta's. It takes root, iperf3, and for the peers dockerd with
// docker and busybox, iptables, slirp4netns and pasta; one that is not there is left out.
//
//	go run ./bench/network -n 1000 -seconds 1 -rounds 9
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/network"
)

func main() {
	runtime.LockOSThread() // the programs that are started end with the thread that did
	b := &bench{}
	flag.IntVar(&b.n, "n", 1000, "containers on one network")
	flag.IntVar(&b.seconds, "seconds", 1, "seconds of each transfer")
	flag.StringVar(&b.size, "size", "", "bytes of each transfer, as 500M, in place of seconds")
	flag.IntVar(&b.rounds, "rounds", 9, "transfers of each kind, in turns: a median of 9 is certain to some percent on a quiet machine, of 40 on a busy one")
	only := flag.String("only", "", "attach, dns, bridge, docker or user")
	flag.StringVar(&b.match, "match", "", "compare only where the title begins with this")
	flag.StringVar(&b.filtered, "filtered", "0", "1: the hosts filter bridged frames as packets, as with net.bridge.bridge-nf-call-iptables=1")
	inside := flag.Bool("inside", false, "it is in namespaces of its own already")
	flag.Parse()
	if !*inside {
		cmd := exec.Command("unshare", append([]string{"-n", "-m", "--", "/proc/self/exe", "-inside"}, os.Args[1:]...)...)
		self, err := os.Executable()
		if err == nil {
			cmd.Args[4] = self
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			err = cmd.Run()
		}
		exit(err)
	}
	err := b.world()
	for _, part := range []struct {
		name string
		run  func() error
	}{{"attach", b.attach}, {"dns", b.dns}, {"bridge", b.bridge}, {"docker", b.docker}, {"user", b.user}} {
		if err == nil && (*only == "" || *only == part.name) {
			err = part.run()
		}
	}
	exit(errors.Join(err, b.close()))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "network:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type bench struct {
	n, seconds, rounds int

	size, filtered, match string

	undo []func() error
	peer int // a machine beside the host: 10.1.0.1, the host's own address is 10.1.0.2
}

func (b *bench) defers(f func() error) { b.undo = append(b.undo, f) }

func (b *bench) close() error {
	var err error
	for _, f := range slices.Backward(b.undo) {
		err = errors.Join(err, f())
	}
	b.undo = nil
	return err
}

func command(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func commands(lines ...string) error {
	for _, line := range lines {
		if err := command(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// box starts a process in a network namespace of its own.
func (b *bench) box() (pid int, err error) {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	b.defers(func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil
	})
	return cmd.Process.Pid, in(cmd.Process.Pid, "ip link set lo up")
}

func in(pid int, line string) error {
	return command(append([]string{"nsenter", "-n", "-t", strconv.Itoa(pid)}, strings.Fields(line)...)...)
}

func (b *bench) world() (err error) {
	if b.peer, err = b.box(); err != nil {
		return err
	}
	// "0" is as on a host without br_netfilter. /proc/sys is this process's network namespace's.
	for _, name := range []string{"iptables", "ip6tables"} {
		err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+name, []byte(b.filtered), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	err = commands("ip link set lo up", fmt.Sprintf("ip link add lan type veth peer name lan netns %d", b.peer),
		"ip addr add 10.1.0.2/24 dev lan", "ip link set lan up", "ip route add default via 10.1.0.1")
	return errors.Join(err, in(b.peer, "ip addr add 10.1.0.1/24 dev lan"), in(b.peer, "ip link set lan up"))
}

// store opens a store in a folder that goes with the benchmark.
func (b *bench) store(o *network.Options) (*network.Store, error) {
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return nil, err
	}
	s, err := network.Open(dir, o)
	b.defers(func() error {
		if s != nil {
			err = s.Close()
		}
		return errors.Join(err, os.RemoveAll(dir))
	})
	return s, err
}

func (b *bench) sandbox(s *network.Store, id string, ports ...network.Port) (pid int, box *network.Sandbox, e network.Endpoint, took cost, err error) {
	if pid, err = b.box(); err != nil {
		return
	}
	begin := now()
	if box, err = s.Sandbox(pid, &network.SandboxOptions{ID: id}); err != nil {
		return
	}
	b.defers(box.Close)
	e, err = box.Attach(context.Background(), "net", &network.EndpointOptions{Names: []string{id}, Ports: ports})
	return pid, box, e, now().less(begin), err
}

// A cost is a time, and that of it which processors worked for this process.
type cost struct{ wall, cpu time.Duration }

func now() cost {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return cost{time.Since(started), time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

var started = time.Now()

func (c cost) less(d cost) cost { return cost{c.wall - d.wall, c.cpu - d.cpu} }

// attach times attaching with a published port.
func (b *bench) attach() error {
	s, err := b.store(nil)
	if err != nil {
		return err
	}
	if _, err := s.Create(context.Background(), "net", nil); err != nil {
		return err
	}
	var all []cost
	for i := range b.n {
		_, _, _, took, err := b.sandbox(s, fmt.Sprint("box", i), network.Port{Container: 80})
		if err != nil {
			return fmt.Errorf("container %d: %w", i+1, err)
		}
		all = append(all, took)
	}
	// What others do on the machine makes the time longer, and less so the least of several and the processors' own.
	around := func(i int, of func(cost) time.Duration) (least, median time.Duration) {
		var some []time.Duration
		for _, c := range all[max(0, i-25):min(len(all), i+25)] {
			some = append(some, of(c))
		}
		slices.Sort(some)
		return some[0], some[len(some)/2]
	}
	wall, cpu := func(c cost) time.Duration { return c.wall }, func(c cost) time.Duration { return c.cpu }
	least1, median1 := around(1, wall)
	_, cpu1 := around(1, cpu)
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	for _, i := range []int{1, 100, 1000} {
		if i <= len(all) {
			least, median := around(i, wall)
			_, cpu := around(i, cpu)
			fmt.Printf("attach and publish, container %4d: %6.2f ms (%.2f of the first), least %.2f (%.2f), CPU time %.2f (%.2f)\n", i,
				ms(median), ms(median)/ms(median1), ms(least), ms(least)/ms(least1), ms(cpu), ms(cpu)/ms(cpu1))
		}
	}
	return b.closeTo(1)
}

// closeTo undoes what came after the world.
func (b *bench) closeTo(n int) error {
	rest := b.undo[:n]
	b.undo = b.undo[n:]
	err := b.close()
	b.undo = rest
	return err
}

// dns times the resolver's answers for a container's name.
func (b *bench) dns() error {
	s, err := b.store(nil)
	if err != nil {
		return err
	}
	if _, err := s.Create(context.Background(), "net", nil); err != nil {
		return err
	}
	_, box, _, _, err := b.sandbox(s, "box")
	if err != nil {
		return err
	}
	c, err := box.Dial(context.Background(), "udp", "127.0.0.11:53")
	if err != nil {
		return err
	}
	defer c.Close()
	query := []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03box\x00\x00\x01\x00\x01")
	var all []time.Duration
	answer := make([]byte, 512)
	for range 5000 {
		begin := time.Now()
		if _, err := c.Write(query); err != nil {
			return err
		}
		if n, err := c.Read(answer); err != nil || n < 30 {
			return fmt.Errorf("answer of %d bytes: %w", n, err)
		}
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	fmt.Printf("a name's address: %.0f µs (median), %.0f µs (99 %%)\n", float64(all[len(all)/2])/1e3, float64(all[len(all)*99/100])/1e3)
	return b.closeTo(1)
}

// A way is one side of a comparison: where the client of iperf3 runs, and what it connects to.
type way struct {
	name    string
	client  int // a process, or 0 for the host
	address string
	port    string
	by      int // the process that passes the bytes on, or 0 for the kernel
}

// processors is the time that processors have worked for a process.
func processors(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, errors.ErrUnsupported
	}
	user, err := strconv.Atoi(f[11])
	system, e := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, e) // of USER_HZ, which is 100
}

// pin has a command run on one processor: servers on the last, clients on the first, so that no way has a better place by chance.
func pin(cpu int) []string { return []string{"taskset", "-c", strconv.Itoa(cpu)} }

// serve starts iperf3's server at a process.
func (b *bench) serve(pid int) error {
	args := append(pin(runtime.NumCPU()-1), "iperf3", "-s")
	if pid != 0 {
		args = append([]string{"nsenter", "-n", "-t", strconv.Itoa(pid)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.defers(func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil
	})
	at := "self"
	if pid != 0 {
		at = strconv.Itoa(pid)
	}
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		sockets, err := os.ReadFile("/proc/" + at + "/net/tcp6")
		if err != nil {
			return err
		}
		if strings.Contains(string(sockets), ":1451 00000000000000000000000000000000:0000 0A") { // 5201, listening
			return nil
		}
	}
	return errors.New("iperf3 -s does not listen")
}

var errFailed = errors.New("no transfer")

// transfer returns the speed, and what a gigabyte takes of the time of the processors for whoever passes it on, or, where the kernel
// does, for both ends.
func (b *bench) transfer(w way, reverse bool) (gbit float64, cost time.Duration, err error) {
	begin, err := processors(w.by)
	if err != nil {
		return 0, 0, err
	}
	args := append(pin(0), "iperf3", "-J", "-c", w.address, "-p", w.port, "--connect-timeout", "3000")
	if b.size != "" {
		args = append(args, "-n", b.size)
	} else {
		args = append(args, "-t", strconv.Itoa(b.seconds))
	}
	if reverse {
		args = append(args, "-R")
	}
	if w.client != 0 {
		args = append([]string{"nsenter", "-n", "-t", strconv.Itoa(w.client)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var r struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Bytes   float64 `json:"bytes"`
				Bits    float64 `json:"bits_per_second"`
				Seconds float64 `json:"seconds"`
			} `json:"sum_received"`
			CPU struct {
				Host   float64 `json:"host_total"`
				Remote float64 `json:"remote_total"`
			} `json:"cpu_utilization_percent"`
		} `json:"end"`
	}
	if e := json.Unmarshal(out, &r); e != nil || err != nil || r.Error != "" {
		return 0, 0, fmt.Errorf("%s: iperf3: %s: %w", w.name, r.Error+stderr.String(), errors.Join(errFailed, err, e))
	}
	end, err := processors(w.by)
	took := (end - begin).Seconds()
	if w.by == 0 {
		took = (r.End.CPU.Host + r.End.CPU.Remote) / 100 * r.End.Received.Seconds
	}
	return r.End.Received.Bits / 1e9, time.Duration(took * 1e9 / r.End.Received.Bytes * 1e9), err
}

// compare has all ways take turns, every other round in the opposite order, and prints each one's median, and its part of the first one's
// in the same round: the median, and where it is with a probability of 95 %. So it does for what a gigabyte costs, which other load on the
// machine changes less.
func (b *bench) compare(title string, reverse bool, ways ...way) error {
	if !strings.HasPrefix(title, b.match) {
		return nil
	}
	got, costs := make([][]float64, len(ways)), make([][]float64, len(ways))
	for round := range b.rounds {
		for k := range ways {
			i := k
			if round%2 == 1 {
				i = len(ways) - 1 - k
			}
			g, cost, err := b.transfer(ways[i], reverse)
			if err != nil { // the server may not be done with the last one
				time.Sleep(time.Second)
				g, cost, err = b.transfer(ways[i], reverse)
			}
			if err != nil {
				return err
			}
			got[i], costs[i] = append(got[i], g), append(costs[i], cost.Seconds())
		}
	}
	for i, w := range ways {
		speed, cost := parts(got[i], got[0]), parts(costs[i], costs[0])
		fmt.Printf("%-28s %-24s %6.2f Gbit/s, %s; processors' time a GB %.3f s, %s\n", title, w.name, median(got[i]), speed, median(costs[i]), cost)
	}
	return nil
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// parts is the median of one's parts of the other in the same round, with the order statistics that enclose it in 95 % of all cases.
func parts(of, other []float64) string {
	all := make([]float64, len(of))
	for i := range of {
		all[i] = of[i] / other[i]
	}
	slices.Sort(all)
	n := float64(len(all))
	low := max(0, int(math.Floor(n/2-0.98*math.Sqrt(n)))-1)
	return fmt.Sprintf("%.3f [%.3f, %.3f]", median(all), all[low], all[len(all)-1-low])
}

// pair attaches two containers to a network, and publishes port 5201 of the first, whose endpoint is e, as 6201.
func (b *bench) pair() (one, two int, e network.Endpoint, err error) {
	s, err := b.store(nil)
	if err == nil {
		_, err = s.Create(context.Background(), "net", nil)
	}
	if err == nil {
		one, _, e, _, err = b.sandbox(s, "one", network.Port{Container: 5201, Host: 6201})
	}
	if err == nil {
		two, _, _, _, err = b.sandbox(s, "two")
	}
	return one, two, e, err
}

// bridge measures a bridge and a published port.
func (b *bench) bridge() error {
	one, two, e, err := b.pair()
	if err != nil {
		return err
	}
	// By hand, as a plain script would.
	hand, err := b.hand(2)
	if err != nil {
		return err
	}
	for _, pid := range []int{one, hand[0]} {
		if err := b.serve(pid); err != nil {
			return err
		}
	}
	err = b.compare("between containers", false, way{"veth and bridge by hand", hand[1], "10.9.0.2", "5201", 0},
		way{"network", two, e.IPv4.Addr().String(), "5201", 0})
	if err != nil {
		return err
	}
	if err := command("iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "6202", "-j", "DNAT", "--to", "10.9.0.2:5201"); err != nil {
		fmt.Println("a published port by hand is left out:", err)
		return b.compare("published port", false, way{"network", b.peer, "10.1.0.2", "6201", 0})
	}
	err = b.compare("published port", false, way{"iptables by hand", b.peer, "10.1.0.2", "6202", 0}, way{"network", b.peer, "10.1.0.2", "6201", 0})
	return errors.Join(err, b.closeTo(1))
}

// hand makes a bridge with containers by commands.
func (b *bench) hand(n int) (pids []int, err error) {
	if err := commands("ip link add hand type bridge", "ip addr add 10.9.0.1/24 dev hand", "ip link set hand up"); err != nil {
		return nil, err
	}
	b.defers(func() error { return command("ip", "link", "del", "hand") })
	for i := range n {
		pid, err := b.box()
		if err != nil {
			return nil, err
		}
		err = errors.Join(commands(fmt.Sprintf("ip link add hand%d type veth peer name eth0 netns %d", i, pid),
			fmt.Sprintf("ip link set hand%d master hand up", i)),
			in(pid, fmt.Sprintf("ip addr add 10.9.0.%d/24 dev eth0", i+2)), in(pid, "ip link set eth0 up"), in(pid, "ip route add default via 10.9.0.1"))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
