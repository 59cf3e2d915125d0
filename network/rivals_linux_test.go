package network

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rival is a helper program: beside others on the same folder it makes networks, and attaches and detaches the processes that it is
// given on one that all share. It prints what it had from when to when.
func rival(args []string) int {
	ctx := context.Background()
	err := func() error {
		s, err := Open(args[1], &Options{Namespace: args[2], Table: "caisson"})
		if err != nil {
			return err
		}
		defer s.Close()
		boxes := make([]*Sandbox, len(args[4:]))
		for i, pid := range args[4:] {
			n, err := strconv.Atoi(pid)
			if err != nil {
				return err
			}
			if boxes[i], err = s.Sandbox(n, &SandboxOptions{ID: args[3] + pid, NoResolver: true}); err != nil {
				return err
			}
		}
		for round := range rounds {
			n, err := s.Create(ctx, fmt.Sprint(args[3], round), nil)
			if err != nil {
				return err
			}
			fmt.Println("network", n.Subnets[0].Prefix)
			begin := make([]int64, len(boxes))
			ends := make([]Endpoint, len(boxes))
			for i, b := range boxes {
				if ends[i], err = b.Attach(ctx, "shared", &EndpointOptions{Ports: []Port{{Container: 80}}}); err != nil {
					return err
				}
				begin[i] = time.Now().UnixNano()
			}
			for i, b := range boxes {
				e := ends[i]
				for _, what := range []string{e.IPv4.String(), e.MAC, fmt.Sprint("port ", e.Ports[0].Host), e.HostInterface} {
					fmt.Println("had", begin[i], time.Now().UnixNano(), what)
				}
				if err := b.Detach(ctx, "shared"); err != nil {
					return err
				}
			}
		}
		for _, b := range boxes {
			err = errors.Join(err, b.Close())
		}
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const rounds = 8

// TestRivals: several processes that change one folder's networks at once never have the same address, subnet or port, and do not mind
// that one of them is killed.
func TestRivals(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "0")
	dir := t.TempDir()
	s, err := Open(dir, &Options{Namespace: host.path(), Table: "caisson"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Create(t.Context(), "shared", &CreateOptions{Subnets: prefixes("10.77.0.0/28")}) // of which six addresses are needed
	require.NoError(t, err)
	type process struct {
		cmd  *exec.Cmd
		out  *bufio.Reader
		errs bytes.Buffer
		ends []func()
	}
	var all []*process
	for _, name := range []string{"a", "b", "victim"} {
		p := &process{}
		args := []string{dir, host.path(), name}
		for range 2 {
			_, pid, end := startBox(t)
			args, p.ends = append(args, strconv.Itoa(pid)), append(p.ends, end)
		}
		p.cmd = exec.Command("/proc/self/exe", args...)
		p.cmd.Args[0] = "rival"
		p.cmd.Stderr = &p.errs
		out, err := p.cmd.StdoutPipe()
		require.NoError(t, err)
		p.out = bufio.NewReader(out)
		require.NoError(t, p.cmd.Start())
		all = append(all, p)
	}
	type span struct{ begin, end int64 }
	had := make(map[string][]span)
	var subnets []string
	for i, p := range []*process{all[2], all[0], all[1]} {
		lines := 0
		for {
			line, err := p.out.ReadString('\n')
			if err != nil {
				break
			}
			what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if what == "network" {
				subnets = append(subnets, rest)
				continue
			}
			var h span
			_, err = fmt.Sscan(rest, &h.begin, &h.end)
			require.NoError(t, err)
			thing := strings.SplitN(rest, " ", 3)[2]
			had[thing] = append(had[thing], h)
			if lines++; i == 0 && lines == 9 { // in the middle of its second round
				require.NoError(t, p.cmd.Process.Kill())
			}
		}
		err := p.cmd.Wait()
		if i > 0 {
			require.NoError(t, err, p.errs.String())
			require.Equal(t, rounds*2*4, lines)
		}
		for _, end := range p.ends {
			end()
		}
	}
	for thing, spans := range had {
		for i, a := range spans {
			for _, b := range spans[:i] {
				require.False(t, a.begin < b.end && b.begin < a.end, "%s: %v and %v", thing, a, b)
			}
		}
	}
	for i, subnet := range subnets {
		require.NotContains(t, subnets[:i], subnet)
	}
	require.GreaterOrEqual(t, len(subnets), 2*rounds)
	require.Eventually(t, func() bool {
		require.NoError(t, s.Repair(t.Context()))
		return s.Check(t.Context()) == nil && len(linksOf(host)) == 1
	}, enough, 10*time.Millisecond)
}
