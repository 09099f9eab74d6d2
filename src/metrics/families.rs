//! The families of metrics: names, kinds, labels and what they mean. station-metrics(7) is made of this table.

/// What a family has a series for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Per {
    /// One.
    Station,
    /// One for each reason, event or cause that the station knows.
    Reason,
    /// One for each worker.
    Worker,
    /// One for each port.
    Port,
    /// One for each port and reason that happened there.
    PortReason,
    /// One for each port whose driver or module tells.
    PortTold,
    /// One for each lane of each port's module that tells.
    PortLane,
    /// One for each limit that a port's module has.
    PortLimit,
    /// One for each VIF.
    Vif,
    /// One for each VIF that an operator has taken out of service.
    VifOut,
    /// One for each VIF and reason that happened there.
    VifReason,
    /// One for each limited direction of a port, meter group or VIF.
    Limited,
    /// One for each limit of addresses that a VIF has, VRF and direction.
    AddressLimit,
    /// One for each class of each VIF that has a policy.
    Class,
    /// One for each access list that a VIF uses, direction and action.
    Acl,
    /// One for each VIF and VTEP at the other end of its tunnels.
    Tunnel,
    /// One for each VIF whose flows are logged.
    Logged,
    /// One for each collector of flows, and for the files.
    Collector,
    /// One for each probe of which it is known whether it is up.
    Probe,
    /// One for each target of a probe.
    Target,
    /// One for each mirror.
    Mirror,
    /// One for each mirror and reason why there was no copy.
    MirrorReason,
    /// One for each port, or VIF, whose frames are timed.
    Timed,
    /// One for each source of mappings.
    Source,
    /// One for each cache of RPKI.
    Cache,
    /// One for each VIF, port or station that is drained.
    Drain,
    /// One for each VRF and address family.
    VrfFamily,
    /// One for each BGP session.
    Session,
    /// One for each BGP session with BFD.
    BfdSession,
}

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for a restart and, of ports and VIFs, `stationctl clear counters`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were at most so large: `_bucket` with the label `le`, `_count` and `_sum`. They only grow.
    Histogram,
    /// Labels that tell of the thing; the value is 1.
    Info,
}

macro_rules! families {
    ($($family:ident: $kind:ident $name:literal $per:ident [$($label:literal),*] $help:literal;)+) => {
        /// A family of metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Family { $(#[doc = $help] $family,)+ }

        impl Family {
            /// All of them, in the order of the page.
            pub const ALL: &'static [Family] = &[$(Family::$family,)+];

            /// Its name without what its kind adds: `_total` of a counter, `_info` of an info.
            pub const fn name(self) -> &'static str {
                match self { $(Family::$family => $name,)+ }
            }

            /// Its kind.
            pub const fn kind(self) -> Kind {
                match self { $(Family::$family => Kind::$kind,)+ }
            }

            /// What it has a series for.
            pub const fn per(self) -> Per {
                match self { $(Family::$family => Per::$per,)+ }
            }

            /// Its labels.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Family::$family => &[$($label),*],)+ }
            }

            /// What it means.
            pub const fn help(self) -> &'static str {
                match self { $(Family::$family => $help,)+ }
            }
        }
    };
}

