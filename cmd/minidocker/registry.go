package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

func (a *app) registryCommand() *cobra.Command {
	group := group("registry", "Serve a registry")
	group.AddCommand(a.registryServeCommand())
	return group
}

// registryFlags are what registry serve is told.
type registryFlags struct {
	address, dir, upstream, cert, key string
	readOnly, verbose, private        bool
	images                            string
	collect, expiry                   time.Duration
	quota                             []string
	cacheSize, maxBlob                string
	htpasswd                          string
	anonymousPull                     bool
}

func (a *app) registryServeCommand() *cobra.Command {
	f := &registryFlags{}
	c := &cobra.Command{
		Use:   "serve [OPTIONS]",
		Short: "Serve a registry from a folder, until a signal ends it",
		Long: "Serve a registry from a folder, until a signal ends it. Everybody who reaches the address may read and write:\n" +
			"by default that is this machine alone; with --htpasswd it takes a password. With --upstream it is a mirror of another registry and takes no pushes.",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE:                  func(*cobra.Command, []string) error { return a.serveRegistry(f) },
	}
	c.Flags().StringVarP(&f.address, "address", "a", "127.0.0.1:5000", "Address to listen on; port 0 is a free one")
	c.Flags().StringVarP(&f.dir, "dir", "d", "", "The folder to keep content in (default: registry in the root folder)")
	c.Flags().StringVar(&f.upstream, "upstream", "", "Read through to this registry, such as docker.io, and keep what was read")
	c.Flags().StringVar(&f.images, "images", "",
		"Serve the images of the root folder that are named after this host, such as docker.io; a push gives such names")
	c.Flags().BoolVar(&f.private, "upstream-private", false,
		"Fetch from the upstream with this user's credentials, and show what they may read to everybody who asks here")
	c.Flags().StringVar(&f.cacheSize, "cache-size", "20GiB", "With --upstream: how much to keep, what was read last; 0 is no bound")
	c.Flags().StringArrayVar(&f.quota, "quota", nil,
		"How much a repository may hold, such as 10GiB; NAME=10GiB is for one, and may be given several times")
	c.Flags().StringVar(&f.maxBlob, "max-blob-size", "64GiB", "The largest blob to take")
	c.Flags().StringVar(&f.cert, "tls-cert", "", "The certificate to serve TLS with")
	c.Flags().StringVar(&f.key, "tls-key", "", "The certificate's key")
	c.Flags().StringVar(&f.htpasswd, "htpasswd", "",
		"Ask for a password of this file, made by htpasswd -B, which is read anew when it changes; give TLS, too, beyond this machine")
	c.Flags().BoolVar(&f.anonymousPull, "anonymous-pull", false, "With --htpasswd: let everybody read")
	c.Flags().BoolVar(&f.readOnly, "read-only", false, "Take no pushes and delete nothing")
	c.Flags().BoolVar(&f.verbose, "verbose", false, "Log every request")
	c.Flags().DurationVar(&f.collect, "collect", time.Hour, "How often to delete content that no repository has; 0 is never")
	c.Flags().DurationVar(&f.expiry, "upload-expiry", registry.DefaultUploadExpiry, "Forget uploads that did not grow for so long")
	return c
}

