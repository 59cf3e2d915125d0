package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// enterForMaps reads the maps of a user namespace in which this program sees no process, as of one that is only kept by a mount:
// a process of its own enters it for that, which takes CAP_SYS_ADMIN there.
func enterForMaps(ns *os.File) (uids, gids []IDMapping, err error) {
	host := Namespace{Host: true}
	l := &Launch{
		Args:       []string{"true"},
		Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host},
	}
	p := &Program{}
	report := p.file("report", nil)
	sync := p.file("user namespace's maps", nil)
	p.inline, p.sync = int(report.v), int(sync.v)
	c := &compiler{Program: p, l: l, user: userMode{own: true, sync: sync}}
	c.call("setsid", unix.SYS_SETSID)
	c.notDumpable() // there may be processes in it, which this program does not see
	c.call("setns", unix.SYS_SETNS, c.file("user namespace", useFile(ns)), flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	c.send(c.str("m"), 1)
	c.await("user namespace's maps")
	c.call("exit_group", unix.SYS_EXIT_GROUP, num(0))

	s := newStarter(l, p)
	defer s.close()
	stub, err := s.begin(s.open)
	if err != nil {
		return nil, nil, err
	}
	defer endGroup(stub)
	if _, err := s.receive(); errors.Is(err, io.EOF) {
		if _, err = s.result(context.Background()); err == nil {
			err = s.died(stub)
		}
		return nil, nil, err
	} else if err != nil {
		return nil, nil, err
	}
	if uids, err = readMap(fmt.Sprintf("/proc/%d/uid_map", stub.pid)); err == nil {
		gids, err = readMap(fmt.Sprintf("/proc/%d/gid_map", stub.pid))
	}
	return uids, gids, err
}
