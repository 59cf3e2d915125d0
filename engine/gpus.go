package engine

import (
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
)

// A GPURequest asks for GPUs as Docker's clients do. They are devices of CDI here: see [Isolation].CDIDevices.
type GPURequest struct {
	// Driver is "nvidia", which "" stands for, or "amd"; with "cdi" the IDs are names of devices, "vendor.com/class=name".
	Driver string
	// Count is how many, the first ones; -1 is all. IDs are which.
	Count int
	IDs   []string
}

// CDI returns the names of the devices.
func (g *GPURequest) CDI() ([]string, error) {
	kind, ok := map[string]string{"": "nvidia.com/gpu", "nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "cdi": ""}[g.Driver]
	switch {
	case !ok:
		return nil, invalid("could not select device driver %q: nvidia, amd and cdi are there", g.Driver)
	case g.Count != 0 && len(g.IDs) > 0:
		return nil, invalid("cannot set both Count and DeviceIDs on device request")
	case g.Count < -1 || g.Count > 1024:
		return nil, invalid("invalid count of GPUs: %d", g.Count)
	case kind == "" && len(g.IDs) == 0:
		return nil, invalid("a device request of driver cdi names no device")
	case kind == "":
		return slices.Clone(g.IDs), nil
	}
	ids := g.IDs
	switch {
	case g.Count == -1:
		ids = []string{"all"}
	case len(ids) == 0:
		for i := range max(g.Count, 1) {
			ids = append(ids, strconv.Itoa(i))
		}
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = kind + "=" + id
	}
	return names, nil
}

// ParseGPUs reads docker run's --gpus: "all", a number, or fields with commas between: driver=…, count=…, "device=…", a number or ID or several
// in quotes, and capabilities=…, which are the device's.
func ParseGPUs(text string) (*GPURequest, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return nil, invalid("invalid --gpus %q: %v", text, err)
	}
	g := &GPURequest{}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			key, value = "count", field
		}
		switch key {
		case "count":
			if g.Count, err = strconv.Atoi(strings.Replace(value, "all", "-1", 1)); err != nil {
				return nil, invalid("invalid --gpus %q: count %q is neither a number nor all", text, value)
			}
		case "device":
			g.IDs = strings.Split(value, ",")
		case "driver":
			g.Driver = value
		case "capabilities":
		default:
			return nil, invalid("invalid --gpus %q: unexpected key %q", text, key)
		}
	}
	if g.Count == 0 && len(g.IDs) == 0 {
		g.Count = 1
	}
	_, err = g.CDI()
	return g, err
}
