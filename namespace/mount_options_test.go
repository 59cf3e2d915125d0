package namespace

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSetOptions(t *testing.T) {
	for options, want := range map[string]Mount{
		"":                              {},
		"defaults,silent,iversion,acl":  {},
		"rbind,ro,nosuid":               {Type: "bind", Recursive: true, TopFlags: ReadOnly | NoSuid},
		"bind,rro,rnoexec,rnosuid,rdev": {Type: "bind", Flags: ReadOnly | NoExec | NoSuid, Clear: NoDev},
		"ro,rw":                         {TopClear: ReadOnly},
		"rw,ro":                         {TopFlags: ReadOnly},
		"rro,rrw":                       {Clear: ReadOnly},
		"noatime,strictatime":           {TopFlags: StrictAtime},
		"relatime,norelatime,atime":     {TopClear: RelAtime | NoAtime},
		"rnodiratime,nosymfollow":       {Flags: NoDirAtime, TopFlags: NoSymfollow},
		"rslave":                        {Propagation: Slave},
		"shared":                        {Propagation: Shared},
		"runbindable,private":           {Propagation: Private},
		"unbindable":                    {Propagation: Unbindable},
		"size=64m,mode=1777,sync":       {Data: "size=64m,mode=1777,sync"},
		"bind,sync,dirsync,lazytime":    {Type: "bind"},
		"bind,size=64m":                 {Type: "bind", Data: "size=64m"}, // which a bind has not: the check says so
		"r":                             {Data: "r"},
		"size=1m,suid,exec,dev":         {TopClear: NoSuid | NoExec | NoDev, Data: "size=1m"},
	} {
		var m Mount
		require.NoError(t, m.SetOptions(strings.Split(options, ",")...), options)
		require.Equal(t, want, m, options)
	}
	m := Mount{Type: "tmpfs", Data: "size=1m"}
	require.NoError(t, m.SetOptions("tmpcopyup", "mode=700"))
	require.Equal(t, Mount{Type: "tmpfs", CopyUp: true, Data: "size=1m,mode=700"}, m)

	require.Error(t, (&Mount{Type: "proc"}).SetOptions("tmpcopyup"))
	require.Error(t, (&Mount{}).SetOptions("a=1,b=2"))
	for _, o := range []string{"remount", "ridmap", "idmap"} {
		require.True(t, errors.Is((&Mount{}).SetOptions(o), errors.ErrUnsupported), o)
	}
	require.Equal(t, "ro,noexec,nodiratime", (ReadOnly | NoExec | NoDirAtime).String())
}
