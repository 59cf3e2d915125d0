package namespace

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var (
	poured  = flag.Int64("poured", 64<<20, "bytes that the process of TestKeepPours writes")
	keepers = flag.Int("keepers", 60, "processes that TestManyKeepers keeps at once")
	stopAt  = flag.Int("stopat", 12, "the distance between the steps at which TestKeepKillStarterAtEachStep kills")
)

func init() {
	programs["pour"] = pour
	programs["stopat"] = stopAndDie
}

// pour writes numbered lines of 32 bytes.
func pour(args []string) int {
	n, _ := strconv.ParseInt(args[1], 10, 64)
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	var line [32]byte
	for i := range n / 32 {
		b := strconv.AppendInt(line[:0], i, 10)
		for len(b) < 31 {
			b = append(b, '.')
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return 1
		}
	}
	if w.Flush() != nil {
		return 1
	}
	return 3
}

// A process that writes more than the log may hold, while nobody reads, is not held up, and its last lines are there, each
// of them whole.
func TestKeepPours(t *testing.T) {
	if testing.Short() {
		*poured = min(*poured, 8<<20)
	}
	root, dir := keptRoot(t, "pour"), t.TempDir()
	l := keptLaunch(root, dir, "/bin/pour", strconv.FormatInt(*poured, 10))
	l.Keep.LogSize = 1 << 20
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	most := int64(0)
	done := make(chan *State, 1)
	go func() {
		s, err := p.Wait(context.Background())
		if err != nil {
			t.Error(err)
		}
		done <- s
	}()
	var s *State
	for s == nil {
		select {
		case s = <-done:
		case <-time.After(5 * time.Millisecond):
			size := int64(0)
			for _, name := range []string{keepLog, keepOldLog} {
				if st, err := os.Stat(filepath.Join(dir, name)); err == nil {
					size += st.Size()
				}
			}
			most = max(most, size)
		}
	}
	require.Equal(t, 3, s.Code)
	require.LessOrEqual(t, most, int64(3<<20), "two files of 1 MiB, one frame more each, and one that is being renamed")
	text := logText(t, dir, Stdout)
	require.GreaterOrEqual(t, len(text), 1<<20)
	text = text[strings.IndexByte(text, '\n')+1:] // the first line's beginning may be in a frame that is gone
	i := *poured/32 - int64(len(text)/32)
	for line := range strings.Lines(text) {
		require.Equal(t, strconv.FormatInt(i, 10), strings.TrimRight(line, ".\n"))
		i++
	}
	require.Equal(t, *poured/32, i)
}

