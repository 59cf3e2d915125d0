package volume_test

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/caisson-engine/caisson/volume"
)

func Example() {
	dir, err := os.MkdirTemp("", "volumes")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := volume.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Create("data", nil); err != nil {
		log.Fatal(err)
	}
	use, err := store.Acquire("data")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(store.Remove("data"), volume.ErrInUse))
	if err := use.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Remove("data"))
	// Output:
	// true
	// <nil>
}
