package container_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["ordinary-forks"] = ordinaryForks }

// ordinaryForks is an ordinary user's program with a container that has a fork server; its argument is the root.
func ordinaryForks(args []string) int {
	ctx := context.Background()
	c := container.New(namespace.Dir(args[1]), "sleep", "1h")
	c.ForkServer = true
	if err := c.Start(ctx); err != nil {
		fmt.Println("start:", err)
		return 1
	}
	for _, command := range []string{"who", "who", "comms", "nothing"} {
		out, err := c.Command(command).CombinedOutput(ctx)
		fmt.Printf("%s%s %v\n", out, command, exitText(err))
	}
	p := c.Command("who")
	p.User = "app"
	out, err := p.CombinedOutput(ctx)
	fmt.Printf("%sapp %v\n", out, exitText(err))
	_ = c.Kill()
	fmt.Println("end", c.Wait(ctx))
	return 0
}

// TestForkServerOrdinaryUser has a fork server without root.
func TestForkServerOrdinaryUser(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	u := testenv.NewUser(t, true)
	b, err := u.Command(t, "ordinary-forks", testenv.NewRootfs(t, "who", "sleep", "comms")).CombinedOutput()
	require.NoError(t, err, string(b))
	maps := fmt.Sprintf("[0 %d 1 1 %d 65536]", u.ID, u.FirstSub)
	who := func(ids string) string {
		return fmt.Sprintf("who %s %s\n/bin 65534 65534\n/dev/null 65534 65534\n/dev/pts 0 0\nstdout <nil>\n", ids, maps)
	}
	root := who("0 0 [0 3000]") + "who \n"
	require.Contains(t, string(b), root+root)
	require.Contains(t, string(b), "forkserver\n")
	require.Contains(t, string(b), "nothing start container: execve nothing: no such file or directory\n")
	require.Contains(t, string(b), who("1000 1000 [1000 2000 3000]")+"app \nend signal: killed\n")
}
