package network

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
)

// Options are the optional settings of Open.
type Options struct {
	// Namespace is the path of the network namespace that has the bridges, rules and published ports: /proc/PID/ns/net,
	// or where it is mounted. Empty means the program's own.
	Namespace string
	// Table is the name of the two nftables tables, 1 to 32 of [a-zA-Z0-9_-]. Empty means "caisson-" and 8 digits made of
	// the folder's path, so that each store has its own.
	Table string
	// Pools are where subnets come from. Nil means Docker's of IPv4, currently 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16
	// in /20s, and for IPv6 a /48 of fd00::/8 made of the folder's path and the machine's ID, in /64s.
	Pools []Pool
	// UserMode, if it is not nil, makes containers' interfaces in place of bridges and rules of the host, and takes no privilege.
	// Drivers other than Bridge are refused then. Namespace and Table are ignored.
	UserMode UserMode
}

// A Store is a folder with networks. It is safe for use by several goroutines, and the folder by several processes.
type Store struct {
	docs  durable.Folders
	o     Options
	table string
	pools []Pool
	ns    *os.File // nil: the program's own

	mu      sync.Mutex // held with the lock of the folder: several goroutines need not poll for that
	indexMu sync.Mutex // of indexes
	indexes map[string]*index
	host    *host // nil until it is needed
	boot    string
	closed  bool

	proc      *parameters // under mu, as all that follows
	procUses  int
	perBridge int      // endpoints on one bridge
	auditor   *auditor // nil while nobody asks
	attaching string   // the endpoint whose interfaces are not there yet
}

const (
	lockName    = ".lock"
	guardedName = ".guarded.json"
	tmpName     = ".tmp"
	metaName    = "network.json"
	maxMeta     = 128 << 10
)

// Open opens the store in the folder, which it makes if need be, and takes back what killed processes left. o may be nil.
func Open(dir string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open networks: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, tmpName), 0o700); err != nil {
		return nil, fmt.Errorf("open networks: %w", err)
	}
	if o.Table != "" && (CheckName(o.Table) != nil || len(o.Table) > 32) {
		return nil, fmt.Errorf("open networks: %w", invalid("Table", "%q is not 1 to 32 of [a-zA-Z0-9_-]", o.Table))
	}
	if err := checkPools(o.Pools); err != nil {
		return nil, fmt.Errorf("open networks: %w", err)
	}
	sum := sha256.Sum256([]byte(dir))
	s := &Store{
		docs: durable.Folders{
			Dir: dir, Document: metaName, Max: maxMeta, Kind: "network", Check: CheckName, NotFound: ErrNotFound, Exists: ErrExists,
		},
		o: *o, table: cmp.Or(o.Table, "caisson-"+hex.EncodeToString(sum[:4])), pools: o.Pools,
		indexes: make(map[string]*index), boot: bootID(), perBridge: perBridge,
	}
	if s.pools == nil {
		s.pools = append(defaultPools(), ulaPool(dir))
	}
	if o.Namespace != "" && o.UserMode == nil {
		if s.ns, err = os.Open(o.Namespace); err != nil {
			return nil, fmt.Errorf("open networks: %w", err)
		}
	}
	if err := s.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("open networks in %s: %w", dir, err), s.Close())
	}
	return s, nil
}

// Close gives back what the store holds of the machine. Networks and what is attached stay as they are, but nothing can be
// changed by this value or its sandboxes any more: close those before. Where nothing is attached the nftables tables go.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.closeParameters()
	err := errors.Join(s.closeAuditor(), s.leave())
	if s.host != nil {
		err = errors.Join(err, s.host.close())
		s.host = nil
	}
	if s.ns != nil {
		err = errors.Join(err, s.ns.Close())
		s.ns = nil
	}
	return err
}

// sweep empties .tmp and takes back dead endpoints, unless somebody is at work: then the next one does it.
func (s *Store) sweep() error {
	l, held, err := durable.TryAcquire(s.path(lockName), true)
	if err != nil || held {
		return err
	}
	defer l.Close()
	entries, err := os.ReadDir(s.path(tmpName))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(s.path(tmpName, e.Name())); err != nil {
			return err
		}
	}
	half, _ := filepath.Glob(s.path(".tmp-*")) // the pattern is right
	for _, name := range half {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	err = s.reclaim(context.Background())
	if errors.Is(err, fs.ErrPermission) {
		return nil // whoever can attach can also take back
	}
	return err
}

