package registry

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, map[string]testenv.Program{
		"docker-credential-played": playCredentialHelper, "registry-writer": playWriter,
		"registry-pinger": playPinger,
	})
}

// playCredentialHelper is a credential helper that knows three registries.
func playCredentialHelper(args []string) int {
	server, _ := io.ReadAll(os.Stdin)
	if len(args) == 2 && args[1] != "get" { // it notes what it was told
		if strings.Contains(string(server), "broken.test") {
			fmt.Println("out of \x1b[31morder")
			return 1
		}
		if err := os.WriteFile(os.Getenv("PLAYED"), append([]byte(args[1]+" "), server...), 0o600); err != nil {
			return 3
		}
		return 0
	}
	switch string(server) {
	case "helped.test":
		fmt.Println(`{"ServerURL":"helped.test","Username":"ann","Secret":"s3cret"}`)
	case dockerAuthKey:
		fmt.Println(`{"Username":"<token>","Secret":"refresh-me"}`)
	case "broken.test":
		fmt.Println("out of \x1b[31morder")
		return 1
	case "endless.test":
		for {
			if _, err := os.Stdout.Write(make([]byte, 64<<10)); err != nil {
				return 1
			}
		}
	default:
		fmt.Println("credentials not found in native keychain")
		return 1
	}
	if len(args) != 2 || args[1] != "get" {
		return 2
	}
	return 0
}
