use std::collections::HashMap;

use super::*;
use crate::admin::rows::{
    CollectorRow, FlowLogRow, LatencyRow, LatencyWindow, RpkiRow, SourceRow, TargetRow,
};
use crate::observe::latency::{BUCKETS_NS, Sums};
use crate::probes::Counts;

/// A port's or a VIF's residence times: three of them in the last minute, a fourth before.
fn residence(scope: &str) -> (LatencyRow, Option<Sums>) {
    let of_port = scope == "port";
    let window = |window: &str, samples| LatencyWindow {
        window: window.into(),
        samples,
        p50_ns: 1500,
        p99_ns: 2000,
        p999_ns: 2000,
        max_ns: 2_000_000_000,
    };
    let row = LatencyRow {
        scope: scope.into(),
        name: if of_port { "cust0" } else { "a" }.into(),
        port: "cust0".into(),
        source: Some("xdp".into()),
        sample: 64,
        untimed: of_port.then_some(9),
        windows: vec![window("recent", 3), window("all", 4)],
    };
    let mut sums = Sums { sum_ns: 2_000_005_000, ..Sums::default() };
    (sums.buckets[1], sums.buckets[BUCKETS_NS.len()]) = (3, 1);
    (row, of_port.then_some(sums))
}

fn facts() -> Facts {
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let port = json(
        r#"{"name":"cust0","interface":"eth\"1","role":"customer","customer":"acme","mac":"02:00:00:00:00:01","mtu":1500,"link":"up",
        "xdp_mode":"native","zero_copy":false,"queues":1,"trouble":"","repairs":2,"carrier_changes":3,"rx_frames":10,
        "rx_octets":1000,"tx_frames":4,"tx_octets":400,"drops":{"runt":1},"kernel":{"rx_dropped":1,"rx_ring_full":2,
        "rx_invalid_descs":0,"tx_invalid_descs":0,"fill_ring_empty":0,"tx_ring_empty":0,"refused_descriptors":0},
        "xdp":{"to_kernel":0,"no_socket":5,"malformed":6,"bypassed":7}}"#,
    );
    let vif = json(
        r#"{"name":"a","port":"cust0","vlan":"100","service_tag":false,"kind":"private","vrf":"vpc-a","mtu":1500,
        "drain": "quiet", "state":"up","addresses":[],"source_check":"strict","rx_frames":9,"rx_octets":900,"tx_frames":4,"tx_octets":400,
        "forwarded":5,"punted":1,"dropped":3}"#,
    );
    let bandwidth = json(
        r#"{"scope":"vif","name":"a","direction":"rx","rate_bits_per_s":8000000,"committed_bits_per_s":null,
        "burst_octets":65536,"meter_group":null,"vifs":1,"passed_octets":700,"committed_octets":0,
        "exceeded_frames":2,"exceeded_octets":200,"now":null}"#,
    );
    let qos = json(
        r#"{"vif":"a","port":"cust0","policy":"gold","class":"voice","dscp":[46],"pcp":[],"mark_dscp":null,
        "mark_pcp":null,"weight":null,"rate_bits_per_s":null,"burst_octets":null,"sent_frames":9,"sent_octets":900,
        "waited_frames":3,"policed_frames":0,"policed_octets":0,"full_frames":2,"full_octets":200,"discarded_frames":1,
        "peak_frames":7}"#,
    );
    let target = TargetRow {
        probe: "cpe".into(),
        vif: "a".into(),
        labels: Labels::default(),
        target: "10.1.0.10".parse().unwrap(),
        kind: "icmp".into(),
        port: None,
        source: None,
        state: "up".into(),
        since_s: 1,
        probe_state: "down".into(),
        held_s: Some(4),
        next_hop: None,
        sent: 7,
        received: 6,
        lost: 1,
        window: 7,
        loss_percent: Some(14),
        last_us: Some(90),
        p50_us: Some(90),
        p99_us: Some(99),
        max_us: Some(99),
        jitter_us: Some(5),
        message: String::new(),
    };
    let mut counts = Counts { sent: 7, received: 6, lost: 1, sum_us: 540, ..Counts::default() };
    counts.buckets[1] = 6;
    let vrf = json(r#"{"name":"vpc-a","kind":"vpc","vifs":1,"ipv4_routes":7,"ipv6_routes":8}"#);
    let worker = json(
        r#"{"worker":0,"cpu":1,"generation":2,"loops":100,"empty":90,"bursts":8,"frames":10,"burst_fill":1.25,
        "busy_ns":1500000000,"ns_per_frame":1.0,"sleeps":3,"syscalls":4,"syscalls_per_frame":0.4,"lost":0,
        "frames_free":5,"frames_total":6}"#,
    );
    let session = json(
        r#"{"vif":"a","vrf":"vpc-a","peer":"169.254.0.2","peer_as":65001,"local":"169.254.0.1","local_as":64512,
        "state":"established","since_s":1,"bfd":"up","last_error":"","accepted":2,"rejected":{"bogon":1,"martian":2},
        "advertised":4,"max_prefixes":100,"max_prefixes_reached":false,"cause":null,"key_failures":3}"#,
    );
    let version = json(
        r#"{"station":"s","version":"0.1.0","protocol":1,"uptime_s":1,"generation":5,"configuration":6,"config":"",
        "namespace":"","log_lines_lost":0,"longest_hold_us":1500,"longest_hold":""}"#,
    );
    let limits = r#"{"low_alarm":-20.0,"low_warning":-10.0,"high_warning":0.0,"high_alarm":10.0}"#;
    let detail = json(&format!(
        r#"{{"name":"cust0","interface":"eth1","link":"up","age_ms":1500,"speed_mbps":10000,
        "fec":{{"configured":["rs"],"active":"rs","corrected_blocks":12,"uncorrected_blocks":1}},"errors":{{"crc":5}},
        "module":{{"kind":"QSFP28","vendor":"ACME","readings":[
        {{"quantity":"temperature_c","value":40.5,"alarm":"high_warning","limits":{limits}}},
        {{"quantity":"voltage_v","value":3.25}},{{"quantity":"tx_bias_ma","lane":1,"value":40.0}},
        {{"quantity":"tx_power_dbm","lane":1,"value":0.0}},
        {{"quantity":"rx_power_dbm","lane":1,"value":-10.0,"alarm":"ok","limits":{limits}}},
        {{"quantity":"rx_power_dbm","lane":2,"value":-30.0,"alarm":"low_alarm","limits":{limits}}}]}}}}"#
    ));
    let tunnel = json(
        r#"{"vif":"vpc-a","vrf":"vpc-a","vtep":"vtep4","underlay":"fabric","vni":5001,"local":"10.255.0.1",
        "remote":"10.255.1.2","mac":"02:0a:00:00:00:0a","state":"up","mtu":1500,"via":[]}"#,
    );
    let drain = json(
        r#"{"scope":"port","name":"cust0","state":"draining","since_ms":1795000300002,"quiet_ms":null,"vifs":2,
        "rx_frames_per_s":1.0,"tx_frames_per_s":0.0,"at_most":0,"flows":[],"uid":0,"login_uid":null,"sudo_user":null,
        "comment":null}"#,
    );
    let mirror = json(
        r#"{"name":"m","vif":"a","port":null,"direction":"both","filter":null,"snap":4096,"to":"","rate":1000000,
        "since_ms":1,"until_ms":null,"copies":10,"octets":900,"truncated":1,"missed":{"rate":2,"ring":0},"uid":0,
        "login_uid":null,"sudo_user":null,"comment":null}"#,
    );
    let limit = json(
        r#"{"name":"hosts","vrf":"vpc-a","direction":"rx","by":"source","rate_bits_per_s":1000000,"burst_octets":65536,
        "vifs":["a"],"addresses":256,"addresses_over":2,"passed_octets":700,"exceeded_frames":3,"exceeded_octets":300}"#,
    );
    let silent = json(r#"{"name":"core0","interface":"eth2","link":"up"}"#);
    Facts {
        version: serde_json::from_value(version).unwrap(),
        started_s: 1_795_000_000.5,
        ports: vec![serde_json::from_value(port).unwrap()],
        details: [detail, silent].map(|row| serde_json::from_value(row).unwrap()).into(),
        vifs: vec![(serde_json::from_value(vif).unwrap(), [("no_route".to_owned(), 3)].into())],
        drills: vec![("a".to_owned(), 1_795_000_600.0)],
        bandwidths: vec![serde_json::from_value(bandwidth).unwrap()],
        qos: vec![serde_json::from_value(qos).unwrap()],
        vrfs: vec![serde_json::from_value(vrf).unwrap()],
        address_limits: vec![serde_json::from_value(limit).unwrap()],
        acls: vec![AclRow {
            name: "web".into(),
            vifs_in: vec!["a".into()],
            denied_in: 7,
            ..AclRow::default()
        }],
        tunnels: vec![serde_json::from_value(tunnel).unwrap()],
        mirrors: vec![serde_json::from_value(mirror).unwrap()],
        mappings: vec![SourceRow {
            source: "ctl".into(),
            state: "lost".into(),
            mappings: 7,
            inactive: 2,
            end_of_sync_ms: Some(1_795_000_000_500),
            ..SourceRow::default()
        }],
        flow_log: vec![FlowLogRow {
            vif: "a".into(),
            labels: Labels::default(),
            interval: 1,
            effective_interval: 2,
            active_flows: 3,
            frames: 40,
            records: 5,
            unlogged_frames: 6,
            unlogged_octets: 360,
        }],
        probes: vec![(target, counts)],
        latency: ["port", "vif"].map(residence).into(),
        collectors: vec![CollectorRow {
            collector: "udp://192.0.2.1:4739".into(),
            state: "down".into(),
            messages: 2,
            records: 5,
            octets: 900,
            lost_records: 3,
            sessions: 1,
            error: "Connection refused".into(),
        }],
        rpki: vec![RpkiRow {
            cache: "cache-1".into(),
            server: "192.0.2.53:3323".parse().unwrap(),
            state: "up".into(),
            since_s: Some(7),
            prefixes: 500_000,
            last_error: String::new(),
        }],
        drains: vec![serde_json::from_value(drain).unwrap()],
        workers: vec![serde_json::from_value(worker).unwrap()],
        sessions: Some(vec![serde_json::from_value(session).unwrap()]),
        punted: vec![("local", 4)],
        outcomes: vec![("answered", 4)],
        taps: vec![("to_kernel", 2)],
        fib: [1024, 4096],
        mirror: [3, 2, 1],
        inconsistent: 0,
        billed_s: 1_795_000_300.002,
        unbilled: [4, 5],
    }
}

