package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/registry"
)

func (a *app) registryCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "registry", Short: "Serve a registry", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	group.AddCommand(a.registryServeCommand())
	return group
}

// registryFlags are what registry serve is told.
type registryFlags struct {
	address, dir, upstream, cert, key string
	readOnly, verbose                 bool
	collect, expiry                   time.Duration
}

func (a *app) registryServeCommand() *cobra.Command {
	f := &registryFlags{}
	c := &cobra.Command{
		Use:   "serve [OPTIONS]",
		Short: "Serve a registry from a folder, until a signal ends it",
		Long: "Serve a registry from a folder, until a signal ends it. Everybody who reaches the address may read and write:\n" +
			"by default that is this machine alone. With --upstream it is a mirror of another registry and takes no pushes.",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE:                  func(*cobra.Command, []string) error { return a.serveRegistry(f) },
	}
	c.Flags().StringVarP(&f.address, "address", "a", "127.0.0.1:5000", "Address to listen on; port 0 is a free one")
	c.Flags().StringVarP(&f.dir, "dir", "d", "", "The folder to keep content in (default: registry in the root folder)")
	c.Flags().StringVar(&f.upstream, "upstream", "", "Read through to this registry, such as docker.io, and keep what was read")
	c.Flags().StringVar(&f.cert, "tls-cert", "", "The certificate to serve TLS with")
	c.Flags().StringVar(&f.key, "tls-key", "", "The certificate's key")
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
	if f.dir == "" {
		f.dir = filepath.Join(a.root, "registry")
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	folder, err := registry.OpenFolder(f.dir)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	handler := &registry.Server{Store: folder, ReadOnly: f.readOnly, Log: log}
	if f.upstream != "" {
		client := a.client()
		defer client.CloseIdleConnections()
		handler.Store = &registry.CacheStore{Keep: folder, Client: client, Upstream: f.upstream}
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		return err
	}
	say(a.stdout, "Serving a registry on %s from %s", l.Addr(), f.dir)
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
		tidy(ctx, folder, f, log)
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

// tidy expires uploads and collects garbage now and then, while the registry serves.
func tidy(ctx context.Context, folder *registry.FolderStore, f *registryFlags, log *slog.Logger) {
	if f.collect <= 0 || f.readOnly {
		return
	}
	for {
		if n, err := folder.ExpireUploads(ctx, time.Now().Add(-f.expiry)); err != nil {
			log.Warn("expire uploads", "error", err)
		} else if n > 0 {
			log.Info("uploads expired", "number", n)
		}
		if n, err := folder.Collect(ctx); err != nil && ctx.Err() == nil {
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
