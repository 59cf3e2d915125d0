package namespace_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/caisson-engine/caisson/namespace"
)

func ExampleRoot_LookupUser() {
	dir, err := os.MkdirTemp("", "root")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"passwd": "app:x:1000:1000::/home/app:/bin/sh\n", "group": "audio:x:29:app\n"} {
		if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	u, err := namespace.Dir(dir).LookupUser("app")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.UID, u.Groups, u.Home)
	_, err = namespace.Dir(dir).LookupUser("nobody2")
	fmt.Println(errors.Is(err, namespace.ErrNoUser), err)
	// Output:
	// 1000 [1000 29] /home/app
	// true unable to find user nobody2: no matching entries in passwd file
}

func ExampleParseCapabilities() {
	set, err := namespace.ParseCapabilities("net_raw", "CAP_CHOWN")
	if err != nil {
		log.Fatal(err)
	}
	set.Drop(13)
	fmt.Println(set)
	// Output: CAP_CHOWN
}