func (a *app) serveRegistry(f *registryFlags) (err error) {
	if (f.cert == "") != (f.key == "") {
		return errors.New("--tls-cert and --tls-key are given together or not at all")
	}
	quota, err := parseQuotas(f.quota)
	if err != nil {
		return err
	}
	cacheSize, err := parseBytes("--cache-size", f.cacheSize)
	if err != nil {
		return err
	}
	maxBlob, err := parseBytes("--max-blob-size", f.maxBlob)
	if err != nil {
		return err
	}
	if f.private && f.upstream == "" {
		return errors.New("--upstream-private is for a mirror: it needs --upstream")
	}
	if f.images != "" && (f.upstream != "" || f.dir != "") {
		return errors.New("--images serves what is there already: it excludes --dir and --upstream")
	}
	if f.anonymousPull && f.htpasswd == "" {
		return errors.New("--anonymous-pull is an exception from --htpasswd, and needs it")
	}
	var passwords *passwordFile
	if f.htpasswd != "" {
		if passwords, err = openPasswords(f.htpasswd, f.anonymousPull); err != nil {
			return fmt.Errorf("--htpasswd: %w", err)
		}
	}
	if f.dir == "" {
		f.dir = filepath.Join(a.root, "registry")
	}
	store, from, err := a.registryStore(f)
	if err != nil {
		return err
	}
	if c, ok := store.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	handler := &registry.Server{Store: store, ReadOnly: f.readOnly, Log: log, Quota: quota, MaxBlobSize: maxBlob}
	if passwords != nil {
		handler.Authorize = passwords.authorize
	}
	if f.upstream != "" {
		client := a.client()
		defer client.CloseIdleConnections()
		if cacheSize == 0 {
			cacheSize = -1
		}
		handler.Quota = nil // it takes no pushes
		handler.Store = &registry.CacheStore{
			Keep: store.(*registry.FolderStore), Client: client, Upstream: f.upstream, Private: f.private, MaxSize: cacheSize,
		}
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		return err
	}
	say(a.stdout, "Serving a registry on %s from %s", l.Addr(), from)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() {
		if f.cert != "" {
			served <- server.ServeTLS(l, f.cert, f.key)
		} else {
			served <- server.Serve(l)
		}
	}()
	tidied := make(chan struct{})
	ctx, cancel := context.WithCancel(a.ctx)
	go func() {
		defer close(tidied)
		tidy(ctx, store, f, log)
	}()
	defer func() {
		cancel()
		<-tidied
	}()
	select {
	case err := <-served:
		return err
	case <-a.ctx.Done():
	}
	// Requests under way get time to end.
	wait, stop := context.WithTimeout(context.WithoutCancel(a.ctx), 10*time.Second)
	defer stop()
	if err := server.Shutdown(wait); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

// A registryStore is what is served.
type registryStore interface {
	registry.Store
	registry.UploadRemover
}

// registryStore opens what the flags say is to be served, and returns where that is.
func (a *app) registryStore(f *registryFlags) (store registryStore, from string, err error) {
	if f.images != "" {
		images, err := image.Open(a.root)
		if err != nil {
			return nil, "", err
		}
		store, err := images.Serve(f.images)
		return store, images.Dir(), err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, "", err
	}
	store, err = registry.OpenFolder(f.dir)
	return store, f.dir, err
}

// tidy expires uploads and collects garbage now and then, while the registry serves.
func tidy(ctx context.Context, store registryStore, f *registryFlags, log *slog.Logger) {
	if f.collect <= 0 || f.readOnly {
		return
	}
	for {
		if n, err := store.ExpireUploads(ctx, time.Now().Add(-f.expiry)); err != nil {
			log.Warn("expire uploads", "error", err)
		} else if n > 0 {
			log.Info("uploads expired", "number", n)
		}
		folder, ok := store.(*registry.FolderStore)
		if !ok {
			// An image store's garbage is for its own prune.
		} else if n, err := folder.Collect(ctx); err != nil && ctx.Err() == nil {
			log.Warn("collect garbage", "error", err)
		} else if n > 0 {
			log.Info("garbage collected", "bytes", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.collect):
		}
	}
}

// parseBytes reads a flag that is a size: 1024-based with and without the i, as docker's memory flags are.
func parseBytes(flag, s string) (int64, error) {
	n, err := units.RAMInBytes(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %q: not a size such as 500m or 10GiB", flag, s)
	}
	return n, nil
}

// parseQuotas reads --quota: SIZE is for every repository, NAME=SIZE for one.
func parseQuotas(list []string) (func(repository string) int64, error) {
	if len(list) == 0 {
		return nil, nil
	}
	byName := map[string]int64{} // "" is all others
	for _, s := range list {
		name, size, ok := strings.Cut(s, "=")
		if !ok {
			name, size = "", s
		} else if r, err := registry.ParseReference("localhost/" + name); err != nil || r.Repository != name {
			return nil, fmt.Errorf("--quota %q: %q is no repository's name", s, name)
		}
		n, err := parseBytes("--quota", size)
		if err != nil {
			return nil, err
		}
		byName[name] = n
	}
	return func(repository string) int64 {
		if n, ok := byName[repository]; ok {
			return n
		}
		return byName[""]
	}, nil
}
