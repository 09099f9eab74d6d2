//! The kinds of events: one variant each, one line of the manual each (`station-events(7)` is generated from here).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::define::Severity;
use crate::ledger::Cause;

events! {
    /// The station has started and forwards. Ports and VIFs are up unless an event after this one says otherwise.
    StationStart = "station_start", Notice, "d16b6079d48448b4b490b5707b4e376b" {
        /// The program's version.
        version: String,
        /// The number of the configuration.
        configuration: u64,
        /// Ports that are configured.
        ports: u64,
        /// VIFs that are configured.
        vifs: u64,
    }
    /// The station ends because it was told to.
    StationStop = "station_stop", Notice, "2449bc2e213249e19ff03e71c305c3e9" {
        /// BIRD, its sessions and the TAPs are left for the next start.
        sessions_kept: bool,
    }
    /// A port has its link again.
    PortUp = "port_up", Notice, "e3beb54bead34722b9c877aa6a199e4e" {
        /// Name of the port.
        port: String,
        /// Its Linux interface.
        interface: String,
    }
    /// A port has no link, its interface is gone, or it could not be opened.
    PortDown = "port_down", Error, "23ad57613bd44f02a9ca8eac237e3468" {
        /// Name of the port.
        port: String,
        /// Its Linux interface.
        interface: String,
        /// What is known of why: `no link`, or what is wrong with the port.
        reason: String,
    }
    /// Another hand changed a port (its XDP program, its queues, its offloads), and it was put right. At most one a second and port.
    PortRepair = "port_repair", Warning, "59ffa0786722478d90090ce31410b74e" {
        /// Name of the port.
        port: String,
        /// What was wrong.
        reason: String,
        /// Repairs of the port since the start.
        repairs: u64,
    }
    /// A VIF forwards again: it is set up, its port has a link and its MTU fits.
    VifUp = "vif_up", Notice, "58e1c12b170c449ab388a183568a3efd" {
        /// Name of the VIF.
        vif: String,
        /// Name of its port.
        port: String,
    }
    /// A VIF forwards nothing.
    VifDown = "vif_down", Warning, "aa2c3d6afb484204990d8190ffa31f2e" {
        /// Name of the VIF.
        vif: String,
        /// Name of its port.
        port: String,
        /// `admin`: an operator set it down; `link`: its port has no link, or its MTU does not fit the interface.
        cause: Cause,
    }
    /// A BGP session is established.
    BgpUp = "bgp_up", Notice, "ace4b53ec1334111b68430cd7dcad2c2" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The peer's AS number.
        peer_as: u32,
    }
    /// A BGP session that was established has ended.
    BgpDown = "bgp_down", Error, "809dfe1ffa244d7db805f5d1cceda48e" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The peer's AS number.
        peer_as: u32,
        /// Why, in BIRD's words; what the far end said begins with `Received: `.
        reason: String,
        /// The code of the NOTIFICATION (RFC 4271 4.5); null where none was exchanged.
        code: Option<u8>,
        /// Its subcode; null where it is not known.
        subcode: Option<u8>,
        /// The peer sent the NOTIFICATION; else the station did, or nobody.
        received: bool,
    }
    /// A BGP session that is not up was refused by a NOTIFICATION: a wrong AS, a hold time that does not fit. At most one a minute and session.
    BgpRefused = "bgp_refused", Warning, "b09d5a7b305a4bec84ae9514f755cae7" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The AS number that is configured for the peer.
        peer_as: u32,
        /// Why, in BIRD's words; of a wrong AS with the peer's number.
        reason: String,
        /// The code of the NOTIFICATION (RFC 4271 4.5); null where it is not known.
        code: Option<u8>,
        /// Its subcode; null where it is not known.
        subcode: Option<u8>,
        /// The peer sent the NOTIFICATION; else the station did.
        received: bool,
        /// Refusals since the last such event, this one included.
        count: u64,
    }
    /// A BFD session is up.
    BfdUp = "bfd_up", Notice, "3b8f65d3f2914004b2ddd6cae7568388" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
    }
    /// BFD no longer reaches its peer, or the peer switched it off.
    BfdDown = "bfd_down", Error, "e0030a43c3e9460fb1c6609599af867c" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The peer says that its BFD is administratively down, which is no loss (RFC 5882 4.2).
        switched_off: bool,
    }
    /// A session's accepted prefixes have reached 80 or 100 % of `max_prefixes`. Sessions are looked at every five seconds, and at once where the limit shuts one.
    PrefixLimit = "prefix_limit", Warning, "d513d3b20fad405790d295ff31837439" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The peer's AS number.
        peer_as: u32,
        /// 80 or 100.
        percent: u8,
        /// Prefixes that are accepted; null where the session is down by then.
        accepted: Option<u64>,
        /// The limit.
        max_prefixes: u32,
        /// The limit shut the session, until `stationctl bgp reset`.
        shut: bool,
    }
    /// A session's accepted prefixes are below 75 % of `max_prefixes` again.
    PrefixLimitClear = "prefix_limit_clear", Notice, "6eed328b7d5741b193cf8b082d5105e0" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The peer's AS number.
        peer_as: u32,
        /// Prefixes that are accepted.
        accepted: u64,
        /// The limit.
        max_prefixes: u32,
    }
    /// BIRD is not as configured: it has died, does not answer, or refuses. It is tried again.
    RoutingDown = "routing_down", Error, "91f8201b30e643c9af58613971b2b1dd" {
        /// What is wrong.
        reason: String,
    }
    /// BIRD does as a configuration says: the sessions that it removes have ended, those that it adds are there, and its filters are in use. A configuration that changes nothing for BIRD has no such event.
    RoutingFollowed = "routing_followed", Info, "563d567133fa40fda855d455d740ea8f" {
        /// The configuration's number.
        configuration: u64,
        /// From the commit, in milliseconds.
        after_ms: u64,
    }
    /// BIRD is as configured again.
    RoutingUp = "routing_up", Notice, "b5f2d29ba55946e399c36fb4814ccb1c" {
    }
    /// A BGP peer signs the beginning of its connections (TCP MD5, RFC 2385) otherwise than its session is configured, and the kernel drops them. At most one in ten seconds, session and cause.
    Md5Failure = "md5_failure", Warning, "fdc80e2244954ad4ac284346db80ae8c" {
        /// Name of the VIF.
        vif: String,
        /// The peer's address.
        peer: IpAddr,
        /// The peer's AS number.
        peer_as: u32,
        /// `key_missing`: there is a password here, and the peer does not sign; `key_unexpected`: it signs, and there is none here; `key_wrong`: it signs with another; `key_tcp_ao`: it signs by TCP-AO (RFC 5925).
        cause: String,
        /// SYNs of that kind since the last such event, of at most ten a second and session that are looked at.
        count: u64,
        /// What it means, and what to do.
        help: String,
    }
    /// No tunnel to another station is up any more: the underlay leads to none of its VTEPs. Looked at once a second, from five seconds after the start on.
    RemoteStationDown = "remote_station_down", Error, "7d2c5fb0a3f44a0e9f6a1c1f0b7a64d3" {
        /// Its name.
        remote_station: String,
        /// Names of the VIFs whose tunnels lead there.
        vifs: Vec<String>,
    }
    /// A cache of RPKI is not reached any more. What it vouched for is kept until it expires, two hours as most say.
    RpkiCacheDown = "rpki_cache_down", Error, "5a0b6f0b6c5e4a5f9d1d7a5ab1c0e3f2" {
        /// Its name.
        cache: String,
        /// Its address and port.
        server: SocketAddr,
        /// Why.
        reason: String,
    }
    /// It is reached again.
    RpkiCacheUp = "rpki_cache_up", Notice, "c41f0e8e27a94f7f8a0f3d1be65d9a77" {
        /// Its name.
        cache: String,
        /// Its address and port.
        server: SocketAddr,
    }
    /// Nothing can be sent to a collector of flows, or no file can be written. What waits for it is sent later, as far as
    /// there is room; what is lost is counted.
    CollectorDown = "collector_down", Warning, "1eb859d889d7bcd31be79f33583198fc" {
        /// The collector as it is configured, or the files' directory.
        collector: String,
        /// Why.
        reason: String,
    }
    /// Something could be sent to it again.
    CollectorUp = "collector_up", Notice, "d874a1dd0a9ed4062757a54e2bad400c" {
        /// The collector as it is configured, or the files' directory.
        collector: String,
    }
    /// A worker is too busy, or a VIF has too many new flows, to log flows of a VIF at its configured rate.
    FlowLogCoarser = "flow_log_coarser", Warning, "ae7284a322f6d8d1ef800013dac6e55f" {
        /// Name of the VIF.
        vif: String,
        /// One of so many packets is logged now; it may become less.
        interval: u64,
    }
    /// Flows of a VIF have been logged at its configured rate for ten seconds.
    FlowLogRestored = "flow_log_restored", Notice, "6664362e26328d539ce7a53f65156a5d" {
        /// Name of the VIF.
        vif: String,
        /// One of so many packets is logged.
        interval: u64,
    }
    /// The underlay leads to a VTEP of another station again.
    RemoteStationUp = "remote_station_up", Notice, "f1a4d8c26f0b4c77b0a4f4c90be9d5e2" {
        /// Its name.
        remote_station: String,
        /// Names of the VIFs whose tunnels lead there.
        vifs: Vec<String>,
    }
    /// A counter has risen that station-counters(7) marks SECURITY or BUG. At most one in ten seconds, VIF and counter.
    Security = "security", Warning, "cf05accb164444199e128ff0a275c123" {
        /// Name of the VIF.
        vif: String,
        /// The counter's name.
        counter: String,
        /// By how much it has risen since the last such event, or since the start.
        count: u64,
        /// What it means.
        help: String,
    }
    /// An audit found routes that were not what the kernel has, and put them right.
    RouteRepair = "route_repair", Warning, "2b560b580f784d34b636681ba252c7ec" {
        /// Name of the VRF.
        vrf: String,
        /// `ipv4` or `ipv6`.
        family: String,
        /// Routes that differed.
        mismatches: u64,
        /// Those of them that are right now.
        repaired: u64,
    }
    /// A configuration was committed.
    Commit = "commit", Notice, "0f5bf1126e29401b9b4dead32f151cc3" {
        /// Its number.
        configuration: u64,
        /// The command that made it.
        command: String,
        /// How many things it changed.
        changes: u64,
        /// What they said of it.
        comment: Option<String>,
        /// It goes back at this time unless it is confirmed.
        until_ms: Option<u64>,
    } by(uid, login_uid, sudo_user)
    /// An older configuration was committed again.
    Rollback = "rollback", Warning, "0b12a19a259d4bc8aec8d351049559ff" {
        /// The number under which it runs now.
        configuration: u64,
        /// The command that made it: whose configuration it is, and why.
        command: String,
        /// How many things it changed.
        changes: u64,
        /// What they said of it.
        comment: Option<String>,
        /// It goes back at this time unless it is confirmed.
        until_ms: Option<u64>,
    } by(uid, login_uid, sudo_user)
    /// A configuration that would have gone back was confirmed.
    Confirm = "confirm", Notice, "f7881f070b424ddc8dadde9f14d461e5" {
        /// Its number.
        configuration: u64,
    } by(uid, login_uid, sudo_user)
    /// Somebody asked for what changes something, or for customers' traffic.
    Request = "request", Info, "6182db7f765d4a2991c73f6d88609436" {
        /// The request, as the admin protocol names it.
        request: String,
        /// The user who asked.
        uid: u32,
        /// Their process.
        pid: i32,
        /// The user who logged in; null where that is not known.
        login_uid: Option<u32>,
        /// The user who called sudo; null where nobody did.
        sudo_user: Option<String>,
        /// What they said of it.
        comment: Option<String>,
        /// Why it was refused: the first line; null where it was done.
        refused: Option<String>,
    }
    /// Somebody asked who may not. At most one a second is told, with the number of those since the last.
    Denied = "denied", Warning, "2679807e15164fbc9d62c955996d7ca4" {
        /// The request; null where the connection was refused.
        request: Option<String>,
        /// The user who asked.
        uid: u32,
        /// Their process.
        pid: i32,
        /// Denials since the last such event, this one included.
        count: u64,
    }
    /// An outage of a VIF began: the ledger's entry (`show outages`).
    OutageBegin = "outage_begin", Error, "986d46b14a804b65ba2a5f1096f42e5d" {
        /// Name of the VIF.
        vif: String,
        /// The first fault's cause.
        cause: Cause,
        /// When it was noticed.
        start_ms: u64,
        /// How long the fault may have stood before, in milliseconds; null where that is not known.
        detection_ms: Option<u64>,
    }
    /// An outage has ended: the ledger's entry (`show outages`). One of the whole station (`restart`, `crash`, `stall`) has no begin: it is known once it is over.
    OutageEnd = "outage_end", Notice, "61b57bbb338d4aec9c2fe93d63bcaaff" {
        /// Name of the VIF; null for the station, and so for all VIFs.
        vif: Option<String>,
        /// The first fault's cause.
        cause: Cause,
        /// Causes of the faults that came to it.
        also: Vec<Cause>,
        /// When it was noticed.
        start_ms: u64,
        /// When it ended.
        end_ms: u64,
        /// How long it lasted, in milliseconds.
        duration_ms: u64,
        /// How long the fault may have stood before, in milliseconds; null where that is not known.
        detection_ms: Option<u64>,
        /// Frames lost, as counted; null where the station did not count.
        frames_lost: Option<u64>,
    }
    /// An operator takes a VIF, a port or the station out of service: own traffic goes other ways, and peers are told (RFC 8326).
    DrainBegin = "drain_begin", Notice, "bf3c1c11bda442cc903565f9004e4a06" {
        /// `vif`, `port` or `station`.
        scope: String,
        /// Name of the VIF or port; null for the station.
        name: Option<String>,
        /// Prefixes to which no other way leads: more than 0 only where the operator wanted it anyway.
        dark_prefixes: u64,
        /// What they said of it.
        comment: Option<String>,
    } by(uid, login_uid, sudo_user)
    /// Nothing of others' traffic passed for three seconds where it is drained: it is safe to unplug. Told once a drain, and once more after a start.
    DrainQuiet = "drain_quiet", Notice, "3102f578d45e40c4a1f485be32b7c5a9" {
        /// `vif`, `port` or `station`.
        scope: String,
        /// Name of the VIF or port; null for the station.
        name: Option<String>,
        /// Milliseconds since the drain began.
        after_ms: u64,
    }
    /// What was drained is in service again.
    DrainEnd = "drain_end", Notice, "0e9dd40f5fdf41fd92c74dc4f647e599" {
        /// `vif`, `port` or `station`.
        scope: String,
        /// Name of the VIF or port; null for the station.
        name: Option<String>,
        /// Milliseconds since the drain began.
        after_ms: u64,
    } by(uid, login_uid, sudo_user)
    /// A probe is down: too few of its targets answer. If it decides about a next hop, no route uses that any more.
    ProbeDown = "probe_down", Error, "56529aa441ab4b0faae45c9c03215c5f" {
        /// Name of the probe.
        probe: String,
        /// Name of the VIF that asks.
        vif: String,
        /// What became of the last question to each target that is down.
        reason: String,
    }
    /// A probe that was down is up again.
    ProbeUp = "probe_up", Notice, "24e53b9e9fd345cc8b755e946b54a931" {
        /// Name of the probe.
        probe: String,
        /// Name of the VIF that asks.
        vif: String,
        /// How long it was down, in milliseconds.
        down_ms: u64,
    }
    /// Loss, RTT or jitter of a target has passed its limit.
    ProbeDegraded = "probe_degraded", Warning, "718a77afa4ee4bba848939561f117201" {
        /// Name of the probe.
        probe: String,
        /// Name of the VIF that asks.
        vif: String,
        /// The target.
        target: IpAddr,
        /// `loss`, `rtt` or `jitter`.
        measure: String,
        /// What it is: percent of loss, microseconds of RTT (the median) or jitter; over the last 100 questions.
        value: u64,
        /// The limit.
        limit: u64,
    }
    /// It is at most three quarters of its limit again.
    ProbeRestored = "probe_restored", Notice, "07ea12f0f8884bdca433eb22ed364389" {
        /// Name of the probe.
        probe: String,
        /// Name of the VIF that asks.
        vif: String,
        /// The target.
        target: IpAddr,
        /// `loss`, `rtt` or `jitter`.
        measure: String,
        /// What it is.
        value: u64,
        /// The limit.
        limit: u64,
    }
    /// A failover drill has begun: BGP sessions of a VIF are down until it is over, and their far ends were told so in words (RFC 9003).
    DrillBegin = "drill_begin", Notice, "5b1a2cd7f3d84f5b8f0d5c1be9a1d36e" {
        /// Name of the VIF.
        vif: String,
        /// The peers of the sessions.
        peers: Vec<IpAddr>,
        /// When they come back by themselves.
        until_ms: u64,
        /// Prefixes to which no other way leads: more than 0 only where the operator wanted it anyway.
        dark_prefixes: u64,
        /// What they said of it.
        comment: Option<String>,
    } by(uid, login_uid, sudo_user)
    /// A failover drill is over, and its sessions are started again.
    DrillEnd = "drill_end", Notice, "c0e6a7f4517b4b0c9e2d8f63a1b7d245" {
        /// Name of the VIF.
        vif: String,
        /// The peers of the sessions.
        peers: Vec<IpAddr>,
        /// `time`: as planned; `stopped`: an operator ended it; `vif_down`: the VIF was set down; `removed`: the sessions are configured no more.
        reason: String,
        /// Milliseconds since it began.
        after_ms: u64,
        /// Frames lost meanwhile, as `stationctl drill history` counts them; null where the station was started meanwhile.
        frames_lost: Option<u64>,
    } by(uid, login_uid, sudo_user)
    /// Somebody has traffic copied to somewhere: a mirror.
    MirrorBegin = "mirror_begin", Notice, "7d3c0f5ab2e64f41a9c18e60d5b7f392" {
        /// Name of the mirror.
        mirror: String,
        /// `vif` or `port`: what is mirrored.
        scope: String,
        /// Its name.
        name: Option<String>,
        /// `in`, `out` or `both`.
        direction: String,
        /// Where copies go.
        to: String,
        /// Only what this expression takes.
        filter: Option<String>,
        /// When it ends by itself; null where it does not.
        until_ms: Option<u64>,
        /// What they said of it.
        comment: Option<String>,
    } by(uid, login_uid, sudo_user)
    /// A mirror has ended.
    MirrorEnd = "mirror_end", Notice, "e94b6d1780f34c2da35f92c7416ab0de" {
        /// Name of the mirror.
        mirror: String,
        /// `vif` or `port`: what was mirrored.
        scope: String,
        /// Its name.
        name: Option<String>,
        /// `stopped`, or why it ended by itself.
        reason: String,
        /// Copies that were sent, since the station has started.
        copies: u64,
        /// Milliseconds since it began.
        after_ms: u64,
    } by(uid, login_uid, sudo_user)
    /// The daemon before ended without writing its open bin of the billing series (a crash, or a loss of power): what it had counted in it is in no bin.
    BillingLost = "billing_lost", Warning, "5f00f1bc771e4c5aa47415cd51ca9d79" {
        /// When the last bin that was written ends: what was counted after it is lost.
        from_ms: u64,
        /// When this daemon began to count.
        to_ms: u64,
    }
    /// Octets of a file of the billing series are no bins: a loss of power tore its end, or the file was damaged.
    BillingDamage = "billing_damage", Error, "01154d76d9074e68865eb3d29f9847a7" {
        /// Name of the file.
        file: String,
        /// Its first octet that is not understood, from 0.
        from_octet: u64,
        /// The first one behind them.
        to_octet: u64,
        /// They were the end of the file, and were cut off. What is in the middle stays, and is left out of what is billed.
        cut: bool,
    }
    /// The clock was set: the bins of the billing series that it was set in are marked.
    BillingClock = "billing_clock", Warning, "df768f3165d7464a84dac1a2561047e3" {
        /// By so many milliseconds; less than 0 where it was set back.
        step_ms: i64,
        /// When the bin begins that was open.
        bin_ms: u64,
    }
    /// Bins of the billing series cannot be written. They wait in memory, and are tried again every 10 seconds.
    BillingUnwritten = "billing_unwritten", Error, "6289c267962f4ce4be1bae52871e0cf2" {
        /// What the system says.
        reason: String,
    }
    /// The bins that waited are written.
    BillingWritten = "billing_written", Notice, "99a5c1bb739c4ef0b41293ec8c99b3a0" {
        /// How many.
        bins: u64,
    }
    /// Octets of a file of the probes' history are no hours: a loss of power tore its end, or the file was damaged.
    ProbeHistoryDamage = "probe_history_damage", Warning, "cc0b6a2f1f6e4b1d8a5e0f7d1c9b3e42" {
        /// Name of the file.
        file: String,
        /// Its first octet that is not understood, from 0.
        from_octet: u64,
        /// The first one behind them.
        to_octet: u64,
        /// They were the end of the file, and were cut off. What is in the middle stays, and is left out of what is shown.
        cut: bool,
    }
    /// Hours of the probes' history cannot be written. 24 of them wait in memory, and are tried again every 10 seconds.
    ProbeHistoryUnwritten = "probe_history_unwritten", Warning, "f4a1d7c35b0e4f7b9d2c6e8a90b3517d" {
        /// What the system says.
        reason: String,
    }
    /// The hours that waited are written.
    ProbeHistoryWritten = "probe_history_written", Notice, "0e7c92d84ab64c0f8e5d3b71f6a2c983" {
        /// How many, the one that is open among them.
        hours: u64,
        /// Hours that are lost, since more than 24 waited.
        lost: u64,
    }
    /// A controller is connected and speaks for its source (`show mappings`); what it said before holds.
    MappingsConnected = "mappings_connected", Notice, "6bf10b5890b749b38d1e430039f9ffbf" {
        /// Name of the source.
        source: String,
        /// The generation of its last sync that ended; null where none did.
        generation: Option<u64>,
        /// The position that its last commit named; null where none did.
        position: Option<u64>,
        /// Mappings that hold.
        mappings: u64,
    }
    /// A controller's connection ended. What it said holds, and nothing is swept.
    MappingsLost = "mappings_lost", Warning, "8f056332c7de4dabba08a6e954987a50" {
        /// Name of the source.
        source: String,
        /// The generation of the sync that it was in; null where it was in none.
        syncing: Option<u64>,
        /// Mappings that hold.
        mappings: u64,
    }
    /// A controller's sync has ended: what it did not name is gone.
    MappingsSynced = "mappings_synced", Notice, "230db389c5af4b26ba577cd79fc5468e" {
        /// Name of the source.
        source: String,
        /// The sync's generation.
        generation: u64,
        /// Mappings that hold.
        mappings: u64,
        /// Mappings that it did not name.
        swept: u64,
    }
    /// A controller's batch was refused because it is too much: of mappings, of next hops, or for the FIB. At most one a second, with the number of those since the last.
    MappingsLimit = "mappings_limit", Warning, "2f0940ca3e1e4e8fa7a9ade9ecd0a5a7" {
        /// Name of the source.
        source: String,
        /// What is too much.
        reason: String,
        /// Refusals since the last such event, this one included.
        count: u64,
    }
    /// Events are missing here: this reader was too slow, they are older than what is kept, or more happened at once than could be noted.
    Lost = "lost", Warning, "1f499356f2cf43e8a0f0105deadebf92" {
        /// How many.
        count: u64,
    }
}
