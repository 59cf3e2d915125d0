package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// wanted are the modules that the tests need, by name. One that is built into the kernel is passed over.
var wanted = []string{
	"virtio_pci", "virtio_blk", "overlay", "erofs", "veth", "bridge", "br_netfilter", "dummy", "tun", "loop",
	"nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_redir", "nft_reject", "nft_reject_inet", "nft_fib_inet",
	"nft_chain_nat", "nft_log", "nft_limit", "nft_meta_bridge", "macvlan", "ipvlan", "sctp", "quota_v2", "xfs",
}

// onDemand are modules that a few tests put in themselves: a file system's client, and the server that is the other side.
var onDemand = []string{"nfsv4", "nfsd"}

// A kernel lies unpacked in the cache.
type kernel struct {
	image    string   // path of vmlinuz
	release  string   // as uname -r says
	modules  []string // paths, in an order that satisfies their dependencies
	onDemand []string // those that come after them
}

// kernel returns Debian's newest cloud kernel of a series such as 6.12.
func (a *archive) kernel(ctx context.Context, series string) (*kernel, error) {
	// What is kept holds just the modules that were wanted.
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.Join(slices.Concat(wanted, []string{"+"}, onDemand), " ")))
	dir, err := a.cached(fmt.Sprintf("linux-%s-%08x", series, h.Sum32()), func(dir string) error {
		name := `^linux-image-` + regexp.QuoteMeta(series) + `\.[0-9].*-cloud-` + a.arch + `$`
		name, err := a.find(ctx, name)
		if err != nil {
			return err
		}
		files := filepath.Join(dir, "files")
		if err := a.unpack(ctx, name, files); err != nil {
			return err
		}
		if err := pick(ctx, files, dir); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return os.RemoveAll(files)
	})
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		return nil, err
	}
	var about struct {
		Release           string
		Modules, OnDemand []string
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, err
	}
	k := &kernel{image: filepath.Join(dir, "vmlinuz"), release: about.Release}
	for _, m := range about.Modules {
		k.modules = append(k.modules, filepath.Join(dir, m))
	}
	for _, m := range about.OnDemand {
		k.onDemand = append(k.onDemand, filepath.Join(dir, m))
	}
	return k, nil
}

// pick moves what is needed of an unpacked kernel package from files to dir.
func pick(ctx context.Context, files, dir string) error {
	images, err := filepath.Glob(filepath.Join(files, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("the package has the kernels %v", images)
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	if err := os.Rename(images[0], filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	p := &picker{ctx: ctx, dir: dir, files: make(map[string]string), done: make(map[string]bool)}
	base, err := filepath.Glob(filepath.Join(files, "*lib/modules/"+release))
	if len(base) == 0 {
		base, err = filepath.Glob(filepath.Join(files, "usr/lib/modules/"+release))
	}
	if err != nil || len(base) != 1 {
		return fmt.Errorf("the package has no modules of %s", release)
	}
	if err := p.index(base[0]); err != nil {
		return err
	}
	for _, name := range wanted {
		if err := p.add(name); err != nil {
			return err
		}
	}
	modules := p.order
	p.order = nil
	for _, name := range onDemand {
		if err := p.add(name); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Release": release, "Modules": modules, "OnDemand": p.order})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "kernel.json"), text, 0o644)
}

// A picker copies modules and those they depend on.
type picker struct {
	ctx   context.Context
	dir   string
	files map[string]string // by name; "" for what is built in
	done  map[string]bool
	order []string
}

// moduleName is how the kernel names a module file: without directories and endings, and with underscores.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func (p *picker) index(base string) error {
	builtin, err := os.ReadFile(filepath.Join(base, "modules.builtin"))
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(builtin)) {
		p.files[moduleName(path)] = ""
	}
	return filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), ".ko") {
			p.files[moduleName(path)] = path
		}
		return err
	})
}

func (p *picker) add(name string) error {
	path, known := p.files[name]
	if !known {
		return fmt.Errorf("no module %s", name)
	}
	if path == "" || p.done[name] {
		return nil
	}
	p.done[name] = true
	content, err := p.read(path)
	if err != nil {
		return err
	}
	needs, err := dependencies(content)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, n := range needs {
		if err := p.add(moduleName(n)); err != nil {
			return fmt.Errorf("%s needs: %w", name, err)
		}
	}
	p.order = append(p.order, name+".ko")
	return os.WriteFile(filepath.Join(p.dir, name+".ko"), content, 0o644)
}

func (p *picker) read(path string) ([]byte, error) {
	if strings.HasSuffix(path, ".xz") {
		return exec.CommandContext(p.ctx, "xz", "-dc", path).Output()
	}
	return os.ReadFile(path)
}

// dependencies returns the names in the field "depends" of a module's section .modinfo.
func dependencies(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for _, field := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
