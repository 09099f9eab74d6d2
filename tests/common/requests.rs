//! Every request that the admin protocol has, and who may make it.

use station::admin::protocol::{self, Right};
use std::collections::BTreeSet;

/// A request without its version and the text that may follow it, and its right.
pub const REQUESTS: &[(&str, Right)] = &[
    (r#""request":"version""#, Right::Ask),
    (r#""request":"show_ports""#, Right::Ask),
    (r#""request":"show_vifs""#, Right::Ask),
    (r#""request":"show_vrfs""#, Right::Ask),
    (r#""request":"show_routes","vrf":"a""#, Right::Ask),
    (r#""request":"show_rates","of":"vifs""#, Right::Ask),
    (r#""request":"show_neighbors""#, Right::Ask),
    (r#""request":"show_counters""#, Right::Ask),
    (r#""request":"show_drops","last":1"#, Right::Ask),
    (r#""request":"show_workers""#, Right::Ask),
    (r#""request":"show_bgp""#, Right::Ask),
    (r#""request":"show_bgp_routes","vif":"a","direction":"received""#, Right::Ask),
    (r#""request":"show_consistency""#, Right::Ask),
    (r#""request":"show_outages","since_s":1"#, Right::Ask),
    (r#""request":"show_sla","since_s":1"#, Right::Ask),
    (r#""request":"capture","direction":"both","snap":64"#, Right::Own),
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

/// The names that the protocol knows: its error about an unknown one lists them.
pub fn known() -> BTreeSet<String> {
    let error = protocol::decode(line(r#""request":"?""#).as_bytes()).err();
    let message = error.map(|refusal| refusal.message).unwrap_or_default();
    let (_, list) = message.split_once("expected one of").unwrap_or_default();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
