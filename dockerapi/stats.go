package dockerapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/engine"
)

// stats sends what a container uses, each second. One that does not run uses nothing.
func (s *Server) stats(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	again := q.Get("stream") == "" || q.bool("stream")
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	last, err := s.usage(r, c)
	if err != nil {
		return err
	}
	if !again && q.bool("one-shot") {
		return writeJSON(w, http.StatusOK, last)
	}
	out := json.NewEncoder(stream(w, "application/json"))
	if again { // something at once; what it uses since is known in a second
		if err := out.Encode(last); err != nil {
			return nil
		}
	}
	for {
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(cmp.Or(s.statsEvery, time.Second)):
		}
		now, err := s.usage(r, c)
		if errors.Is(err, fs.ErrNotExist) { // it is removed
			return nil
		}
		if err != nil {
			return err
		}
		now.PreRead, now.PreCPUStats = last.Read, last.CPUStats
		if err := out.Encode(now); err != nil || !again {
			return nil // the client has hung up
		}
		last = now
	}
}

// usage is what a container uses now.
func (s *Server) usage(r *http.Request, c *engine.Container) (*container.StatsResponse, error) {
	to := &container.StatsResponse{ID: c.ID, Name: "/" + c.Name, OSType: runtime.GOOS}
	u, err := s.Engine.Stats(r.Context(), c.ID)
	var e *engine.Error
	switch {
	case errors.As(err, &e) && e.Kind == engine.Conflict, errors.Is(err, errors.ErrUnsupported): // it does not run, or has no control group
		return to, nil
	case err != nil:
		return nil, err
	}
	to.Read = time.Now().UTC()
	to.CPUStats = container.CPUStats{
		CPUUsage: container.CPUUsage{
			TotalUsage: uint64(u.CPU.Usage), UsageInKernelmode: uint64(u.CPU.System), UsageInUsermode: uint64(u.CPU.User),
		},
		SystemUsage: systemTime(), OnlineCPUs: uint32(runtime.NumCPU()),
		ThrottlingData: container.ThrottlingData{Periods: u.CPU.Periods, ThrottledPeriods: u.CPU.Throttled, ThrottledTime: uint64(u.CPU.ThrottledTime)},
	}
	for _, t := range u.CPU.PerCPU {
		to.CPUStats.CPUUsage.PercpuUsage = append(to.CPUStats.CPUUsage.PercpuUsage, uint64(t))
	}
	limit := uint64(memoryTotal())
	if l := u.Memory.Limit; l > 0 && uint64(l) < limit {
		limit = uint64(l)
	}
	to.MemoryStats = container.MemoryStats{
		Usage: uint64(max(u.Memory.Current, 0)), MaxUsage: uint64(max(u.Memory.Peak, 0)), Limit: limit, Failcnt: u.Memory.LimitHits, Stats: u.Memory.Detail,
	}
	to.PidsStats = container.PidsStats{Current: uint64(max(u.Pids.Current, 0)), Limit: uint64(max(u.Pids.Limit, 0))}
	to.BlkioStats = blkio(&u.IO)
	if c.Config.Network != "host" && c.Config.Network != "none" {
		to.Networks = map[string]container.NetworkStats{"eth0": {RxBytes: u.Received, TxBytes: u.Sent}}
	}
	return to, nil
}

func blkio(io *cgroups.IO) (b container.BlkioStats) {
	entries := func(d *cgroups.IODeviceStats, read, write uint64) []container.BlkioStatEntry {
		return []container.BlkioStatEntry{
			{Major: uint64(d.Major), Minor: uint64(d.Minor), Op: "read", Value: read}, {Major: uint64(d.Major), Minor: uint64(d.Minor), Op: "write", Value: write},
		}
	}
	for i := range io.Devices {
		d := &io.Devices[i]
		b.IoServiceBytesRecursive = append(b.IoServiceBytesRecursive, entries(d, d.ReadBytes, d.WriteBytes)...)
		b.IoServicedRecursive = append(b.IoServicedRecursive, entries(d, d.Reads, d.Writes)...)
	}
	return b
}

// systemTime is the processor time that the machine has had, in nanoseconds: busy and idle.
func systemTime() uint64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	var ticks uint64
	for _, text := range f[min(1, len(f)):min(8, len(f))] {
		n, _ := strconv.ParseUint(text, 10, 64)
		ticks += n
	}
	return ticks * uint64(time.Second/100) // USER_HZ
}

