package namespace

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	programs["chat"] = chat
	programs["flood"] = flood
	programs["keep"] = keepAndDie
	programs["tally"] = tally
}

// chat says hello on both streams and repeats its input until that ends.
func chat(args []string) int {
	fmt.Println("out")
	fmt.Fprintln(os.Stderr, "err")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println("heard", lines.Text())
	}
	return 7
}

// tally says how long its input is when that has ended, and asks nobody for more.
func tally([]string) int {
	n, err := io.Copy(io.Discard, os.Stdin)
	fmt.Println("read", n, err)
	return 5
}

// flood writes numbered lines.
func flood(args []string) int {
	n, _ := strconv.Atoi(args[1])
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for i := range n {
		fmt.Fprintf(w, "line %07d\n", i)
	}
	return 0
}

// keepAndDie starts a kept process, says so and waits to be killed.
func keepAndDie(args []string) int {
	p, err := keptLaunch(Dir(args[1]), args[2], "/bin/chat").Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.Pid())
	for { // a select without cases would end the program when nothing else is under way
		time.Sleep(time.Hour)
	}
}

func keptLaunch(root *Root, dir string, args ...string) *Launch {
	l := defaultLaunch(root, args...)
	l.Keep = &Keep{Dir: dir, Stdin: true}
	return l
}

// keptRoot is a root with the programs that are kept. Keepers are no children of their program's, and are left to this one.
func keptRoot(t *testing.T, more ...string) *Root {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	return Dir(testenv.NewRootfs(t, append(more, "chat", "flood")...))
}

// logText is what the log holds of a stream.
func logText(t *testing.T, dir string, s Stream) string {
	t.Helper()
	r, err := OpenLog(dir)
	require.NoError(t, err)
	defer r.Close()
	var b bytes.Buffer
	for {
		f, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), f.Time, time.Minute)
		if f.Stream == s {
			b.Write(f.Data)
		}
	}
}

func TestKeep(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	p, err := keptLaunch(root, dir, "/bin/chat").Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	require.NotZero(t, p.Pid())
	_, err = keptLaunch(root, dir, "/bin/chat").Start(t.Context())
	require.ErrorIs(t, err, os.ErrExist, "the folder is taken")

	q, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	defer q.Close()
	require.Equal(t, p.Pid(), q.Pid())
	in, err := q.Input(t.Context())
	require.NoError(t, err)
	_, err = in.WriteString("one\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(logText(t, dir, Stdout), "heard one\n") }, time.Minute, time.Millisecond)
	require.NoError(t, in.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = q.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the keeper has the input open")

	require.NoError(t, p.CloseInput(t.Context()))
	require.NoError(t, p.CloseInput(t.Context()))
	for _, x := range []*Process{p, q} {
		s, err := x.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 7, s.Code)
		require.NotZero(t, s.MaxRSS)
		require.WithinDuration(t, time.Now(), s.Ended, time.Minute)
	}
	require.ErrorIs(t, q.Signal(syscall.SIGTERM), os.ErrProcessDone)
	require.Equal(t, "out\nheard one\n", logText(t, dir, Stdout))
	require.Equal(t, "err\n", logText(t, dir, Stderr))

	r, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	defer r.Close()
	s, err := r.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, s.Code)
	_, err = r.Input(t.Context())
	require.ErrorIs(t, err, os.ErrProcessDone)
	_, err = Adopt(t.Context(), t.TempDir())
	require.ErrorIs(t, err, ErrNotKept)
}

// TestKeepHalfClose: the input ends when all who write have closed it and one has said so, and what the process prints then is there.
func TestKeepHalfClose(t *testing.T) {
	root, dir := keptRoot(t, "tally"), t.TempDir()
	p, err := keptLaunch(root, dir, "/bin/tally").Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	var writers []*os.File
	for range 3 {
		q, err := Adopt(t.Context(), dir)
		require.NoError(t, err)
		in, err := q.Input(t.Context())
		require.NoError(t, err)
		require.NoError(t, q.Close())
		writers = append(writers, in)
	}
	require.NoError(t, p.CloseInput(t.Context()))
	_, err = p.Input(t.Context())
	require.ErrorIs(t, err, os.ErrClosed, "nobody else can write")
	for _, in := range writers { // those who could still can
		_, err := in.Write(bytes.Repeat([]byte("x"), 100_000))
		require.NoError(t, err)
	}
	for _, in := range writers {
		require.Empty(t, logText(t, dir, Stdout))
		require.NoError(t, in.Close())
	}
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, s.Code)
	require.Equal(t, "read 300000 <nil>\n", logText(t, dir, Stdout))
}

// The process outlives the program that started it.
func TestKeepOutlivesItsProgram(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Args = []string{"keep", root.String(), dir}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err, line)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	p, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	defer p.Close()
	require.Equal(t, pid, p.Pid())
	require.NoError(t, p.Signal(0))
	require.NoError(t, p.Signal(syscall.SIGKILL))
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, int(syscall.SIGKILL), s.Signal)
}

// keeperOf finds the parent of a process.
func keeperOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "PPid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			require.NoError(t, err)
			return n
		}
	}
	t.Fatal("no parent")
	return 0
}

// A lock that the keeper holds is free when the process has ended.
func TestKeepHolds(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	open := func() *os.File {
		f, err := os.OpenFile(filepath.Join(dir, "mine"), os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		return f
	}
	l := keptLaunch(root, t.TempDir(), "/bin/chat")
	f := open()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	l.Keep.Hold = []*os.File{f}
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, f.Close())
	f = open()
	defer f.Close()
	require.ErrorIs(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	require.NoError(t, p.CloseInput(t.Context()))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

// A container whose keeper is killed dies with it, and whoever looks next learns that.
func TestKeeperKilled(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	p, err := keptLaunch(root, dir, "/bin/chat").Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	keeper := keeperOf(t, p.Pid())
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", keeper))
	require.NoError(t, err)
	require.Equal(t, "caisson-keep\n", string(b))
	require.NoError(t, syscall.Kill(keeper, syscall.SIGKILL))
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, int(syscall.SIGKILL), s.Signal)
	q, err := Adopt(t.Context(), dir)
	require.NoError(t, err)
	defer q.Close()
	s, err = q.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, int(syscall.SIGKILL), s.Signal)
}

