//go:build !linux

package control

import (
	"context"
	"errors"
	"net"
	"os"
)

func listen(string) (*net.UnixListener, error) { return nil, errors.ErrUnsupported }

func dial(context.Context, string) (*net.UnixConn, error) { return nil, ErrNobody }

func mayCall(*net.UnixConn) bool { return false }

func send(*net.UnixConn, []byte, []*os.File) error { return errors.ErrUnsupported }

func receive(*net.UnixConn) ([]byte, []*os.File, error) { return nil, nil, errors.ErrUnsupported }
