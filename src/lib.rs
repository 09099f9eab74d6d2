//! # station: the dataplane of a Direct Connect station
//!
//! A customer brings a cross-connect to a port of this server. Each 802.1Q tag on it is a virtual
//! interface (VIF) of one customer, and each VIF belongs to one routing domain (VRF). `stationd`
//! forwards between customers' VIFs and the cloud, one AF_XDP worker per NIC queue, and keeps tenants
//! apart: a frame enters exactly one VRF and leaves only by that VRF's adjacencies, or by those of a VRF that an
//! exchange permits.
//!
//! ## Layers
//!
//! Dependencies point downwards only (`tests/architecture.rs` keeps it so):
//!
//! ```text
//!  cli       stationd, stationctl: arguments in, exit code out
//!  daemon    starts the threads and joins them  |  replay: the same parts on one thread
//!  bird      the routing daemon: its configuration, its process, what it says
//!  control   configuration -> tables and FIB, as transactions  |  observe: counters
//!  metrics   the page for Prometheus, and its server
//!  admin     the admin socket: requests, rows, server, client; knows no engine
//!  config    text -> model -> difference; edits that keep comments; knows no engine
//!  mirror    the kernel's routes as changes for control  |  ledger: outages and availability
//!  mappings  what controllers stream: prefixes and the tunnels that they lead into, by source and sync
//!  history   committed configurations as snapshots  |  blocks: series on disk, a file a month  |  disk: files that survive a loss of power
//!  billing   octets of VIFs in bins of five minutes, kept for months; percentiles  |  ipfix: flows as messages, to collectors and files
//!  events    what happened, numbered and kept; to clients, the journal and the hook  |  users: /etc/passwd
//!  slowpath  what workers punt: ARP, ND, ICMP, fragmentation, options  |  limit: token buckets, and how long what flaps has to be back
//!  probes    what answers of targets say: up or down, loss, RTT; damped; their history  |  prefixes  a value for each of many prefixes  |  shares: pools that tenants share: the list of them, and the rule
//!  tap       a TAP per VIF with routing peers, where BIRD's sockets are  |  netns: their network namespace
//!  worker    rx burst -> path -> tx; the verdicts carried out and counted; queues of classes; handoff; captures  |  publish
//!  explain   what the path does with a frame and why, told stage by stage
//!  path      the way of a burst, one line per stage
//!  stage     one packet stage per file
//!  tables    ports, VIFs, VRFs, exchanges, next-hop groups, adjacencies, meters, limits of addresses, policies of classes, mirrors, tunnels, counters, last drops, verdicts; the rules of forwarding; who reaches whom
//!  acl       access lists: rules, what they match, and the classifier
//!  wire, fib headers; longest-prefix match  |  port: queues of frames  |  netlink: messages by hand
//!  optics    what transceiver modules' EEPROMs say: SFF-8472, SFF-8636, CMIS
//!  cpu       prefetches, vector code  |  log: lines to standard error, by a thread of its own  |  clock: times as numbers
//! ```
//!
//! ## The way of a frame
//!
//! 1. The NIC's queue k hands it to the XDP program (`xdp/station.bpf.c`), which redirects it into
//!    worker k's socket. With no live socket it is dropped: the station fails closed.
//! 2. [`worker::Worker::turn`] receives up to 64 frames from each port and runs them through
//!    [`path::run`], the page to read next.
//!    A packet whose route is an exchange's permit is looked up once more, in the VRF that it leads from
//!    ([`tables::exchange`]).
//!    A frame that comes in a tunnel is one of its VNI's VIF from the second stage on; one that is to leave in a
//!    tunnel gets its outer headers behind the rewrite ([`tables::tunnel`]).
//! 3. Each frame ends with one [`tables::Verdict`]: forwarded to an adjacency's port, punted to the
//!    slow path, or dropped with a reason. One reason is one counter of one VIF (or of the port, while no
//!    VIF is known), so that received = forwarded + punted + drops, exactly.
//!    Of VIFs that log flows, packets are noted before they leave and counted with what became of them
//!    ([`worker::flows`]); a thread of its own has the records sent ([`ipfix`]). What is mirrored is
//!    copied as it came or as it left ([`stage::copy`]), and the copies leave behind the burst's originals.
//!    Of VIFs that want it, some packets are shown to a thread that keeps their largest addresses ([`worker::talkers`],
//!    [`observe::talkers`]).
//!    Of ports that VIFs with classes send by ([`tables::qos`]), frames wait in queues where the ring does not keep up,
//!    and the queues say what leaves first.
//!    Of ports whose frames are timed, the program stamps some, and the worker says how long those were here that left
//!    ([`worker::latency`]); a thread of its own keeps the times ([`observe::latency`]).
//! 4. Punted frames cross to the slow path by [`worker::handoff`], and its answers come back the same way.
//!
//! The packet path takes no lock, makes no system call per packet, allocates nothing and reads no clock:
//! a turn's caller passes the time in. Only where frames are timed, a burst that has one reads it once, at its end.
//!
//! ## How a change reaches the workers
//!
//! The control thread alone writes. Small tables are immutable [`tables::Snapshot`]s, handed over by
//! [`publish`]; routes are changed in place in the [`fib`], whose readers never wait. What was replaced is
//! freed once every worker has passed a quiescent point. A prefix points at a next-hop group and a group
//! at adjacencies, so the loss of a link changes groups, however many prefixes there are. Learned routes come
//! from the kernel by [`mirror`] and take the same way.
//!
//! A thread of its own opens and closes ports (`daemon::port_thread`): a worker gives a socket its first frames,
//! or lets go of one, between two turns. A port keeps its [`tables::PortId`] as long as it is there, and the id is
//! another's only after every worker has let go of it.
//!
//! ## Where to add a thing
//!
//! | a new... | goes to |
//! |---|---|
//! | rule that stages and slow path share | [`tables::rules`] |
//! | drop reason | one line in [`tables::verdict`], one `burst.drop`, one test in `tests/bad_input/` |
//! | packet stage | one file in [`stage`], one line in [`path`]; between `group` and `rewrite` in its list of filtered stages, with `concerns` and `verdict` ([`stage::filter`]); what it looked at, in words, in `daemon/explain/words.rs` |
//! | kind of port | an `impl` of [`port::Port`] |
//! | setting | [`config::model`], its parser with an error that says what to write, station.toml(5) |
//! | kind of event | [`events::Event`], told where it is noticed; the manual's page is generated from it |
//! | question to the daemon | [`admin::protocol`], and a row type with units in its names |
//! | rule of who may reach whom | [`tables::rules`], and [`tables::reach`] asks it; `tests/path_properties/reachability.rs` compares |
//! | metric | a line in [`metrics`]' families, and its samples in their page; station-metrics(7) follows |

pub mod acl;
pub mod admin;
pub mod billing;
pub mod bird;
pub mod blocks;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod cpu;
pub mod daemon;
pub mod disk;
pub mod events;
pub mod explain;
pub mod fib;
pub mod history;
pub mod ipfix;
pub mod ledger;
pub mod limit;
pub mod log;
pub mod mappings;
pub mod metrics;
pub mod mirror;
pub mod netlink;
pub mod netns;
pub mod observe;
pub mod optics;
pub mod path;
pub mod port;
pub mod prefixes;
pub mod probes;
pub mod publish;
pub mod replay;
pub mod shares;
pub mod slowpath;
pub mod stage;
pub mod tables;
pub mod tap;
pub mod users;
pub mod wire;
pub mod worker;
