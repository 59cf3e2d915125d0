// Package network gives containers networks, without a helper binary and without iptables: bridges, veth pairs, addresses
// and routes by netlink; address translation, published ports and isolation by nftables; names by a resolver of its own.
//
//	store, err := network.Open("/var/lib/myprogram/networks", nil)
//	_, err = store.Create(ctx, "backend", nil)
//	box, err := store.Sandbox(pid, &network.SandboxOptions{ID: "web1"}) // the network namespace of process pid
//	defer box.Close()
//	e, err := box.Attach(ctx, "backend", &network.EndpointOptions{
//		Names: []string{"web"}, Ports: []network.Port{{Container: 80, Host: 8080}},
//	})
//	conn, err := box.Dial(ctx, "tcp", "127.0.0.1:80") // from the host's Go code, inside the container's network
//
// # What the host gets
//
// A network's bridge is there while something is attached to it, and so are the network's entries in two nftables tables,
// one of family inet and one of family bridge. The tables go when the last store of the folder is closed that finds nothing attached. A container costs elements of their sets and maps, never a rule, and one
// transaction. Nobody else's tables are touched. When somebody flushed ours, the next change restores them; [Store.Check]
// says so before, and [Store.Repair] does it at once.
//
// A container reaches the world with the host's address. Into a network goes what belongs to a connection from inside, and what
// comes to a published port; everything else is dropped, also from another network and from a neighbour of the host who
// routes to the container's address. An internal network reaches neither the world nor the host. A port of a bridge is pinned to its
// container's MAC and addresses: frames, ARP and neighbour advertisements with others are dropped, as are router
// advertisements.
//
// # What a container may reach
//
// An [Egress], a container's or a network's, is an allow-list of names, addresses and ports. The kernel's rules hold it: what leaves
// the network is looked up in sets, and what they lack is dropped and noted. Names are opened by the sandbox's
// resolver: an answer for a name of the list adds its addresses to a set for the answer's time to live before the container gets the
// answer. So there is no way around it by addresses that the program knows, by resolvers of its own, IPv6, the host or a
// port that another container publishes, nor by questions that carry data. Sets of ranges need Linux ≥ 5.6.
//
// A published port is also bound by a socket of this process, so that nobody else takes it; the socket serves
// what comes by the host's loopback, which is not translated: route_localnet stays off. The client's address
// is kept elsewhere.
//
// A bridge of Linux takes 1,023 ports, and each makes the next one slower. So a network's bridge gets 256 containers, and the next ones
// bridges beside it that are joined to it by pairs of interfaces: 701 bridges, 179,456 containers. Between
// containers on different ones a byte costs some 8 % more of the processors' time. Where the host has bridged frames filtered
// as packets (net.bridge.bridge-nf-call-iptables=1) a bridge gets 1,000 containers, and there are 21; containers beside the
// network's own bridge do not reach the published ports of their neighbours on the same one by the host's address there.
//
// Forwarding: if net.ipv4.ip_forward is 0 the first network turns it on, and the interfaces that the host has then go on not
// forwarding to each other: they are put into the set "guarded", the only mark that stays, with the tables, when
// nothing is attached any more. It is never turned off, since others may rely on it by then. The same holds for IPv6, where
// interfaces that accept router advertisements go on accepting them (accept_ra=2).
//
// # Names
//
// A sandbox asks the resolver at 127.0.0.11 for names. It listens inside the sandbox, on ports that were free; port 53 of that
// address is written over with them there, so that a container may use port 53, and nothing of its traffic is tracked. It knows the names of all endpoints on the
// sandbox's networks, whichever process attached them, alone or followed by a dot and the network's name, and the names of their
// addresses. Other questions are forwarded as they come, by udp or tcp, from the host to its own servers; none is where
// all networks are internal. The process that made the [Sandbox] serves it.
//
// # On disk
//
//	.lock                           locked while networks or endpoints are changed
//	.guarded.json                   the interfaces above
//	.tables                         empty: the nftables tables were made
//	<name>/network.json             a network
//	<name>/endpoints/<id>.json      what is attached to it
//	.tmp/                           networks half made or half deleted
//
// Several processes may use one store at once, and each may be killed at any time. An endpoint ends with its container's
// network namespace, whoever was killed; the next [Open] takes back its address, its elements and its document. Documents
// of endpoints are not synced: after a loss of power there are none.
//
// It needs Linux 5.10 with bridge, veth and nf_tables (nft_nat, nft_masq, nft_fib_inet, nft_ct, bridge filtering), and
// root. Without root there is [Options].UserMode, and package network/usernet.
package network
