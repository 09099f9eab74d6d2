//! Every request that the admin protocol has, and who may make it.

use station::admin::protocol::{self, Right};

/// A request without its version and the text that may follow it, and its right.
pub const REQUESTS: &[(&str, Right)] = &[
    (r#""request":"version""#, Right::Ask),
    (r#""request":"show_ports""#, Right::Ask),
    (r#""request":"show_vifs""#, Right::Ask),
    (r#""request":"show_vrfs""#, Right::Ask),
    (r#""request":"show_acl","name":"a""#, Right::Ask),
    (r#""request":"show_exchanges""#, Right::Ask),
    (r#""request":"show_reachability","from":"a""#, Right::Ask),
    (r#""request":"show_routes","vrf":"a""#, Right::Ask),
    (r#""request":"show_rates","of":"vifs""#, Right::Ask),
    (r#""request":"show_bandwidth""#, Right::Ask),
    (r#""request":"show_port_details""#, Right::Ask),
    (r#""request":"show_neighbors""#, Right::Ask),
    (r#""request":"show_tunnels""#, Right::Ask),
    (r#""request":"show_mappings""#, Right::Ask),
    (r#""request":"show_vrf_mappings","vrf":"a","prefix":"10.0.0.0/8""#, Right::Ask),
    (r#""request":"mappings","source":"a""#, Right::Change),
    (r#""request":"show_stations""#, Right::Ask),
    (r#""request":"show_counters""#, Right::Ask),
    (r#""request":"show_drops","last":1"#, Right::Ask),
    (r#""request":"show_workers""#, Right::Ask),
    (r#""request":"show_bgp""#, Right::Ask),
    (r#""request":"show_bgp_routes","vif":"a","direction":"received""#, Right::Ask),
    (r#""request":"show_consistency""#, Right::Ask),
    (r#""request":"show_outages","since_ms":1"#, Right::Ask),
    (r#""request":"show_sla","until_ms":1"#, Right::Ask),
    (r#""request":"show_billing","since_ms":1,"bins":true"#, Right::Ask),
    (r#""request":"capture","direction":"both","snap":64"#, Right::Own),
    (r#""request":"events""#, Right::Ask),
    (
        r#""request":"explain","vif":"a","packet":{"from":"10.0.0.1","to":"10.0.0.2","protocol":1,"ttl":64}"#,
        Right::Ask,
    ),
    (
        r#""request":"ping","vif":"a","address":"10.0.0.1","size":56,"timeout_ms":1,"plan":{"ping":{"count":1,"interval_ms":1,"ttl":64}}"#,
        Right::Change,
    ),
    (r#""request":"lookup","vrf":"a","address":"10.0.0.1""#, Right::Ask),
    (
        r#""request":"route_add","vrf":"a","prefix":"10.0.0.0/8","action":"blackhole""#,
        Right::Change,
    ),
    (r#""request":"route_del","vrf":"a","prefix":"10.0.0.0/8""#, Right::Change),
    (
        r#""request":"vif_add","name":"a","port":"p","vlan":"1","vrf":"a","addresses":["10.0.0.1/30"]"#,
        Right::Change,
    ),
    (r#""request":"vif_del","name":"a""#, Right::Change),
    (r#""request":"vif_up","name":"a""#, Right::Change),
    (r#""request":"vif_down","name":"a""#, Right::Change),
    (r#""request":"set","place":{"vif":"a"},"set":{"mtu":"1400"}"#, Right::Change),
    (r#""request":"add","place":{"vrf":"a"},"set":{"kind":"vpc"}"#, Right::Change),
    (r#""request":"del","place":{"vrf":"a"}"#, Right::Change),
    (r#""request":"bgp_reset","vif":"a""#, Right::Change),
    (r#""request":"show_drains""#, Right::Ask),
    (r#""request":"drain","scope":"vif","name":"a","anyway":true"#, Right::Change),
    (r#""request":"undrain","scope":"station""#, Right::Change),
    (r#""request":"show_drills","over":true"#, Right::Ask),
    (r#""request":"drill_start","vif":"a","seconds":60,"anyway":true"#, Right::Change),
    (r#""request":"drill_stop","name":"a""#, Right::Change),
    (r#""request":"clear_counters""#, Right::Change),
    (r#""request":"reload""#, Right::Change),
    (r#""request":"reload","dry_run":true"#, Right::Ask),
    (r#""request":"stop""#, Right::Change),
    (r#""request":"config_history""#, Right::Ask),
    (r#""request":"config_show""#, Right::Ask),
    (r#""request":"config_show","secrets":true"#, Right::Own),
    (r#""request":"config_diff""#, Right::Ask),
    (r#""request":"config_diff","secrets":true"#, Right::Own),
    (r#""request":"config_check","octets":0,"name":"x""#, Right::Ask),
    (r#""request":"config_apply","octets":0,"name":"x""#, Right::Change),
    (r#""request":"config_confirm""#, Right::Change),
    (r#""request":"config_rollback""#, Right::Change),
];

/// Its line, with the newline.
pub fn line(request: &str) -> String {
    format!("{{\"v\":{},{request}}}\n", protocol::VERSION)
}