func (s *Store) path(names ...string) string { return s.docs.Path(names...) }

// A change is the right to change networks, endpoints and what the kernel has of them.
type change struct {
	s        *Store
	l        *durable.Lock
	filtered *bool // what filtersBridged has found
}

// lock waits for that right until ctx ends.
func (s *Store) lock(ctx context.Context) (*change, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, os.ErrClosed
	}
	l, err := durable.Acquire(ctx, s.path(lockName), true)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return &change{s: s, l: l}, nil
}

func (c *change) Close() {
	_ = c.l.Close()
	c.s.mu.Unlock()
}

// Create makes a network and returns when it is on disk. The errors are ErrName, ErrExists, ErrInvalid, ErrOverlap,
// ErrExhausted, and those of the file system. ctx bounds the waiting for others. o may be nil.
func (s *Store) Create(ctx context.Context, name string, o *CreateOptions) (Network, error) {
	if o == nil {
		o = &CreateOptions{}
	}
	if err := CheckName(name); err != nil {
		return Network{}, fmt.Errorf("create %w", err)
	}
	err := o.check()
	var n Network
	if err == nil {
		n, err = s.create(ctx, name, o)
	}
	if err != nil {
		return Network{}, fmt.Errorf("create network %s: %w", name, err)
	}
	return n, nil
}

func (s *Store) create(ctx context.Context, name string, o *CreateOptions) (Network, error) {
	c, err := s.lock(ctx)
	if err != nil {
		return Network{}, err
	}
	defer c.Close()
	if _, err := os.Lstat(s.path(name)); err == nil {
		return Network{}, ErrExists
	}
	n := Network{
		Name: name, ID: randomID(32), Driver: cmp.Or(o.Driver, Bridge), Interface: o.Interface, Mode: o.Mode,
		Internal: o.Internal, Isolated: o.Isolated, NoMasquerade: o.NoMasquerade, MTU: o.MTU, Egress: o.Egress,
		Labels: o.Labels, Options: o.Options,
		Created: time.Now().UTC().Round(0),
	}
	if n.Interface == "" {
		n.Interface = "cs-" + n.ID[:12]
	}
	if n.Subnets, err = s.chooseSubnets(o, &n); err != nil {
		return Network{}, err
	}
	return n, s.keep(&n)
}

// keep writes a new network's folder.
func (s *Store) keep(n *Network) (err error) {
	tmp := s.path(tmpName, randomID(16))
	if err := os.MkdirAll(filepath.Join(tmp, endpointsName), 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	// It begins with a random even number, so that nobody takes it for a network of the same name that was removed.
	var seq [8]byte
	_, _ = rand.Read(seq[:]) // never fails
	seq[0], seq[7] = seq[0]&^1, 0
	if err := os.WriteFile(filepath.Join(tmp, endpointsName, seqName), seq[:], 0o600); err != nil {
		return err
	}
	if err := durable.WriteJSON(filepath.Join(tmp, metaName), n, 0o600); err != nil {
		return err
	}
	return s.docs.Publish(tmp, n.Name)
}

func randomID(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Get returns the network with the name. The errors are ErrName and ErrNotFound, and those of the file system.
func (s *Store) Get(name string) (Network, error) {
	if err := CheckName(name); err != nil {
		return Network{}, err
	}
	n, err := s.read(name)
	if err != nil {
		return Network{}, fmt.Errorf("network %s: %w", name, err)
	}
	return *n, nil
}

func (s *Store) read(name string) (*Network, error) {
	n := &Network{}
	if err := s.docs.Read(name, n, &n.Name); err != nil {
		return nil, err
	}
	return n, nil
}

// List returns all networks by name. Networks that cannot be read are left out and named by the error.
func (s *Store) List() ([]Network, error) {
	return durable.ReadAll(&s.docs, func(name string) (n Network, err error) {
		err = s.docs.Read(name, &n, &n.Name)
		return n, err
	})
}

// Endpoints returns what is attached to a network, by ID. Those whose sandbox has died may be among them until the
// next [Open], or until their address is needed.
func (s *Store) Endpoints(name string) ([]Endpoint, error) {
	if _, err := s.Get(name); err != nil {
		return nil, err
	}
	x, err := s.index(name)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	return x.list(), nil
}
