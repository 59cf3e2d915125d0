package usernet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/network"
)

func init() {
	programs["ordinary"], programs["connect"] = ordinary, connect
}

// TestOrdinaryUser: a program that an ordinary user runs gives its containers a network.
func TestOrdinaryUser(t *testing.T) {
	a4, _ := hostAddr(t)
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	testenv.OpenTun(t)
	serve(t, here, a4+":7005")
	root := testenv.NewRootfs(t, "connect", "ordinary")
	const uid = 64124
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}))
	dir := filepath.Join(root, "tmp", "networks")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin/ordinary"), root, dir, a4+":7005")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "connect: "+a4+"\npublished: hello\nleft: 0 <nil>\n", string(out))
}

// ordinary connects a container with args[1] as its root to a network kept in args[2]; it connects to args[3] and serves.
func ordinary(args []string) int {
	ctx := context.Background()
	err := func() error {
		if err := os.MkdirAll(args[2], 0o700); err != nil {
			return err
		}
		s, err := network.Open(args[2], &network.Options{UserMode: New(), Pools: []network.Pool{
			{Base: netip.MustParsePrefix("10.249.0.0/16"), Bits: 24},
		}})
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := s.Create(ctx, "net", nil); err != nil {
			return err
		}
		var box *network.Sandbox
		var port uint16
		var own string
		c := container.New(namespace.Dir(args[1]), "connect", args[3])
		var out bytes.Buffer
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		c.Stdout, c.Stderr = w, &out
		c.Setup = func(ctx context.Context, pid int) error {
			o := &network.SandboxOptions{ID: "box"}
			o.Network, o.User = c.NetworkFiles()
			if box, err = s.Sandbox(pid, o); err != nil {
				return err
			}
			e, err := box.Attach(ctx, "net", &network.EndpointOptions{Ports: []network.Port{{Container: 80}}})
			if err == nil {
				port, own = e.Ports[0].Host, e.IPv4.Addr().String()
			}
			return err
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
		if n, u := c.NetworkFiles(); n != nil || u != nil {
			return errors.New("the files are there after the start")
		}
		_ = w.Close()
		b := make([]byte, 100)
		n, err := r.Read(b)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out.String())
		}
		fmt.Printf("connect: %s\n", b[:n])
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return err
		}
		body := make([]byte, 100)
		n, _ = resp.Body.Read(body)
		_ = resp.Body.Close()
		fmt.Printf("published: %s\n", body[:n])
		if err := testSockets(ctx, box, own); err != nil {
			return fmt.Errorf("sockets: %w", err)
		}
		_ = c.Kill()
		_ = c.Wait(ctx)
		if err := box.Close(); err != nil {
			return err
		}
		all, err := s.Endpoints("net")
		fmt.Println("left:", len(all), err)
		return s.Check(ctx)
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// connect says what a server at args[1] answers, and then serves http.
func connect(args []string) int {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := net.Dial("tcp", args[1])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	b := make([]byte, 100)
	n, _ := c.Read(b)
	_, _ = os.Stdout.Write(b[:n])
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	return 0
}