// Many keepers at once cost the host program neither threads nor descriptors once it has let go of them, and each tells its
// own process's end.
func TestManyKeepers(t *testing.T) {
	n := *keepers
	if testing.Short() {
		n = 12
	}
	root := keptRoot(t)
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	threads := func() int {
		list, err := os.ReadDir("/proc/self/task")
		require.NoError(t, err)
		return len(list)
	}
	each := func(f func(dir string) error) {
		t.Helper()
		var wg sync.WaitGroup
		work := make(chan string)
		for range 4 {
			wg.Go(func() {
				for dir := range work {
					if err := f(dir); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, dir := range dirs {
			work <- dir
		}
		close(work)
		wg.Wait()
	}
	start := func(dir string) error {
		p, err := keptLaunch(root, dir, "/bin/chat").Start(t.Context())
		if err != nil {
			return err
		}
		return p.Close()
	}
	first := dirs[:4] // what the runtime makes for the work itself
	for _, dir := range first {
		require.NoError(t, start(dir))
	}
	dirs = dirs[4:]
	each(func(dir string) error { return nil })
	fds, tasks := len(descriptors(t)), threads()
	each(start)
	require.Len(t, descriptors(t), fds)
	var mu sync.Mutex
	waiting := map[string]*Process{}
	each(func(dir string) error {
		p, err := Adopt(t.Context(), dir)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		waiting[dir] = p
		return nil
	})
	ends := make(chan error, n)
	for dir, p := range waiting {
		go func() {
			s, err := p.Wait(context.Background())
			if err == nil && s.Code != 7 {
				err = fmt.Errorf("%s: %+v", dir, s)
			}
			ends <- errors.Join(err, p.Close())
		}()
	}
	require.Less(t, threads(), tasks+12, "who waits takes no thread")
	each(func(dir string) error { // another adopts them, and stops them
		p, err := Adopt(t.Context(), dir)
		if err != nil {
			return err
		}
		return errors.Join(p.CloseInput(t.Context()), p.Close())
	})
	for range waiting {
		require.NoError(t, <-ends)
	}
	each(func(dir string) error {
		p, err := Adopt(t.Context(), dir)
		if err != nil {
			return err
		}
		s, err := p.Wait(t.Context())
		if err == nil && s.Code != 7 {
			err = fmt.Errorf("%s: %+v", dir, s)
		}
		return errors.Join(err, p.Close())
	})
	require.Len(t, descriptors(t), fds)
	dirs = first
	each(func(dir string) error {
		p, err := Adopt(t.Context(), dir)
		if err != nil {
			return err
		}
		_ = p.CloseInput(t.Context())
		_, err = p.Wait(t.Context())
		return errors.Join(err, p.Close())
	})
}

// stopAndDie starts a kept process whose step, args[3], waits: it says so on descriptor 3 and goes on at the end of descriptor 4.
func stopAndDie(args []string) int {
	step, _ := strconv.Atoi(args[3])
	l := keptLaunch(Dir(args[1]), args[2], "/bin/chat")
	said, held := os.NewFile(3, "said"), os.NewFile(4, "held")
	for fd := 3; fd < keeperFDs; fd++ { // the numbers that the keeper's descriptors get
		l.ExtraFiles = append(l.ExtraFiles, said)
	}
	l.ExtraFiles = append(l.ExtraFiles, said, held)
	l.edit = func(p *Program) { p.waitAt(step, keeperFDs, keeperFDs+1) }
	if _, err := l.Start(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// waitAt lets the program write to one descriptor and read from another one before a step.
func (p *Program) waitAt(k, said, held int) {
	own := p.steps[k] // with the labels that it goes to
	next := p.label()
	p.labels[next] = k + 1
	wait := p.label()
	p.place(wait)
	p.call("write", unix.SYS_WRITE, num(said), p.str("x"), num(1))
	p.ignore(anyError)
	p.call("read", unix.SYS_READ, num(held), p.variable("held", 8).addr(), num(8))
	p.ignore(anyError)
	if own.then == 0 && own.next == 0 {
		own.then = next + 1
	}
	p.steps = append(p.steps, own)
	s := &p.steps[k]
	*s = step{op: opSet, n: 1, first: len(p.args), then: wait + 1, name: "wait"}
	p.args = append(p.args, num(0))
}

// A program that is killed while its start is at any step leaves a process that can be adopted, or none.
func TestKeepKillStarterAtEachStep(t *testing.T) {
	root := keptRoot(t)
	self, err := os.Executable()
	require.NoError(t, err)
	steps := 0
	l := keptLaunch(root, t.TempDir(), "/bin/chat")
	l.edit = func(p *Program) { steps = p.Len() }
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.CloseInput(t.Context()))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
	stride := *stopAt
	if testing.Short() {
		stride *= 4
	}
	reached, adopted := 0, 0
	for k := rand.IntN(stride); k < steps; k += stride {
		dir := t.TempDir()
		saidR, saidW, err := os.Pipe()
		require.NoError(t, err)
		heldR, heldW, err := os.Pipe()
		require.NoError(t, err)
		cmd := exec.Command(self)
		cmd.Args = []string{"stopat", root.String(), dir, strconv.Itoa(k)}
		cmd.ExtraFiles = []*os.File{saidW, heldR}
		require.NoError(t, cmd.Start())
		closeFiles(saidW, heldR)
		// A step that is not gone through is reached by the end of the program.
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		told := make(chan bool, 1)
		go func() {
			n, _ := saidR.Read(make([]byte, 1))
			told <- n == 1
		}()
		select {
		case at := <-told:
			if at {
				reached++
			}
		case <-ended:
		}
		_ = cmd.Process.Kill()
		<-ended
		closeFiles(heldW)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		p, err := Adopt(ctx, dir)
		if !errors.Is(err, ErrNotKept) {
			require.NoError(t, err, "step %d", k)
			adopted++
			if err := p.Signal(unix.SIGKILL); err != nil {
				require.ErrorIs(t, err, os.ErrProcessDone)
			}
			_, err = p.Wait(ctx)
			require.NoError(t, err, "step %d", k)
			require.NoError(t, p.Close())
		}
		cancel()
		_, _ = io.Copy(io.Discard, saidR) // until all that the start has made is gone
		closeFiles(saidR)
	}
	require.NotZero(t, reached)
	require.NotZero(t, adopted)
}
