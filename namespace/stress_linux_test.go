package namespace

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

var launches = flag.Int("launches", 300, "the number of starts in TestStress")

// TestStress starts processes from several goroutines while garbage is collected and signals arrive.
func TestStress(t *testing.T) {
	testenv.RequireRoot(t)
	if testing.Short() {
		t.Skip("short")
	}
	if os.Getenv("CAISSON_VM") != "" {
		*launches /= 10 // an emulated processor
	}
	root := Dir(trueRootfs(t))
	sink := make(chan os.Signal, 100)
	signal.Notify(sink, syscall.SIGUSR1)
	defer signal.Stop(sink)
	ctx, stop := context.WithCancel(t.Context())
	var noise sync.WaitGroup
	noise.Go(func() {
		var keep [][]byte
		for ctx.Err() == nil {
			for range 50 {
				keep = append(keep, make([]byte, 2000))
			}
			if len(keep) > 2000 {
				keep = nil
			}
			runtime.GC()
		}
	})
	noise.Go(func() {
		for ctx.Err() == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
			time.Sleep(50 * time.Microsecond)
			for len(sink) > 0 {
				<-sink
			}
		}
	})
	var n atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for n.Add(1) <= int64(*launches) && !t.Failed() {
				l := defaultLaunch(root, "true")
				p, err := l.Start(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				s, err := p.Wait(context.Background())
				if err != nil || s.Code != 0 {
					t.Error(s, err)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	stop()
	noise.Wait()
	require.False(t, t.Failed())
}
