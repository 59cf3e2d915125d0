package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// website serves, by HTTP at port 80 of the machine, the client's address.
func (m *machine) website() {
	m.t.Helper()
	m.in(func() error {
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, ipOf(addrOf(r.RemoteAddr)))
		})}
		go func() { _ = server.Serve(l) }()
		m.t.Cleanup(func() { _ = server.Close() })
		return nil
	})
}

type addrOf string

func (a addrOf) Network() string { return "tcp" }
func (a addrOf) String() string  { return string(a) }

// TestTraffic: Debian's curl, ping, dig and iperf3 on a client behind a router, on the engine's host and in containers.
func TestTraffic(t *testing.T) {
	testenv.RequireCommand(t, "curl", "ping", "dig", "iperf3")
	host, _, client := world(t)
	filterBridged(t, host, "0")
	s := newStore(t, host)
	_, err := s.Create(t.Context(), "net", &CreateOptions{IPv6: true})
	require.NoError(t, err)
	server, m := newSandbox(t, s, "server")
	e := attach(t, server, "net", &EndpointOptions{Names: []string{"web"}, Ports: []Port{
		{Host: 8080, Container: 80}, {Host: 5300, Container: 53, Protocol: "udp"}, {Host: 5300, Container: 53},
		{Host: 6201, Container: 5201}, {Host: 6201, Container: 5201, Protocol: "udp"},
	}})
	neighbour, n := newSandbox(t, s, "neighbour")
	own := attach(t, neighbour, "net", nil)
	m.website()
	asked := upstream(m) // a name server
	curl := func(m *machine, url string) string {
		return m.command("curl", "-sS", "--max-time", "10", "--noproxy", "*", url)
	}
	gateway := "172.17.0.1"
	require.Equal(t, "10.2.0.2", curl(client, "http://10.1.0.2:8080/"), "the client's own address")
	require.Equal(t, "fd02::2", curl(client, "http://[fd01::2]:8080/"))
	require.Equal(t, gateway, curl(host, "http://127.0.0.1:8080/"))
	require.Equal(t, gateway, curl(host, "http://localhost:8080/"))
	require.Equal(t, gateway, curl(m, "http://10.1.0.2:8080/"), "hairpin")
	require.Equal(t, gateway, curl(n, "http://10.1.0.2:8080/"))
	require.Equal(t, own.IPv4.Addr().String(), curl(n, "http://"+e.IPv4.Addr().String()+"/"))
	require.Equal(t, own.IPv6.Addr().String(), curl(n, "http://["+e.IPv6.Addr().String()+"]/"))
	_, err = client.try("curl", "-sS", "--max-time", "1", "--noproxy", "*", "http://10.1.0.2:80/")
	require.Error(t, err, "what is not published")

	for _, to := range []string{"10.2.0.2", "fd02::2", e.IPv4.Addr().String(), e.IPv6.Addr().String(), gateway} {
		require.Contains(t, n.command("ping", "-c", "2", "-i", "0.2", "-W", "5", to), " 0% packet loss", to)
	}

	for _, at := range []string{"10.1.0.2", "fd01::2"} {
		require.Equal(t, "192.0.2.1\n", client.command("dig", "+short", "+time=20", "-p", "5300", "@"+at, "example.org"))
		require.Equal(t, "192.0.2.2\n", client.command("dig", "+short", "+time=20", "+tcp", "-p", "5300", "@"+at, "example.org"))
	}
	require.EqualValues(t, 4, asked.Load())
	require.Equal(t, e.IPv4.Addr().String()+"\n", n.dig("web"))

	m.iperf3()
	for _, way := range []struct {
		from *machine
		args string
	}{
		{client, "-c 10.1.0.2 -p 6201"}, {client, "-c 10.1.0.2 -p 6201 -R"}, {client, "-c fd01::2 -p 6201"},
		{client, "-c 10.1.0.2 -p 6201 -u -b 100M -l 1200"}, {n, "-c " + e.IPv4.Addr().String()}, {host, "-c 127.0.0.1 -p 6201"},
	} {
		var out string
		var r struct {
			End struct {
				Received struct {
					Bytes int `json:"bytes"`
				} `json:"sum_received"`
				Sum struct {
					Bytes int `json:"bytes"`
				} `json:"sum"`
			} `json:"end"`
		}
		// The server takes a moment to be done with the last one, and may have read nothing when all is sent and it is asked how much.
		require.Eventually(t, func() bool {
			var err error
			out, err = way.from.try("iperf3", append(strings.Fields(way.args), "-J", "-n", "4M", "--connect-timeout", "5000")...)
			return err == nil && json.Unmarshal([]byte(out), &r) == nil && max(r.End.Received.Bytes, r.End.Sum.Bytes) > 0
		}, time.Minute, 100*time.Millisecond, "%s\n%s", way.args, &out)
	}
}

// iperf3 serves on the machine until the test ends.
func (m *machine) iperf3() {
	m.t.Helper()
	cmd := exec.Command("iperf3", "-s")
	m.in(cmd.Start)
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(m.t, func() bool {
		return strings.Contains(m.command("ss", "-Hltn"), ":5201")
	}, time.Minute, 10*time.Millisecond)
}