func (s *Server) top(w http.ResponseWriter, r *http.Request) error {
	rows, err := s.Engine.Top(r.Context(), r.PathValue("name"), strings.Fields(queryOf(r).Get("ps_args")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, &container.TopResponse{Titles: rows[0], Processes: rows[1:]})
}

func (s *Server) changes(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Engine.Changes(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	all := make([]container.FilesystemChange, len(list))
	for i, c := range list {
		all[i] = container.FilesystemChange{Path: c.Path, Kind: container.ChangeType(c.Kind)}
	}
	return writeJSON(w, http.StatusOK, all)
}

// An updateBody is the body of a request to update a container, with the fields too that clients before version 1.42 send.
type updateBody struct {
	container.UpdateConfig
	KernelMemory, KernelMemoryTCP int64
}

// updateContainer changes limits and the restart policy. Fields that cannot be changed are refused.
func (s *Server) updateContainer(w http.ResponseWriter, r *http.Request) error {
	b := &updateBody{}
	if err := s.readJSON(w, r, b, false); err != nil {
		return err
	}
	u, err := updateOf(b)
	if err != nil {
		return err
	}
	if err := s.Engine.Update(r.Context(), r.PathValue("name"), u); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, &container.UpdateResponse{Warnings: []string{}})
}

func updateOf(b *updateBody) (*engine.Update, error) {
	if err := refuse("UpdateConfig", map[string]bool{
		"CgroupParent": b.CgroupParent != "", "BlkioWeightDevice": len(b.BlkioWeightDevice) > 0, "BlkioDeviceReadBps": len(b.BlkioDeviceReadBps) > 0,
		"BlkioDeviceWriteBps": len(b.BlkioDeviceWriteBps) > 0, "BlkioDeviceReadIOps": len(b.BlkioDeviceReadIOps) > 0,
		"BlkioDeviceWriteIOps": len(b.BlkioDeviceWriteIOps) > 0,
		"Devices":              len(b.Devices) > 0, "DeviceCgroupRules": len(b.DeviceCgroupRules) > 0, "DeviceRequests": len(b.DeviceRequests) > 0,
		"MemorySwappiness": b.MemorySwappiness != nil && *b.MemorySwappiness != -1, "OomKillDisable": b.OomKillDisable != nil && *b.OomKillDisable,
		"Ulimits": len(b.Ulimits) > 0, "CpuCount": b.CPUCount != 0, "CpuPercent": b.CPUPercent != 0, "IOMaximumIOps": b.IOMaximumIOps != 0,
		"IOMaximumBandwidth": b.IOMaximumBandwidth != 0, "KernelMemory": b.KernelMemory != 0, "KernelMemoryTCP": b.KernelMemoryTCP != 0,
	}); err != nil {
		return nil, err
	}
	for name, micros := range map[string]int64{"CpuRealtimePeriod": b.CPURealtimePeriod, "CpuRealtimeRuntime": b.CPURealtimeRuntime} {
		if micros < 0 || micros > int64(time.Hour/time.Microsecond) {
			return nil, badRequest("invalid %s: %d", name, micros)
		}
	}
	if b.CPUShares < 0 || b.CPUQuota < -1 || b.CPUPeriod < 0 || b.CPUQuota > int64(time.Hour/time.Microsecond) || b.CPUPeriod > int64(time.Hour/time.Microsecond) {
		return nil, badRequest("invalid CpuShares, CpuQuota or CpuPeriod: %d, %d, %d", b.CPUShares, b.CPUQuota, b.CPUPeriod)
	}
	u := &engine.Update{
		Memory: b.Memory, MemorySwap: b.MemorySwap, MemoryReservation: b.MemoryReservation, CPUs: float64(b.NanoCPUs) / 1e9,
		CPUShares: uint64(b.CPUShares), CpusetCPUs: b.CpusetCpus, CpusetMems: b.CpusetMems, IOWeight: b.BlkioWeight,
		CPUQuota: time.Duration(b.CPUQuota) * time.Microsecond, CPUPeriod: time.Duration(b.CPUPeriod) * time.Microsecond,
		RealtimePeriod:  time.Duration(b.CPURealtimePeriod) * time.Microsecond,
		RealtimeRuntime: time.Duration(b.CPURealtimeRuntime) * time.Microsecond,
		RestartPolicy:   engine.RestartPolicy{Name: string(b.RestartPolicy.Name), MaximumRetryCount: b.RestartPolicy.MaximumRetryCount},
	}
	if b.CPUQuota == -1 {
		u.CPUQuota = cgroups.Unlimited
	}
	if p := b.PidsLimit; p != nil {
		if u.PidsLimit = *p; *p == 0 { // Docker's word for no limit
			u.PidsLimit = cgroups.Unlimited
		}
	}
	return u, nil
}