// What a process writes while nobody reads is bounded, and holds it up by nothing.
func TestKeepLogIsBounded(t *testing.T) {
	const lines = 100_000
	root, dir := keptRoot(t), t.TempDir()
	l := keptLaunch(root, dir, "/bin/flood", strconv.Itoa(lines))
	l.Keep.LogSize = 100_000 // rounded up to 128 KiB
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Code)
	text := logText(t, dir, Stdout)
	require.True(t, strings.HasSuffix(text, fmt.Sprintf("line %07d\n", lines-1)))
	require.Less(t, len(text), 2*(128<<10+frameData))
	first, err := strconv.Atoi(strings.TrimSpace(text[strings.Index(text, "line ")+5:][:7]))
	require.NoError(t, err)
	for i, line := range strings.Split(strings.TrimSpace(text[strings.Index(text, "line "):]), "\n") {
		require.Equal(t, fmt.Sprintf("line %07d", first+i), line)
	}
}

// A reader that keeps up loses nothing when the log is renamed.
func TestLogReaderFollows(t *testing.T) {
	const lines = 50_000
	root, dir := keptRoot(t), t.TempDir()
	l := keptLaunch(root, dir, "/bin/flood", strconv.Itoa(lines))
	l.Keep.LogSize = 1 << 19
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	r, err := OpenLog(dir)
	require.NoError(t, err)
	defer r.Close()
	n := 0
	for {
		f, err := r.Follow(t.Context())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		n += len(f.Data)
	}
	require.Equal(t, lines*len("line 0000000\n"), n)
}

func TestKeepTTY(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	l := keptLaunch(root, dir, "/bin/chat")
	l.TTY, l.TTYSize = true, WinSize{Rows: 40, Cols: 100}
	p, err := l.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	for range 2 { // attached twice
		tty, err := p.Input(t.Context())
		require.NoError(t, err)
		size, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
		require.NoError(t, err)
		require.Equal(t, uint16(40), size.Row)
		_, err = tty.WriteString("hi\n")
		require.NoError(t, err)
		require.NoError(t, tty.Close())
	}
	require.NoError(t, p.CloseInput(t.Context()))
	tty, err := p.Input(t.Context())
	require.NoError(t, err)
	_, err = tty.WriteString("\x04")
	require.NoError(t, err)
	require.NoError(t, tty.Close())
	s, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, s.Code)
	require.Equal(t, 2, strings.Count(logText(t, dir, Stdout), "heard hi\r\n"))
}

func TestKeepRefuses(t *testing.T) {
	root, dir := keptRoot(t), t.TempDir()
	for field, change := range map[string]func(*Launch){
		"Stdin":        func(l *Launch) { l.Stdout = os.Stdout },
		"Keep.Dir":     func(l *Launch) { l.Keep.Dir = "" },
		"Keep.LogSize": func(l *Launch) { l.Keep.LogSize = 1 },
	} {
		l := keptLaunch(root, dir, "/bin/chat")
		change(l)
		_, err := l.Start(t.Context())
		var start *StartError
		require.True(t, errors.As(err, &start), "%v", err)
		require.Equal(t, field, start.Path)
	}
	// A start that fails leaves the folder as it was.
	for _, change := range []func(*Launch){
		func(l *Launch) { l.Args = []string{"/missing"} },
		func(l *Launch) { l.Dir = "/missing" },
		func(l *Launch) { l.Keep.Dir += "/missing" },
		func(l *Launch) { l.TTY, l.Args = true, []string{"/missing"} },
		func(l *Launch) { l.Created = func(*Process) error { return errors.New("no") } },
	} {
		l := keptLaunch(root, dir, "/bin/chat")
		change(l)
		_, err := l.Start(t.Context())
		var start *StartError
		require.Error(t, err)
		if l.Created == nil {
			require.True(t, errors.As(err, &start), "%v", err)
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		left, err := filepath.Glob(dir + "/*")
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// A process that ends at once, before its keeper is asked, was started all the same.
func TestKeepEndsAtOnce(t *testing.T) {
	root := keptRoot(t)
	ended := 0
	for range 6 {
		l := keptLaunch(root, t.TempDir(), "/bin/flood", "3")
		l.edit = func(p *Program) { // who starts the keeper takes its time
			for i := range p.steps {
				if s := &p.steps[i]; s.name == "exit_group" {
					nap := p.words("150ms", 0, 150_000_000)
					label := p.label()
					p.call("nanosleep", unix.SYS_NANOSLEEP, nap, null)
					p.labels[label] = len(p.steps) - 1
					p.call("exit_group", unix.SYS_EXIT_GROUP, num(0))
					s = &p.steps[i]
					s.op, s.n, s.then, s.name = opSet, 1, label+1, "set"
					return
				}
			}
		}
		p, err := l.Start(t.Context())
		require.NoError(t, err)
		if p.PidFD() == nil {
			ended++
		}
		s, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Zero(t, s.Code)
		require.Contains(t, logText(t, l.Keep.Dir, Stdout), "line 0000002\n")
		require.ErrorIs(t, p.Signal(0), os.ErrProcessDone)
		require.NoError(t, p.Close())
	}
	require.NotZero(t, ended)
}
