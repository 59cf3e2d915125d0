package dockerapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// ListenOptions are the optional settings of Listen.
type ListenOptions struct {
	// Group is the name or number of a group that may connect to a Unix socket, besides its owner: its members are then root of the host.
	// Empty means none.
	Group string
	// CertFile and KeyFile are the server's certificate, and CAFile has those that certificates of clients are signed by, in PEM. A TCP
	// address takes all of them.
	CertFile, KeyFile, CAFile string
	// InsecureLoopback allows a TCP address of the loopback interface without certificates: every user of the machine, and every container
	// with the host's network, is then root of it.
	InsecureLoopback bool
}

// Listen listens at an address: "unix:///path", or "tcp://address:port" with certificates. A socket that nobody listens at is replaced;
// what is there and is no socket is an error that satisfies fs.ErrExist, as is one at which somebody listens.
func Listen(ctx context.Context, address string, o *ListenOptions) (net.Listener, error) {
	if o == nil {
		o = &ListenOptions{}
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var l net.Listener
	switch {
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		l, err = listenUnix(ctx, filepath.Clean(u.Path), o.Group)
	case u.Scheme == "tcp" && u.Port() != "" && strings.Trim(u.Path, "/") == "":
		l, err = listenTCP(ctx, u.Host, o)
	default:
		err = fmt.Errorf("%q is neither unix:///path nor tcp://address:port: %w", address, fs.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// A unixListener removes its socket when it is closed, if that is still its own.
type unixListener struct {
	net.Listener
	path string
	made fs.FileInfo
}

func (l *unixListener) Close() error {
	err := l.Listener.Close()
	if now, e := os.Lstat(l.path); e == nil && os.SameFile(now, l.made) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

// listenUnix makes the socket in a folder that nobody else may enter and moves it to its place when it has its mode: at no time can
// anybody connect who may not, whatever the umask.
func listenUnix(ctx context.Context, path, group string) (_ net.Listener, err error) {
	gid := -1
	if group != "" {
		if gid, err = groupID(group); err != nil {
			return nil, err
		}
	}
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.Mode().Type() != fs.ModeSocket:
		return nil, &fs.PathError{Op: "make socket", Path: path, Err: fs.ErrExist}
	default:
		var d net.Dialer
		if c, err := d.DialContext(ctx, "unix", path); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("somebody listens at %s: %w", path, fs.ErrExist)
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".socket-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made := filepath.Join(dir, "s")
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it is about to be elsewhere
	}
	mode := fs.FileMode(0o600)
	if gid >= 0 {
		mode = 0o660
		err = os.Chown(made, -1, gid)
	}
	if err == nil {
		err = os.Chmod(made, mode)
	}
	var st fs.FileInfo
	if err == nil {
		st, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &unixListener{l, path, st}, nil
}

func groupID(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

func listenTCP(ctx context.Context, address string, o *ListenOptions) (net.Listener, error) {
	var config net.ListenConfig
	if o.CertFile == "" && o.KeyFile == "" && o.CAFile == "" {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !at.Addr().IsLoopback() || !o.InsecureLoopback {
			return nil, fmt.Errorf("tcp://%s takes certificates (CertFile, KeyFile and CAFile): whoever connects is root of this machine: %w", address, fs.ErrPermission)
		}
		return config.Listen(ctx, "tcp", address)
	}
	cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it: %w", o.CAFile, fs.ErrInvalid)
	}
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // connections are taken over, which HTTP/2's cannot be
	}), nil
}
