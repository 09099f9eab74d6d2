//! What `--json` prints, in words.

pub(super) const JSON_HELP: &str = "\
JSON: rows (show, billing, config history, drill history, explain, ping, traceroute, capture) are {\"version\":1,\"time\":...,\"rows\":[...]}, a row a
line; a single answer is {\"version\":1,\"time\":...,\"result\":{...}}; an error is
{\"version\":1,\"time\":...,\"error\":{\"kind\":...,\"message\":...}} on standard error: what came before it is not whole.
`version` is that of this form, `time` when the answer was begun (RFC 3339, UTC). `events` streams: an object a
line, and no envelope. Names are stable; fields may be added.
Octets count from the destination MAC to the end of the payload; *_s are seconds, *_ms milliseconds.
  ports      name customer description circuit interface role mac mtu link admin_up drain xdp_mode zero_copy queues trouble repairs
             carrier_changes rx_frames rx_octets tx_frames tx_octets drops{reason} kernel{rx_dropped rx_ring_full rx_invalid_descs
             tx_invalid_descs fill_ring_empty tx_ring_empty refused_descriptors} xdp{to_kernel no_socket
             malformed bypassed}
  vifs       name customer description circuit port vlan service_tag kind vrf mtu state addresses[]
             source_check join_stations rx_frames rx_octets tx_frames tx_octets drain forwarded punted dropped
  vifs, ports --rate  scope name port layer age_ms windows[{window_s measured_s rx_frames_per_s rx_bits_per_s
             tx_frames_per_s tx_bits_per_s; with --l1 rx_l1_bits_per_s tx_l1_bits_per_s}]
  ports --detail  name customer description circuit interface link age_ms down_reason speed_mbps duplex
             autonegotiation lanes connector fec{configured[] active corrected_blocks uncorrected_blocks}
             errors{name} carrier_ups carrier_downs driver firmware bus module{kind media connector vendor
             part revision serial wavelength_nm readings[{quantity lane value alarm limits{low_alarm
             low_warning high_warning high_alarm}}] rx_loss_lanes[] tx_fault_lanes[] notes[]} notes[];
             what is not told is absent
  vrfs       name customer description circuit kind vifs ipv4_routes ipv6_routes
  address-limits  name vrf direction by rate_bits_per_s burst_octets vifs[] addresses addresses_over passed_octets
             exceeded_frames exceeded_octets; with a name entries[{address passed_octets exceeded_frames exceeded_octets
             burst_used_percent}]
  acl        name rules structure octets build_us vifs_in[] vifs_out[] permitted_in permitted_out denied_in
             denied_out rejected_in rejected_out; with a name entries[{number rule hits_in hits_out}]
  mappings   source state since_ms generation end_of_sync_ms syncing position mappings inactive vrfs
             refused_batches limit_refusals; with --vrf vrf prefix source state via[{vtep vif mac weight}]
  translations  vif customer description circuit vrf inside outside
  tunnels    vif customer description circuit vrf vtep underlay vni local remote station mac state mtu lowered_until_ms via[]
  rpki       cache server state since_s prefixes last_error
  stations   station state vifs[] tunnels tunnels_up rx_frames rx_octets tx_frames tx_octets forwarded dropped
  exchanges  name from to prefixes[] accepted_by[] packets ip_octets
  reachability  from from_vrf to to_vrf exchange source_check filtered ipv4_prefixes ipv6_prefixes prefixes[at most 256;
             with --from and --to more rows follow with the others]
  routes     vrf prefix origin action via[{vif next_hop mac state weight backup}]
  neighbors  vif vrf address mac state age_s
  counters   scope name counters[{group name value help}] conservation{received forwarded punted
             dropped ok}
  drops      scope name reason count first_ms last_ms help frames[{count last_ms octets source_mac
             destination_mac vlans[] service_tag ethertype protocol source destination source_port
             destination_port}]
  flow-log   vif customer description circuit interval effective_interval active_flows frames records unlogged_frames
             unlogged_octets
  talkers    vif customer description circuit direction by measured_s interval octets others_most_octets missed_octets
             talkers[{address octets least_octets most_octets bits_per_s share_percent}]
  collectors  collector state messages records octets lost_records sessions error
  latency    scope name port source sample untimed windows[{window samples p50_ns p99_ns p999_ns max_ns}]
  qos        vif customer description circuit port policy class dscp[] pcp[] mark_dscp mark_pcp weight rate_bits_per_s
             burst_octets sent_frames sent_octets waited_frames policed_frames policed_octets full_frames full_octets
             discarded_frames peak_frames
  capture    frame{time_ns direction port vif verdict comment octets data}, the last one end{port frames
             lost reason}
  workers    worker cpu generation loops empty bursts frames burst_fill busy_ns ns_per_frame sleeps syscalls
             syscalls_per_frame lost frames_free frames_total
  bgp        vif vrf peer peer_as local local_as state since_s bfd last_error accepted
             rejected{cause} advertised max_prefixes max_prefixes_reached cause key_failures
  bgp VIF routes  vif peer prefix state cause as_path[] origin next_hop med local_preference
             communities[]
  consistency  vrf family kernel_routes learned_routes dumped_s audits mismatches repaired resyncs resynced
             overflows refused no_room last_error ok
  drains     scope name state since_ms quiet_ms vifs rx_frames_per_s tx_frames_per_s at_most
             flows[{vif rx_frames_per_s tx_frames_per_s}] uid login_uid sudo_user comment
  drain      change{as any change} drain{as show drains; absent with --no-wait}
  drills, drill history  vif peers[] state since_ms until_ms end_ms ended dark_prefixes tx_switch_ms rx_switch_ms resolution_ms
             measured_ms frames_lost went_to[{vif before_frames_per_s frames_per_s}] uid login_uid sudo_user comment
  mirrors    name vif port direction filter snap to rate since_ms until_ms copies octets truncated missed{reason} uid login_uid
             sudo_user comment
  outages    vif cause also[] start_ms end_ms duration_ms detection_ms frames_lost
  sla        vif state since_ms until_ms availability outages down_ms longest_ms planned_ms frames_lost by_cause{cause}
  probes     probe vif customer description circuit target kind port source state since_s probe_state held_s next_hop sent
             received lost window loss_percent last_us p50_us p99_us max_us jitter_us message
  probe-history  probe vif customer target kind port start_ms end_ms hours open sent received lost loss_percent p50_us p90_us
             p99_us max_us jitter_us damage
  billing    scope name customer since_ms until_ms bins missing_bins incomplete_bins rx_frames rx_octets tx_frames tx_octets
             p95_rx_bits_per_s p95_tx_bits_per_s p95_bits_per_s enhanced_bits_per_s damage[]
  billing --bins  scope name customer start_ms end_ms rx_frames rx_octets tx_frames tx_octets rx_bits_per_s
             tx_bits_per_s observed_s complete marks[] damage
  report     station customer month since_ms until_ms open vifs[{vif description circuit availability{since_ms availability
             outages down_ms down_ms_by_cause{cause} longest_ms planned_ms planned_ms_by_cause{cause} frames_lost}
             outages[as show outages] probes[{probe target kind port known_hours sent received lost loss_percent
             p50_us p90_us p99_us max_us jitter_us hours[{start_ms loss_percent p50_us p99_us}]}] traffic{rx_frames rx_octets
             tx_frames tx_octets mean_rx_bits_per_s mean_tx_bits_per_s p95_rx_bits_per_s p95_tx_bits_per_s
             p95_bits_per_s hours[{start_ms bins max_rx_bits_per_s max_tx_bits_per_s}]}}] total{availability outages
             down_ms longest_ms planned_ms sent received lost loss_percent traffic bins missing_bins
             incomplete_bins} notes[]
  lookup     vrf address prefix via[{vif next_hop mac state weight backup}] verdict help
  explain    frame port vif vrf verdict stage help stages[{stage verdict detail}]
             destination_route, source_route{address prefix origin group via[]} egress{port vif vlan
             next_hop mac mtu member members flow} headers{as frames of drops} octets data sent
  ping, traceroute  begin{vif vrf source address size octets}, probe{sequence ttl outcome from message mtu
             answer_ttl octets rtt_us} each, the last one end{sent received errors min_us avg_us max_us
             duration_ms}
  version    station version protocol uptime_s generation configuration config namespace log_lines_lost
             longest_hold_us longest_hold events{newest lost journal_lost hook_runs hook_failed hook_lost}
  events     seq time_ms kind, and what station-events(7) lists for the kind
  config history  number state time_ms uid login_uid sudo_uid sudo_user command comment until_ms back_to
             confirmed_ms confirmed_uid trouble
  config show, diff  number since text
  changes    generation configuration dry_run changes[] cuts[] notes[] until_ms routing{state reason refiltered
             waited_ms}

Kinds of errors: not_found invalid conflict consent denied too_large timeout version busy internal (said by the station),
usage input output no_reply unreachable.

Exit codes: 0 done; 1 refused by the station, or nobody replied to ping, also where live service would be cut and --yes is not given; 2 wrong usage; 3 the station cannot be reached.";