#[test]
fn every_family_is_there_once_with_its_labels() {
    let text = page(facts());
    assert!(text.ends_with("# EOF\n"));
    let described: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let all: Vec<&str> = Family::ALL.iter().map(|family| family.name()).collect();
    assert_eq!(described, all, "in the order of the table");
    for family in Family::ALL {
        let suffix = match family.kind() {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Histogram => "_bucket",
            Kind::Info => "_info",
        };
        let name = format!("{}{suffix}", family.name());
        let of = |line: &&str| {
            let rest = line.strip_prefix(&*name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let line = text.lines().find(of).unwrap_or_else(|| panic!("no series of {name}:\n{text}"));
        let labels: Vec<&str> = line
            .split_once('{')
            .and_then(|(_, rest)| rest.rsplit_once('}'))
            .map_or_else(Vec::new, |(labels, _)| {
                labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect()
            });
        // A histogram's series have its upper bounds beside.
        let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
        assert_eq!(labels, family.labels(), "{line}");
    }
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> =
        series.filter_map(|line| line.rsplit_once(' ').map(|(s, _)| s)).collect();
    let unique: HashMap<&str, ()> = names.iter().map(|name| (*name, ())).collect();
    assert_eq!(unique.len(), names.len(), "a series is there once");
}

#[test]
fn numbers_and_units_are_right() {
    let text = page(facts());
    for line in [
        "# TYPE station_worker_busy_seconds counter",
        "# UNIT station_worker_busy_seconds seconds",
        "station_worker_busy_seconds_total{worker=\"0\"} 1.5",
        "# UNIT station_vif_rx_bytes bytes",
        "station_vif_rx_bytes_total{vif=\"a\"} 900",
        "station_vif_drops_total{vif=\"a\",reason=\"no_route\"} 3",
        "station_port_missed_frames_total{port=\"cust0\",cause=\"no_socket\"} 5",
        "station_port_info{port=\"cust0\",interface=\"eth\\\"1\",role=\"customer\",xdp_mode=\"native\",zero_copy=\"false\",customer=\"acme\",circuit=\"\"} 1",
        "station_tunnel_info{vif=\"vpc-a\",remote=\"10.255.1.2\",vtep=\"vtep4\",vni=\"5001\",underlay=\"fabric\"} 1",
        "station_rpki_cache_up{cache=\"cache-1\"} 1",
        "station_rpki_cache_prefixes{cache=\"cache-1\"} 500000",
        "station_mappings{source=\"ctl\"} 7",
        "station_mappings_inactive{source=\"ctl\"} 2",
        "station_mappings_connected{source=\"ctl\"} 0",
        "station_mappings_end_of_sync_timestamp_seconds{source=\"ctl\"} 1795000000.5",
        "station_probe_rtt_seconds_bucket{le=\"+Inf\",probe=\"cpe\",target=\"10.1.0.10\"} 6",
        "# UNIT station_port_residence_seconds seconds",
        "station_port_residence_seconds_sum{port=\"cust0\"} 2.000005",
        "station_port_residence_seconds_count{port=\"cust0\"} 4",
        "station_port_residence_seconds_bucket{le=\"0.000001\",port=\"cust0\"} 0",
        "station_port_residence_seconds_bucket{le=\"1.0\",port=\"cust0\"} 3",
        "station_port_residence_seconds_bucket{le=\"+Inf\",port=\"cust0\"} 4",
        "station_port_residence_untimed_total{port=\"cust0\"} 9",
        "station_vif_residence_seconds{vif=\"a\",quantile=\"0.5\"} 0.0000015",
        "station_vif_residence_seconds{vif=\"a\",quantile=\"1\"} 2.0",
        "station_tunnel_up{vif=\"vpc-a\",remote=\"10.255.1.2\"} 1",
        "station_drain_quiet{scope=\"port\",name=\"cust0\"} 0",
        "station_drain_start_time_seconds{scope=\"port\",name=\"cust0\"} 1795000300.002",
        "station_vrf_routes{vrf=\"vpc-a\",family=\"ipv6\"} 8",
        "station_bgp_session_state{vif=\"a\",peer=\"169.254.0.2\"} 6",
        "station_bgp_prefixes_rejected{vif=\"a\",peer=\"169.254.0.2\"} 3",
        "station_control_longest_hold_seconds 0.0015",
        "station_vif_drain{vif=\"a\"} 2",
        "# UNIT station_vif_drill_end_timestamp_seconds seconds",
        "station_vif_drill_end_timestamp_seconds{vif=\"a\"} 1795000600.0",
        "station_bgp_answered 1",
        "station_bgp_key_failures_total{vif=\"a\",peer=\"169.254.0.2\"} 3",
        "station_port_physical_errors_total{port=\"cust0\",error=\"crc\"} 5",
        "station_port_reading_age_seconds{port=\"cust0\"} 1.5",
        "station_port_speed_bytes{port=\"cust0\"} 1250000000",
        "station_port_fec_uncorrected_blocks_total{port=\"cust0\"} 1",
        "station_port_module_info{port=\"cust0\",kind=\"QSFP28\",media=\"\",vendor=\"ACME\",part=\"\",serial=\"\"} 1",
        "# UNIT station_port_module_temperature_celsius celsius",
        "station_port_module_temperature_celsius{port=\"cust0\"} 40.5",
        "station_port_tx_bias_amperes{port=\"cust0\",lane=\"1\"} 0.04",
        "# UNIT station_port_tx_power_watts watts",
        "station_port_tx_power_watts{port=\"cust0\",lane=\"1\"} 0.001",
        "station_port_rx_power_watts{port=\"cust0\",lane=\"2\"} 0.000001",
        "station_port_rx_power_limit_watts{port=\"cust0\",limit=\"high_alarm\"} 0.01",
        "station_port_module_alarm{port=\"cust0\",quantity=\"rx_power\",side=\"low\"} 2",
        "station_port_module_alarm{port=\"cust0\",quantity=\"rx_power\",side=\"high\"} 0",
        "station_port_module_alarm{port=\"cust0\",quantity=\"temperature\",side=\"high\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("station_start_time_seconds 1795000000.5\n"), "{text}");
}

#[test]
fn what_nobody_tells_has_no_series() {
    let text = page(facts());
    let of_core: Vec<&str> = text.lines().filter(|line| line.contains("core0")).collect();
    assert_eq!(of_core, [""; 0]);
}

#[test]
fn sessions_that_nobody_could_be_asked_for_are_missing() {
    let text = page(Facts { sessions: None, ..facts() });
    assert!(text.contains("station_bgp_answered 0\n"), "{text}");
    assert!(!text.contains("station_bgp_session_up{"), "{text}");
}
