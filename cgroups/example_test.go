package cgroups_test

import (
	"errors"
	"fmt"

	"github.com/caisson-engine/caisson/cgroups"
)

// Limits that make no sense are refused on every system, with the name of the field.
func ExampleResources_Validate() {
	r := cgroups.Resources{Memory: 1 << 20}
	err := r.Validate()
	fmt.Println(err)

	var re *cgroups.ResourceError
	fmt.Println(errors.As(err, &re), re.Field)
	// Output:
	// Memory 1048576: is below the minimum of 6291456 bytes (6 MiB)
	// true Memory
}

// Shares and weights have the same defaults and bounds, on scales of their own.
func ExampleWeight() {
	for _, shares := range []uint64{2, 512, 1024, 2048, 262144} {
		fmt.Println(shares, cgroups.Weight(shares))
	}
	// Output:
	// 2 1
	// 512 59
	// 1024 100
	// 2048 174
	// 262144 10000
}

func ExampleDeviceRule() {
	rules := append(cgroups.DefaultDevices(),
		cgroups.DeviceRule{Allow: true, Type: 'c', Major: 10, Minor: 229, Access: "rw"}) // /dev/fuse
	fmt.Println(rules[len(rules)-1])
	// Output:
	// allow c 10:229 rw
}