families! {
    Build: Info "station_build" Station ["version", "station"] "Version of stationd, and the station's name.";
    StartTime: Gauge "station_start_time_seconds" Station [] "When stationd started, in seconds since 1970.";
    Configuration: Gauge "station_configuration_number" Station [] "Number of the committed configuration; 0 without a history.";
    Generation: Gauge "station_generation" Station [] "Counts what was published to the workers, link events included.";
    LongestHold: Gauge "station_control_longest_hold_seconds" Station [] "The longest that the control thread did one thing since the start.";
    LogLost: Counter "station_log_lines_lost" Station [] "Lines of the log that standard error did not take in time.";
    Vifs: Gauge "station_vifs" Station [] "Configured VIFs.";
    FibUsed: Gauge "station_fib_used_bytes" Station [] "Memory of the lookup structures that is in use, retired parts included.";
    FibLimit: Gauge "station_fib_limit_bytes" Station [] "Memory that lookup structures may take in all.";
    Mismatches: Counter "station_fib_mismatches" Station [] "Routes that an audit found to differ from the kernel's.";
    Repaired: Counter "station_fib_repaired" Station [] "Those of them that were put right.";
    Inconsistent: Gauge "station_fib_inconsistent" Station [] "Address families of VRFs whose FIB is not what the kernel has: `stationctl show consistency`.";
    Overflows: Counter "station_mirror_overflows" Station [] "Times that the kernel dropped notifications of routes; all are read again then.";
    BgpAnswered: Gauge "station_bgp_answered" Station [] "1 where the routing daemon could be asked for this page, or there is nothing to ask; 0: the sessions are missing on it.";
    BillingLast: Gauge "station_billing_last_bin_timestamp_seconds" Station [] "When the last bin of the billing series that is on disk ends, in seconds since 1970; 0 before the first. More than ten minutes ago: it is not written.";
    BillingWaiting: Gauge "station_billing_waiting_bins" Station [] "Bins that wait for the disk.";
    BillingFailures: Counter "station_billing_write_failures" Station [] "Attempts to write a bin that failed.";
    Punted: Counter "station_punted_frames" Reason ["reason"] "Frames for the slow path, of all VIFs.";
    Slow: Counter "station_slow_path_frames" Reason ["outcome"] "What became of them.";
    Tap: Counter "station_tap_frames" Reason ["event"] "Frames between the kernel and the wire: BGP and BFD.";
    WorkerBusy: Counter "station_worker_busy_seconds" Worker ["worker"] "Time of the turns that found something to do, system calls included: 1 a second is all of its CPU.";
    WorkerTurns: Counter "station_worker_turns" Worker ["worker"] "Turns of its loop: how often it polled the ports.";
    WorkerEmpty: Counter "station_worker_empty_turns" Worker ["worker"] "Those that found nothing to do.";
    WorkerBursts: Counter "station_worker_bursts" Worker ["worker"] "Bursts of up to 64 frames received.";
    WorkerFrames: Counter "station_worker_frames" Worker ["worker"] "Frames in them: how evenly the NIC's queues are loaded.";
    WorkerSleeps: Counter "station_worker_sleeps" Worker ["worker"] "Times that it slept until a frame came.";
    WorkerCalls: Counter "station_worker_system_calls" Worker ["worker"] "System calls to receive, send and sleep.";
    WorkerLost: Counter "station_worker_slow_path_lost_frames" Worker ["worker"] "Frames of the slow path that found its queue full.";
    WorkerFree: Gauge "station_worker_free_buffers" Worker ["worker"] "Packet buffers that are free.";
    WorkerBuffers: Gauge "station_worker_buffers" Worker ["worker"] "Packet buffers that it has.";
    Port: Info "station_port" Port ["port", "interface", "role", "xdp_mode", "zero_copy", "customer", "circuit"] "The Linux interface of a port, how XDP is attached, and whose it is.";
    PortUp: Gauge "station_port_up" Port ["port"] "1 where the port is open and has a link.";
    PortTrouble: Gauge "station_port_trouble" Port ["port"] "1 where something is wrong with the port: `stationctl show ports` says what.";
    PortChanges: Counter "station_port_carrier_changes" Port ["port"] "Losses and returns of its link.";
    PortRepairs: Counter "station_port_repairs" Port ["port"] "Times that something another hand had changed of the port was put right.";
    PortRxFrames: Counter "station_port_rx_frames" Port ["port"] "Frames received.";
    PortRxBytes: Counter "station_port_rx_bytes" Port ["port"] "Octets received, from the destination MAC to the end of the payload, without FCS.";
    PortTxFrames: Counter "station_port_tx_frames" Port ["port"] "Frames sent.";
    PortTxBytes: Counter "station_port_tx_bytes" Port ["port"] "Octets sent, without FCS.";
    PortMissed: Counter "station_port_missed_frames" PortReason ["port", "cause"] "Frames that no worker saw, by the kernel's or the XDP program's own count.";
    PortDrops: Counter "station_port_drops" PortReason ["port", "reason"] "Frames dropped before a VIF was known: station-counters(7).";
    PortErrors: Counter "station_port_physical_errors" PortReason ["port", "error"] "Errors of the wire and the MAC that the driver counts: crc, symbol, alignment and others.";
    PortAge: Gauge "station_port_reading_age_seconds" PortTold ["port"] "Age of what driver and module tell: they are asked every 15 seconds, beside the packet path and the page.";
    PortSpeed: Gauge "station_port_speed_bytes" PortTold ["port"] "Speed of the link in octets a second, as node_exporter tells it: 10 Gbit/s are 1.25e9.";
    FecCorrected: Counter "station_port_fec_corrected_blocks" PortTold ["port"] "Blocks that forward error correction put right.";
    FecUncorrected: Counter "station_port_fec_uncorrected_blocks" PortTold ["port"] "Blocks that it could not: frames are lost.";
    Module: Info "station_port_module" PortTold ["port", "kind", "media", "vendor", "part", "serial"] "The transceiver module.";
    Temperature: Gauge "station_port_module_temperature_celsius" PortTold ["port"] "The module's temperature.";
    Voltage: Gauge "station_port_module_voltage_volts" PortTold ["port"] "The module's supply voltage.";
    TxBias: Gauge "station_port_tx_bias_amperes" PortLane ["port", "lane"] "Bias current of the laser.";
    TxPower: Gauge "station_port_tx_power_watts" PortLane ["port", "lane"] "Light that is sent; in dBm: 10 * log10(1000 * station_port_tx_power_watts).";
    RxPower: Gauge "station_port_rx_power_watts" PortLane ["port", "lane"] "Light that is received; in dBm as above. What the module cannot tell from none is 1e-7 W (-40 dBm).";
    RxPowerLimit: Gauge "station_port_rx_power_limit_watts" PortLimit ["port", "limit"] "The module's limits of the light that is received: low_alarm, low_warning, high_warning, high_alarm.";
    ModuleAlarm: Gauge "station_port_module_alarm" PortLimit ["port", "quantity", "side"] "How the worst lane stands to the module's limits: 0 within, 1 warning, 2 alarm; quantity is temperature, voltage, tx_bias, tx_power or rx_power, side low or high.";
    Vif: Info "station_vif" Vif ["vif", "port", "vlan", "kind", "vrf", "customer", "circuit"] "Where a VIF is, and whose; kind is `core` on core ports.";
    VifUp: Gauge "station_vif_up" Vif ["vif"] "1 where the VIF is up and its port has a link.";
    VifRxFrames: Counter "station_vif_rx_frames" Vif ["vif"] "Frames received.";
    VifRxBytes: Counter "station_vif_rx_bytes" Vif ["vif"] "Octets received, from the destination MAC to the end of the payload, without FCS.";
    VifTxFrames: Counter "station_vif_tx_frames" Vif ["vif"] "Frames sent.";
    VifTxBytes: Counter "station_vif_tx_bytes" Vif ["vif"] "Octets sent, without FCS.";
    VifForwarded: Counter "station_vif_forwarded_frames" Vif ["vif"] "Frames that entered here and were forwarded.";
    VifPunted: Counter "station_vif_punted_frames" Vif ["vif"] "Frames that entered here and went to the slow path.";
    VifDropped: Counter "station_vif_dropped_frames" Vif ["vif"] "Frames that entered here and were dropped, for whatever reason.";
    VifDrops: Counter "station_vif_drops" VifReason ["vif", "reason"] "The same by reason: station-counters(7).";
    VifDrain: Gauge "station_vif_drain" VifOut ["vif"] "Of a VIF that is drained: 1 while frames still pass or it is not known, 2 where it is quiet (safe to unplug).";
    VifDrill: Gauge "station_vif_drill_end_timestamp_seconds" VifOut ["vif"] "Of a VIF in a failover drill: when its sessions come back by themselves, in seconds since 1970.";
    Bandwidth: Gauge "station_bandwidth_bytes_per_second" Limited ["scope", "name", "direction"] "What it may receive (rx) or send (tx), where it has a rate of its own.";
    BandwidthPassed: Counter "station_bandwidth_passed_bytes" Limited ["scope", "name", "direction"] "Octets that its limits let pass, as they count them.";
    ExceededFrames: Counter "station_bandwidth_exceeded_frames" Limited ["scope", "name", "direction"] "Frames dropped because they exceeded a limit.";
    ExceededBytes: Counter "station_bandwidth_exceeded_bytes" Limited ["scope", "name", "direction"] "Their octets.";
    AddressesOver: Gauge "station_address_limit_addresses_over" AddressLimit ["address_limit", "vrf", "direction"] "Addresses of which frames were dropped since the last clear: `stationctl show address-limits NAME` says which.";
    AddressPassed: Counter "station_address_limit_passed_bytes" AddressLimit ["address_limit", "vrf", "direction"] "Octets of its addresses that it let pass, as bandwidths count them. A prefix that goes takes along what its addresses had.";
    AddressExceededFrames: Counter "station_address_limit_exceeded_frames" AddressLimit ["address_limit", "vrf", "direction"] "Frames dropped because their address had too many.";
    AddressExceededBytes: Counter "station_address_limit_exceeded_bytes" AddressLimit ["address_limit", "vrf", "direction"] "Their octets.";
    ClassFrames: Counter "station_qos_frames" Class ["vif", "class"] "Frames that left by the VIF, or wait to.";
    ClassBytes: Counter "station_qos_bytes" Class ["vif", "class"] "Their octets, without FCS.";
    ClassWaited: Counter "station_qos_waited_frames" Class ["vif", "class"] "Those of the frames that waited, since the port was slower than what was sent to it.";
    ClassPoliced: Counter "station_qos_policed_frames" Class ["vif", "class"] "Frames dropped because they exceeded the class's bandwidth.";
    ClassFull: Counter "station_qos_dropped_frames" Class ["vif", "class"] "Frames dropped because the class's queue was full.";
    ClassDiscarded: Counter "station_qos_discarded_frames" Class ["vif", "class"] "Frames that waited and did not leave, since their port or VIF went.";
    ClassPeak: Gauge "station_qos_peak_frames" Class ["vif", "class"] "The most frames that ever waited at once in one worker.";
    AclPackets: Counter "station_acl_packets" Acl ["acl", "direction", "action"] "Packets that an access list judged: direction is in or out, action permit, deny or reject.";
    Tunnel: Info "station_tunnel" Tunnel ["vif", "remote", "vtep", "vni", "underlay"] "Where a VIF's tunnel to a VTEP is.";
    TunnelUp: Gauge "station_tunnel_up" Tunnel ["vif", "remote"] "1 where the VIF is up and the underlay leads to the VTEP.";
    FlowInterval: Gauge "station_flow_log_interval" Logged ["vif"] "One of so many packets is logged now; more than configured where a worker is too busy or the VIF has too many flows.";
    FlowsActive: Gauge "station_flow_log_active_flows" Logged ["vif"] "Flows that go on.";
    FlowFrames: Counter "station_flow_log_frames" Logged ["vif"] "Packets in records.";
    FlowRecords: Counter "station_flow_log_records" Logged ["vif"] "Records that were made.";
    Unlogged: Counter "station_flow_log_unlogged_frames" Logged ["vif"] "Packets that were to be logged and for which there was no room.";
    CollectorUp: Gauge "station_collector_up" Collector ["collector"] "1 where flows can be sent to it, or written.";
    CollectorRecords: Counter "station_collector_records" Collector ["collector"] "Flows that it was sent.";
    CollectorBytes: Counter "station_collector_bytes" Collector ["collector"] "Octets of the messages.";
    CollectorLost: Counter "station_collector_lost_records" Collector ["collector"] "Flows that it was to be sent and was not, or did not acknowledge.";
    ProbeUp: Gauge "station_probe_up" Probe ["probe", "vif"] "1 where enough of the probe's targets answer; no series while that is not known, or its VIF is down.";
    TargetUp: Gauge "station_probe_target_up" Target ["probe", "target"] "The same of a target.";
    TargetSent: Counter "station_probe_sent" Target ["probe", "target"] "Questions that left.";
    TargetReceived: Counter "station_probe_received" Target ["probe", "target"] "Those that were answered.";
    TargetLost: Counter "station_probe_lost" Target ["probe", "target"] "Those that were not, in time, or with an error.";
    TargetRtt: Histogram "station_probe_rtt_seconds" Target ["probe", "target"] "Round trips of the answers.";
    TargetJitter: Gauge "station_probe_jitter_seconds" Target ["probe", "target"] "How much round trips differ from one to the next (RFC 3550).";
    MirrorCopies: Counter "station_mirror_copies" Mirror ["mirror"] "Copies that a mirror sent. They are not among what ports and VIFs send.";
    MirrorBytes: Counter "station_mirror_bytes" Mirror ["mirror"] "Their octets, with all headers.";
    MirrorTruncated: Counter "station_mirror_truncated_copies" Mirror ["mirror"] "Those of them that lack the end of their frame.";
    MirrorMissed: Counter "station_mirror_missed_copies" MirrorReason ["mirror", "reason"] "Copies for which there was no room or no way: station-mirror(7).";
    PortResidence: Histogram "station_port_residence_seconds" Timed ["port"] "How long frames that came by the port were in the station, of those that were timed and forwarded.";
    PortUntimed: Counter "station_port_residence_untimed" Timed ["port"] "Frames of the port that were to be timed, and for whose time there was no room, or whose time cannot be.";
    VifResidence: Gauge "station_vif_residence_seconds" Timed ["vif", "quantile"] "The same of a VIF in the last minute or two: the quantile is 0.5, 0.99 or 1.";
    Mappings: Gauge "station_mappings" Source ["source"] "Mappings that hold of a controller.";
    MappingsInactive: Gauge "station_mappings_inactive" Source ["source"] "Those of them that lead nowhere: the configuration has not their VRF, or none of their VTEPs.";
    MappingsConnected: Gauge "station_mappings_connected" Source ["source"] "1 while the controller is connected.";
    MappingsRefused: Counter "station_mappings_refused_batches" Source ["source"] "Its batches that were refused.";
    MappingsSynced: Gauge "station_mappings_end_of_sync_timestamp_seconds" Source ["source"] "When its last sync ended, in seconds since 1970; no series where none did.";
    RpkiUp: Gauge "station_rpki_cache_up" Cache ["cache"] "1 where the cache has said all and says what changes.";
    RpkiPrefixes: Gauge "station_rpki_cache_prefixes" Cache ["cache"] "Prefixes that it vouches for, each with an AS and a longest length (VRPs, RFC 6811).";
    DrainQuiet: Gauge "station_drain_quiet" Drain ["scope", "name"] "1 where nothing passes any more: it is safe to unplug; scope is vif, port or station. What is not drained has no series.";
    DrainStart: Gauge "station_drain_start_time_seconds" Drain ["scope", "name"] "When the drain was begun, in seconds since 1970.";
    Routes: Gauge "station_vrf_routes" VrfFamily ["vrf", "family"] "Routes of a VRF, connected ones included.";
    Session: Info "station_bgp_session" Session ["vif", "peer", "vrf", "peer_as", "local_as"] "The ASes of a BGP session.";
    SessionUp: Gauge "station_bgp_session_up" Session ["vif", "peer"] "1 where the session is established.";
    SessionState: Gauge "station_bgp_session_state" Session ["vif", "peer"] "bgpPeerState of RFC 4273: 1 idle, 2 connect, 3 active, 4 opensent, 5 openconfirm, 6 established; 0: not running, or shut by max_prefixes.";
    Accepted: Gauge "station_bgp_prefixes_accepted" Session ["vif", "peer"] "Prefixes that were accepted from the peer.";
    Rejected: Gauge "station_bgp_prefixes_rejected" Session ["vif", "peer"] "Prefixes that were refused.";
    Advertised: Gauge "station_bgp_prefixes_advertised" Session ["vif", "peer"] "Prefixes that are advertised to the peer.";
    PrefixLimit: Gauge "station_bgp_prefixes_limit" Session ["vif", "peer"] "Accepted prefixes that it may have (max_prefixes).";
    KeyFailures: Counter "station_bgp_key_failures" Session ["vif", "peer"] "SYNs of the peer that are not signed as its session's password wants it, of at most ten a second that are looked at.";
    BfdUp: Gauge "station_bfd_session_up" BfdSession ["vif", "peer"] "1 where BFD with the BGP peer is up.";
}
