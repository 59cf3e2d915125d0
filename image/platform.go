package image

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/word"
)

// parsePlatform reads "linux/arm64/v8", "linux/amd64", "arm64" or "" (the platform this program runs on; always linux).
func parsePlatform(s string) (ocispec.Platform, error) {
	if s == "" {
		return normalPlatform(ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}), nil
	}
	parts := strings.Split(s, "/")
	for _, w := range parts {
		if len(w) > 64 || !word.Is(w, "_.-", "") {
			return ocispec.Platform{}, fmt.Errorf("platform %q: want os/architecture or os/architecture/variant", s)
		}
	}
	var p ocispec.Platform
	switch len(parts) {
	case 1:
		p.OS, p.Architecture = "linux", parts[0]
		if strings.EqualFold(parts[0], "linux") {
			p.Architecture = runtime.GOARCH
		}
	case 2:
		p.OS, p.Architecture = parts[0], parts[1]
	case 3:
		p.OS, p.Architecture, p.Variant = parts[0], parts[1], parts[2]
	default:
		return p, fmt.Errorf("platform %q: want os/architecture or os/architecture/variant", s)
	}
	return normalPlatform(p), nil
}

// normalPlatform gives each platform one spelling: aarch64 is arm64, armhf is arm/v7, and the variants that every
// machine of the architecture has (amd64/v1, arm64/v8) are left out.
func normalPlatform(p ocispec.Platform) ocispec.Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64", "amd64":
		p.Architecture = "amd64"
		if p.Variant == "v1" {
			p.Variant = ""
		}
	case "i386", "i686", "386":
		p.Architecture, p.Variant = "386", ""
	case "aarch64", "arm64":
		p.Architecture = "arm64"
		if p.Variant == "8" || p.Variant == "v8" || p.Variant == "v8.0" {
			p.Variant = ""
		}
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	case "arm":
		switch p.Variant {
		case "", "7":
			p.Variant = "v7"
		case "5", "6", "8":
			p.Variant = "v" + p.Variant
		}
	}
	return p
}

// formatPlatform is the inverse of parsePlatform.
func formatPlatform(p ocispec.Platform) string {
	p = normalPlatform(p)
	if p.OS == "" {
		p.OS = "unknown"
	}
	if p.Architecture == "" {
		p.Architecture = "unknown"
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// runnable lists the platforms whose programs a machine of platform p runs, the best first: p, its older variants, then
// the 32-bit kin.
func runnable(p ocispec.Platform) []ocispec.Platform {
	p = normalPlatform(p)
	list := []ocispec.Platform{{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}}
	add := func(arch, variant string) {
		list = append(list, ocispec.Platform{OS: p.OS, Architecture: arch, Variant: variant})
	}
	older := func(arch, variant string, least int) {
		n, err := strconv.Atoi(strings.TrimPrefix(variant, "v"))
		for ; err == nil && n <= 16 && n > least; n-- {
			add(arch, "v"+strconv.Itoa(n-1))
		}
	}
	switch p.Architecture {
	case "amd64":
		if p.Variant != "" {
			older("amd64", p.Variant, 2)
			add("amd64", "")
		}
		add("386", "")
	case "arm":
		older("arm", p.Variant, 5)
	case "arm64":
		if p.Variant != "" {
			add("arm64", "")
		}
		add("arm", "v8")
		older("arm", "v8", 5)
	}
	return list
}

// rank says how well an image of platform have suits want: 0 is best, -1 not at all.
func rank(want, have ocispec.Platform) int {
	have = normalPlatform(have)
	for i, p := range runnable(want) {
		if p.OS == have.OS && p.Architecture == have.Architecture && p.Variant == have.Variant {
			return i
		}
	}
	return -1
}

// choosePlatform returns the position in list of the manifest that suits want best, the first of equals, or -1. Entries
// without a platform are no candidates.
func choosePlatform(want ocispec.Platform, list []ocispec.Descriptor) int {
	best, at := -1, -1
	for i, d := range list {
		if d.Platform == nil {
			continue
		}
		if r := rank(want, *d.Platform); r >= 0 && (best < 0 || r < best) {
			best, at = r, i
		}
	}
	return at
}
